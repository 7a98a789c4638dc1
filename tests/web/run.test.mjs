// A run from its plan to the saved file.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { runThrough, sample } from "./browser.mjs";
import { describe } from "./describe.mjs";
import { asked, chooseModels, dropColumns, exact, open, start, suite } from "./suite.mjs";

const parts = suite();
const { page } = parts;

page("a run shows its plan, its progress and its result, and is saved", { worker: "pace=200" }, async (page) => {
  await sample(page);
  await page.getByText("451 × 300 to 902 × 600: about 2 s, 180 MB of memory").waitFor();
  await chooseModels(page);
  await page.getByText("redrawing with Stable Diffusion").waitFor();
  await page.getByText("451 × 300 to 902 × 600, redrawn").waitFor();
  await exact(page, "Creativity").fill("0.5");
  await start(page).click();
  await page.getByText(/Redrawing, to 902 × 600/).waitFor();
  await page.waitForFunction(() => /^[1-9]\d? % · Clarifier$/.test(document.title));
  await page
    .locator(".progress-row", { hasText: "Step" })
    .getByText(/^[2-9] of 9$/)
    .waitFor();
  assert.ok(await page.getByRole("progressbar", { name: "Whole run" }).isVisible());
  assert.equal(await page.getByRole("button", { name: "Another picture" }).isVisible(), false);
  await page.locator("#result:visible").waitFor();
  assert.equal(await page.title(), "Done · Clarifier");
  const [job] = await asked(page, "upscale");
  assert.deepEqual(
    [job.width, job.height, job.seed, job.region, job.noise, job.tilePrompts],
    [451, 300, -1, null, null, ""],
  );
  assert.equal(Object.keys(job.settings).length, describe().fields.length);
  assert.equal(job.settings.denoise_strength, 0.5);
  await page.getByRole("button", { name: "Keep seed 424242" }).click();
  assert.equal(await page.locator("[data-name=seed] input").inputValue(), "424242");
  // No file dialogue in a headless browser: the link is the way.
  await page.evaluate(() => delete globalThis.showSaveFilePicker);
  await page.getByLabel("Format").selectOption("jpg");
  await page.getByLabel("Quality").fill("80");
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Save", exact: true }).click(),
  ]);
  assert.equal(download.suggestedFilename(), "cat_2x.jpg");
  assert.equal(await readFile(await download.path(), "utf8"), "jpg 80 902x600");
});

page(
  "previews appear where their tiles are, and the tile in work is marked",
  { worker: "pace=500", allow: [/willReadFrequently/] },
  async (page) => {
    await dropColumns(page, 600, ["rgb(100 100 100)"]);
    await chooseModels(page);
    await open(page, "All settings");
    await exact(page, "Tile width").fill("80");
    await exact(page, "Tile height").fill("80");
    await page.getByText("1200 × 1200, redrawn").waitFor();
    await start(page).click();
    // What is in the view at a point of the picture.
    const shown = (x, y) =>
      page.evaluate(
        ([x, y]) => {
          const view = document.querySelector("two-up");
          const at = view.viewport.toView(x, y);
          return [...view.querySelector("canvas").getContext("2d").getImageData(at.x, at.y, 1, 1).data];
        },
        [x, y],
      );
    // The first of four tiles, 320 pixels of the picture a side, is done; the second is in work.
    await page.locator(".progress-row", { hasText: "Tile" }).getByText("1 of 4").waitFor();
    await page.waitForFunction(() => /Redrawing/.test(document.querySelector(".busy .plan").textContent));
    await page.waitForTimeout(100);
    const [done, inWork, untouched] = [await shown(150, 150), await shown(450, 150), await shown(450, 450)];
    assert.deepEqual(done, [118, 118, 118, 255]);
    assert.ok(inWork[1] > inWork[0] + 5, `the mark's green on ${inWork}`);
    assert.deepEqual(untouched, [100, 100, 100, 255]);
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByText(/^Cancelled/).waitFor();
  },
);

page(
  "what a GPU cannot see at once is said before the models are there, and mended",
  { worker: "mode=tight&pace=200" },
  async (page) => {
    await sample(page);
    await chooseModels(page);
    await page.getByText("451 × 300 to 902 × 600, redrawn").waitFor();
    const order = await page
      .workers()[0]
      .evaluate(() =>
        self.asked.map(({ name, args: [{ models, controlnet } = {}] }) => [
          name,
          Boolean(models?.controlnet ?? controlnet),
        ]),
      );
    const first = (wanted) => order.findIndex(([name, redraws]) => name === wanted && redraws);
    assert.ok(first("plan") >= 0 && (first("models") < 0 || first("plan") < first("models")), JSON.stringify(order));
    await page.getByText(/A small GPU sees 134 MB at once, and this needs 604 MB; it fits with “.*” 256/).waitFor();
    await page.getByRole("button", { name: "Use smaller tiles" }).click();
    await page.getByText(/A small GPU/).waitFor({ state: "detached" });
    assert.equal(await page.getByRole("button", { name: "Use smaller tiles" }).isVisible(), false);
    await start(page).click();
    await page.locator("#result:visible").waitFor();
    assert.equal((await asked(page, "upscale"))[0].settings.vae_tile, 256);
  },
);

page("where the browser has a file dialogue, the engine gets its handle", {}, async (page) => {
  await sample(page);
  await runThrough(page);
  // What the dialogue gives can be handed to a worker; any file of the page's own storage stands for it.
  await page.evaluate(() => {
    globalThis.showSaveFilePicker = async ({ suggestedName }) => {
      globalThis.suggested = suggestedName;
      return (await navigator.storage.getDirectory()).getFileHandle("out.png", { create: true });
    };
  });
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByText("Saved as out.png, 12.3 kB.").waitFor();
  assert.equal(await page.evaluate(() => globalThis.suggested), "cat_2x.png");
  // Leaving the dialogue is no error.
  await page.evaluate(() => {
    globalThis.showSaveFilePicker = async () => {
      throw new DOMException("left", "AbortError");
    };
  });
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.waitForTimeout(200);
  assert.equal(await page.locator(".notice").count(), 0);
});

page("a region is dragged or typed, tried, and left", {}, async (page) => {
  await sample(page);
  await page.getByRole("button", { name: "Try a region first" }).click();
  const inputs = () =>
    Promise.all(
      ["Left", "Top", "Width", "Height"].map((name) =>
        page.getByLabel(name, { exact: true }).inputValue().then(Number),
      ),
    );
  assert.deepEqual(await inputs(), [97, 22, 256, 256]);
  // From one point of the picture to another, whatever the zoom.
  const point = (x, y) =>
    page.evaluate(
      ([x, y]) => {
        const view = document.querySelector("two-up");
        const box = view.getBoundingClientRect();
        const at = view.viewport.toView(x, y);
        return [box.left + at.x / devicePixelRatio, box.top + at.y / devicePixelRatio];
      },
      [x, y],
    );
  await page.mouse.move(...(await point(300, 200)));
  await page.mouse.down();
  await page.mouse.move(...(await point(200, 150)));
  await page.mouse.move(...(await point(100, 50)));
  await page.mouse.up();
  const dragged = await inputs();
  [100, 50, 200, 150].forEach((value, i) => assert.ok(Math.abs(dragged[i] - value) <= 1, `${dragged}`));
  // A click is no box.
  await page.mouse.click(...(await point(20, 20)));
  assert.deepEqual(await inputs(), dragged);
  await page.getByLabel("Width", { exact: true }).fill("9999");
  await page.keyboard.press("Tab");
  assert.equal((await inputs())[2], 451 - dragged[0]);
  await page.getByLabel("Width", { exact: true }).fill("120");
  await page.keyboard.press("Tab");
  const region = await inputs();
  await page.getByRole("button", { name: "Try this region" }).click();
  await page.locator("#result:visible").waitFor();
  const [job] = await asked(page, "upscale");
  assert.deepEqual(job.region, region);
  await page.getByText(`120 × ${region[3]} → 240 × ${2 * region[3]} (a region)`).waitFor();
  await page.getByRole("button", { name: "Back to the picture" }).click();
  assert.deepEqual(await inputs(), region);
  await page.getByRole("button", { name: "Try this region" }).click();
  await page.getByRole("button", { name: "Now the whole picture" }).click();
  await page.getByText("451 × 300 → 902 × 600").waitFor();
  assert.deepEqual(
    (await asked(page, "upscale")).map((one) => one.region),
    [region, region, null],
  );
  await page.getByRole("button", { name: "Back to the picture" }).click();
  await page.getByRole("button", { name: "Enlarge", exact: true }).waitFor();
});
