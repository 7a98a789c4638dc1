// A run that is interrupted: by an engine that dies, by a page that is loaded again; what the page says, and that it goes on.
import assert from "node:assert/strict";
import { runThrough, sample, violations } from "./browser.mjs";
import { asked, chooseModels, exact, open, start, suite, weights } from "./suite.mjs";

const { page } = suite();
const goOn = (page) => page.getByRole("button", { name: "Go on" });

/** As `sample` has it, well under way. */
async function begin(page) {
  await sample(page);
  await exact(page, "Enlarge").fill("3");
  await page.getByText("451 × 300 to 1353 × 900").waitFor();
  await start(page).click();
  await page.locator(".progress-row:visible").first().waitFor();
}

/** Load the page again, although a run goes on. */
async function reload(page) {
  page.on("dialog", (dialog) => dialog.accept());
  await page.reload();
  await page.locator("#unfinished:visible").waitFor();
}

page("where the GPU is lost, another engine goes on by itself", { worker: "mode=lost" }, async (page) => {
  await sample(page);
  await start(page).click();
  await page.locator("#result:visible").waitFor();
  await page
    .getByText("The engine stopped (the GPU was lost) and was started again. It goes on where it was.")
    .waitFor();
  assert.deepEqual([(await asked(page, "upscale")).length, (await asked(page, "resume")).length], [0, 1]);
  assert.equal(page.workers().length, 1);
});

page("after a reload the run is offered, with its settings, and ends", { worker: "pace=600" }, async (page) => {
  await begin(page);
  await reload(page);
  await page
    .locator("#unfinished")
    .getByText("cat.png to 1353 × 900. It was at enlarging, 5 of 6 tiles done.")
    .waitFor();
  assert.deepEqual(await violations(page), []);
  await goOn(page).click();
  await page.locator("#result:visible").waitFor();
  assert.equal(await exact(page, "Enlarge").inputValue(), "3");
  assert.equal(await page.locator("#unfinished").isVisible(), false);
  await page.reload();
  await page.locator("#device[data-kind=gpu]").waitFor();
  await page.waitForTimeout(300);
  assert.equal(await page.locator("#unfinished").isVisible(), false, "it has ended");
});

page("what it was made with is chosen again first", { worker: "pace=250" }, async (page) => {
  await sample(page);
  await chooseModels(page);
  await page.getByText("redrawing with Stable Diffusion. Computing").waitFor();
  await start(page).click();
  await page.locator(".progress-row:visible").first().waitFor();
  await reload(page);
  await page.getByText("made with: sd15.safetensors, tile.safetensors.").waitFor();
  assert.ok(await goOn(page).isDisabled());
  await open(page, "Models");
  await page.getByLabel("Choose: Checkpoint").setInputFiles(weights("sd15.safetensors"));
  await page.getByText("made with: tile.safetensors.").waitFor();
  await page.getByLabel("Choose: Tile ControlNet").setInputFiles(weights("tile.safetensors"));
  await goOn(page).click();
  await page.locator("#result:visible").waitFor();
  assert.equal((await asked(page, "resume")).length, 1);
});

page("it is discarded by the user, and by another run that is cancelled", { worker: "pace=600" }, async (page) => {
  await begin(page);
  await reload(page);
  await page.getByRole("button", { name: "Discard it" }).click();
  assert.equal(await page.locator("#unfinished").isVisible(), false);
  await page.reload();
  await page.locator("#device[data-kind]").waitFor();
  await sample(page);
  await start(page).click();
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByText(/^Cancelled\. The models stay loaded/).waitFor();
  await page.reload();
  await page.locator("#device[data-kind]").waitFor();
  await page.waitForTimeout(300);
  assert.equal(await page.locator("#unfinished").isVisible(), false);
  await sample(page);
  await runThrough(page);
});
