// The starter set on the page: chosen, replaced by what is larger, and back.
import assert from "node:assert/strict";
import { REDRAWING, STARTER } from "../../web/lib/redrawing.js";
import { sample } from "./browser.mjs";
import { asked, open, start, suite, weights } from "./suite.mjs";

const { page } = suite();
const radio = (page, name) => page.getByRole("radio", { name, exact: true });
const built = (page) => radio(page, "Built in: starter set");
const loaded = (page, what) => page.getByText(`Enlarging with lite${what}. Computing on the GPU.`).waitFor();
const WITH_STARTER = ", redrawing with the starter set";
const redrawn = { redrawing: STARTER };

page("what redraws where nobody chose is one constant's matter", { redrawing: null }, async (page) => {
  await sample(page);
  await open(page, "Models");
  await loaded(page, REDRAWING === STARTER ? WITH_STARTER : "");
  assert.equal((await asked(page, "models")).at(-1).checkpoint, REDRAWING);
  assert.ok(await (REDRAWING === STARTER ? built(page) : radio(page, "Off")).isChecked());
});

page("the starter set redraws until both files are chosen, and when they are removed", redrawn, async (page) => {
  await sample(page);
  await page.getByText("451 × 300 to 902 × 600, redrawn").waitFor();
  await open(page, "Models");
  await loaded(page, WITH_STARTER);
  assert.ok(await built(page).isChecked());
  const slot = page.locator(".slot", { hasText: "Checkpoint" }).first();
  await slot.getByText("SD 1.5 in one file").waitFor();
  // What is made for other networks is left out.
  const hint = page.locator("#run .hint");
  await page.getByLabel("Add a LoRA …").setInputFiles(weights("a.safetensors"));
  const left = page.locator("#run").getByText(/^What you chose is made for Stable Diffusion 1\.5 and left out/);
  await left.waitFor();
  await loaded(page, WITH_STARTER);
  const last = (await asked(page, "models")).at(-1);
  assert.deepEqual([last.checkpoint, last.controlnet, last.loras], [STARTER, null, []]);
  assert.equal(await hint.isVisible(), false);
  await page.getByRole("button", { name: "Remove a.safetensors" }).click();
  await left.waitFor({ state: "detached" });
  await hint.waitFor();
  await page.getByLabel("Choose: Checkpoint").setInputFiles(weights("sd15.safetensors"));
  await page.locator("#run").getByText("Redrawing also needs the Tile ControlNet").waitFor();
  assert.deepEqual([await built(page).isChecked(), await radio(page, "Off").isChecked()], [false, false]);
  await page.getByLabel("Choose: Tile ControlNet").setInputFiles(weights("tile.safetensors"));
  await loaded(page, ", redrawing with Stable Diffusion");
  await page.getByRole("button", { name: "Remove: Checkpoint" }).click();
  await loaded(page, WITH_STARTER);
  await slot.getByText("SD 1.5 in one file").waitFor();
  await left.waitFor();
  await page.getByRole("button", { name: "Remove: Tile ControlNet" }).click();
  await left.waitFor({ state: "detached" });
});

page("redrawing is turned off, which stays so, and on", redrawn, async (page) => {
  await open(page, "Models");
  // Not fetched before there is something to do.
  await loaded(page, `${WITH_STARTER} as soon as there is a picture`);
  assert.equal((await asked(page, "models")).at(-1).checkpoint, null);
  assert.equal(await page.getByText("What follows is about redrawing").isVisible(), false);
  await sample(page);
  await loaded(page, WITH_STARTER);
  await radio(page, "Off").check({ force: true });
  await loaded(page, "");
  await page.getByText("What follows is about redrawing and does nothing without it.").waitFor();
  await page.reload();
  await sample(page);
  await page.getByText("451 × 300 to 902 × 600: about").waitFor();
  await page.locator("#run .hint", { hasText: "Only enlarged." }).waitFor();
  await page.getByRole("button", { name: "Choose models" }).click();
  await built(page).check({ force: true });
  await loaded(page, WITH_STARTER);
  await page.getByText("451 × 300 to 902 × 600, redrawn").waitFor();
  // Files of the user's make way for what is built in, as the enlarger's do.
  await page.getByLabel("Choose: Checkpoint").setInputFiles(weights("sd15.safetensors"));
  await page.getByLabel("Choose: Tile ControlNet").setInputFiles(weights("tile.safetensors"));
  await loaded(page, ", redrawing with Stable Diffusion");
  await built(page).check({ force: true });
  await loaded(page, WITH_STARTER);
  assert.equal(
    await page
      .locator("#run")
      .getByText(/^What you chose/)
      .count(),
    0,
  );
});

page("with the starter set more is offered, downloaded and taken by itself", redrawn, async (page) => {
  await sample(page);
  const hint = page.locator("#run .hint");
  await page.locator("#run .hint", { hasText: "Redrawn with the small starter set." }).waitFor();
  await hint.getByRole("button", { name: "Download Stable Diffusion 1.5 for more (about 2.9 GB)" }).click();
  await page.keyboard.press("Enter");
  await page.locator("#run .hint", { hasText: "Redrawn with the small starter set until the models" }).waitFor();
  await loaded(page, ", redrawing with Stable Diffusion");
  assert.equal(await hint.isVisible(), false);
  await page.getByRole("button", { name: /^Remove, frees/ }).click();
  await page.getByRole("button", { name: "Remove them" }).click();
  await loaded(page, WITH_STARTER);
});

page("what a visit before downloaded takes its place", { worker: "store=full", ...redrawn }, async (page) => {
  await sample(page);
  await open(page, "Models");
  await loaded(page, ", redrawing with Stable Diffusion");
  assert.equal(await built(page).isChecked(), false);
  await built(page).check({ force: true });
  await loaded(page, WITH_STARTER);
  await page.getByRole("button", { name: "Redraw with the downloaded models" }).click();
  await loaded(page, ", redrawing with Stable Diffusion");
});

page("where the browser keeps no files, there are own ones", { worker: "store=none", ...redrawn }, async (page) => {
  await sample(page);
  await page.locator("#run .hint", { hasText: "Redrawn with the small starter set." }).waitFor();
  await page.getByRole("button", { name: "Choose files of Stable Diffusion 1.5 for more" }).click();
});

page("an interrupted run needs nothing chosen again", { worker: "pace=250", ...redrawn }, async (page) => {
  await sample(page);
  await start(page).click();
  await page.locator(".progress-row:visible").first().waitFor();
  page.on("dialog", (dialog) => dialog.accept());
  await page.reload();
  await page.getByRole("button", { name: "Go on" }).click();
  await page.locator("#result:visible").waitFor();
  assert.equal((await asked(page, "resume")).length, 1);
  assert.equal((await asked(page, "models")).at(-1).checkpoint, STARTER);
});
