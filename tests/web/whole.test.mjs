// The page with the engine in it, as a user has it: from a picture that is dropped to a file that is saved, against the program.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { after, before, test } from "node:test";
import { launch, visit } from "./browser.mjs";
import { startComparing } from "./engine.mjs";
import { dist, fixtures, root, workshop } from "./native.mjs";
import { serve } from "./server.mjs";
import { exact, open, start } from "./suite.mjs";

const MINUTES = 60_000;
const CAT = join(root, "assets/demo/cat.png");
const SMALL = join(fixtures, "recipe/input.png");

let server, browser, shop;

before(async () => {
  shop = await workshop();
  server = await serve({ "/some/folder/": dist, "/some/folder/work/": shop.path });
  browser = await launch({ gpu: true });
});

after(async () => {
  await browser?.close();
  server?.close();
  await shop?.remove();
});

/** `act` on the page, once its engine is there; the page must have nothing to complain of. */
async function withPage(act) {
  const { page, complaints, close } = await visit(browser, server, { path: "/some/folder/" });
  try {
    await startComparing(page);
    // No file dialogue in a headless browser: the link is the way.
    await page.evaluate(() => delete globalThis.showSaveFilePicker);
    await act(page);
  } finally {
    await close();
  }
  assert.deepEqual(complaints, []);
}

/** Drop a file of this machine onto the page. */
async function drop(page, path) {
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

/** Press start, and wait for the result. */
async function run(page) {
  await page.locator("#run .idle .primary:enabled").waitFor({ timeout: MINUTES });
  await start(page).click();
  await page.locator("#result:visible").waitFor({ timeout: 5 * MINUTES });
}

/** Save the result; how the file compares with the program's `expected`. */
async function saved(page, expected) {
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Save", exact: true }).click(),
  ]);
  const name = `saved-${expected}`;
  await download.saveAs(join(shop.path, name));
  const compared = await page.evaluate(
    async ([mine, expected]) => compare(await file(mine), expected),
    [`work/${name}`, `work/${expected}`],
  );
  return { name: download.suggestedFilename(), ...compared };
}

/** Choose files for the recipe, and settings that a software GPU is done with soon. */
async function chooseTiny(page) {
  await open(page, "Models");
  await page.getByLabel("Choose: Checkpoint").setInputFiles(join(shop.path, "checkpoint.safetensors"));
  await page.getByLabel("Choose: Tile ControlNet").setInputFiles(join(shop.path, "controlnet.safetensors"));
  await page.getByText("redrawing with Stable Diffusion. Computing").waitFor({ timeout: MINUTES });
}

test(
  "a photograph is dropped, enlarged by lite and saved as the program saves it",
  { timeout: 9 * MINUTES },
  async (t) => {
    const expected = await shop.enlarge(CAT, { name: "cat", values: {} }, "--upscaler", "lite", "--no-diffusion");
    await withPage(async (page) => {
      await drop(page, CAT);
      await run(page);
      const { name, near, psnr } = await saved(page, expected);
      t.diagnostic(`${(100 * near).toFixed(3)} % within 1/255, ${psnr.toFixed(1)} dB`);
      assert.equal(name, "cat_2x.png");
      assert.ok(near >= 0.999, `${near}`);
    });
  },
);

test(
  "the recipe with chosen files gives the program's picture; a cancelled run keeps the weights",
  { timeout: 9 * MINUTES },
  async (t) => {
    const values = { tile_width: 16, tile_height: 16, num_inference_steps: 6, upscale_factor: 2 };
    const files = ["checkpoint", "controlnet"].flatMap((part) => [`--${part}`, join(shop.path, `${part}.safetensors`)]);
    const expected = await shop.enlarge(SMALL, { name: "redrawn", values }, "--upscaler", "lite", ...files);
    await withPage(async (page) => {
      await drop(page, SMALL);
      await chooseTiny(page);
      await open(page, "All settings");
      for (const name of ["Tile width", "Tile height"]) await exact(page, name).fill("16");
      await exact(page, "Steps").fill("6");
      await page.locator("[data-name=seed] input").fill("7");
      await run(page);
      const first = await saved(page, expected);
      t.diagnostic(`${first.psnr.toFixed(1)} dB`);
      assert.ok(first.psnr >= 45, `${first.psnr} dB`);

      await start(page).click();
      await page.getByText(/Redrawing, to/).waitFor({ timeout: MINUTES });
      const begun = performance.now();
      await page.getByRole("button", { name: "Cancel" }).click();
      await page.getByText("Cancelled. The models stay loaded").waitFor({ timeout: MINUTES });
      const seconds = (performance.now() - begun) / 1000;
      t.diagnostic(`cancelled after ${seconds.toFixed(2)} s`);
      assert.ok(seconds < 1, `${seconds} s`);

      await run(page);
      const again = await saved(page, expected);
      assert.equal(again.psnr, first.psnr);
    });
  },
);
