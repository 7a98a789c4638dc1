// What a user does with the page and the engine in it, as it is built: drop a picture, choose models, run, save.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { after, before } from "node:test";
import { launch, visit } from "./browser.mjs";
import { startComparing } from "./engine.mjs";
import { dist, workshop } from "./native.mjs";
import { serve } from "./server.mjs";
import { exact, open, start } from "./suite.mjs";

export const MINUTES = 60_000;
const FOLDER = "/some/folder/";

/** A server, a browser with a software GPU and a workshop, there from the first test on: `shop`, and `onPage`. */
export function users() {
  const parts = {};
  before(async () => {
    parts.shop = await workshop();
    // Below a folder, as on many a server.
    parts.server = await serve({ [FOLDER]: dist, [`${FOLDER}work/`]: parts.shop.path });
    parts.browser = await launch({ gpu: true });
  });
  after(async () => {
    await parts.browser?.close();
    parts.server?.close();
    await parts.shop?.remove();
  });

  /** `act` on the page; whatever it does, the page must have nothing to complain of but what `options.allow` names. */
  parts.onPage = async (act, options = {}) => {
    const { page, complaints, close } = await visit(parts.browser, parts.server, { path: FOLDER, ...options });
    try {
      await ready(page);
      await act(page);
    } finally {
      await close();
    }
    assert.deepEqual(complaints, []);
  };

  /** Save the result under this name in the workshop; what the page calls it. */
  parts.save = async (page, name) => {
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name: "Save", exact: true }).click(),
    ]);
    await download.saveAs(join(parts.shop.path, name));
    return download.suggestedFilename();
  };

  /** How two files of the workshop differ as pictures. */
  parts.compare = (page, mine, expected) =>
    page.evaluate(
      async ([mine, expected]) => compare(await file(mine), expected),
      [`work/${mine}`, `work/${expected}`],
    );

  /** Choose the tiny networks. */
  parts.chooseTiny = async (page) => {
    const path = (part) => join(parts.shop.path, `${part}.safetensors`);
    await page.getByLabel("Choose: Checkpoint").setInputFiles(path("checkpoint"));
    await page.getByLabel("Choose: Tile ControlNet").setInputFiles(path("controlnet"));
    await page.getByText("redrawing with Stable Diffusion. Computing").waitFor({ timeout: MINUTES });
  };
  return parts;
}

/** What each load of the page has to have for these tests. */
export async function ready(page) {
  await startComparing(page);
  // No file dialogue in a headless browser: the link is the way.
  await page.evaluate(() => delete globalThis.showSaveFilePicker);
}

/** Drop a file of this machine onto the page. */
export async function drop(page, path) {
  const bytes = (await readFile(path)).toString("base64");
  await page.evaluate(
    ([bytes, name]) => {
      const transfer = new DataTransfer();
      const file = new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], name, { type: "image/png" });
      transfer.items.add(file);
      dispatchEvent(new DragEvent("drop", { dataTransfer: transfer }));
    },
    [bytes, basename(path)],
  );
}

/** Settings by the names of their fields; `seed` too. */
export async function set(page, { seed, ...fields }) {
  await open(page, "All settings");
  for (const [name, value] of Object.entries(fields)) await exact(page, name).fill(value);
  if (seed) await page.locator("[data-name=seed] input").fill(seed);
}

/** Press start. */
export async function begin(page) {
  await page.locator("#run .idle .primary:enabled").waitFor({ timeout: MINUTES });
  await start(page).click();
}

export const result = (page) => page.locator("#result:visible").waitFor({ timeout: 5 * MINUTES });
