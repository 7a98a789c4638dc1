// What the files of tests share: a server, a browser, and the words for the page's parts.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, overflows, visit } from "./browser.mjs";
import { serveStandIn } from "./stand-in.mjs";

/** A server and a browser for one file of tests, there from the first test on. */
export function suite() {
  const parts = {};
  before(async () => {
    parts.server = await serveStandIn();
    parts.browser = await launch();
  });
  after(async () => {
    await parts.browser.close();
    parts.server.close();
  });

  /** A test of the page; whatever it does, nothing may be complained of, and nothing wider than the window. */
  parts.page = (name, options, act) =>
    test(name, { timeout: 60_000 }, async () => {
      const { page, complaints, close } = await visit(parts.browser, parts.server, options);
      try {
        await act(page);
        assert.equal(await overflows(page), false, "something is wider than what it is in");
        assert.deepEqual(complaints, []);
      } finally {
        await close();
      }
    });
  return parts;
}

/** The button that starts a run. */
export const start = (page) => page.locator("#run .idle .primary");
export const slider = (page, name) => page.getByRole("slider", { name, exact: true });
/** The number beside a slider. */
export const exact = (page, name) => page.getByLabel(`${name}, exact value`);
export const divider = (page) => page.getByRole("slider", { name: /Divider/ });
/** Open a part of the panel. */
export const open = (page, name) => page.locator("details > summary", { hasText: name }).click();

/** What the stand-in was asked under this name. */
export async function asked(page, name) {
  const all = await page.workers()[0].evaluate(() => self.asked);
  return all.filter((one) => one.name === name).map(({ args }) => args[0]);
}

/** A file that stands for weights. */
export const weights = (name) => ({ name, mimeType: "application/octet-stream", buffer: Buffer.alloc(1000) });

export async function chooseModels(page, checkpoint = "sd15.safetensors") {
  await open(page, "Models");
  await page.getByLabel("Choose: Checkpoint").setInputFiles(weights(checkpoint));
  await page.getByLabel("Choose: Tile ControlNet").setInputFiles(weights("tile.safetensors"));
}

/** Drop a square picture onto the page, whose columns have these CSS colours in turn. */
export const dropColumns = (page, side, colour) =>
  page.evaluate(
    async ([side, colour]) => {
      const canvas = new OffscreenCanvas(side, side);
      const context = canvas.getContext("2d");
      for (let x = 0; x < side; x += 1) {
        context.fillStyle = colour[x % colour.length];
        context.fillRect(x, 0, 1, side);
      }
      const transfer = new DataTransfer();
      transfer.items.add(new File([await canvas.convertToBlob()], "columns.png", { type: "image/png" }));
      dispatchEvent(new DragEvent("drop", { dataTransfer: transfer }));
    },
    [side, colour],
  );
