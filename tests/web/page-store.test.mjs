// Downloaded models on the page: offered, watched, stopped, used and removed.
import assert from "node:assert/strict";
import { test } from "node:test";
import { sample } from "./browser.mjs";
import { Speed } from "../../web/lib/downloads.js";
import { asked, open, suite, weights } from "./suite.mjs";

const { page } = suite();
const slot = (page, label) => page.locator(".slot", { hasText: label });

page("redrawing is offered in a sentence, downloaded, used, and removed", {}, async (page) => {
  await sample(page);
  const hint = page.locator("#run .hint");
  await page.locator("#run .hint", { hasText: "Only enlarged." }).waitFor();
  assert.equal((await asked(page, "download")).length, 0, "nothing is downloaded unasked");
  await hint.getByRole("button", { name: "Download models to redraw it (about 2.9 GB)" }).click();
  // It leads to what it is and under which terms; from there one press does it.
  const begin = page.getByRole("button", { name: "Download, about 2.9 GB" });
  assert.ok(await begin.evaluate((element) => element === document.activeElement));
  await page.locator(".store-set").getByText("licence: OpenRAIL").waitFor();
  await page.keyboard.press("Enter");
  await page.locator(".store-progress").getByText("Downloading juggernaut-reborn").waitFor();
  assert.ok(await page.getByRole("button", { name: "Pause" }).evaluate((one) => one === document.activeElement));
  await page
    .locator(".store-progress")
    .getByText(/GB of 2\.9 GB · .*MB\/s|GB of 2\.9 GB · .*GB\/s/)
    .waitFor();
  assert.deepEqual(await asked(page, "download"), [{ names: ["juggernaut-reborn", "controlnet-tile"] }]);
  await page.getByText("Enlarging with lite, redrawing with Stable Diffusion").waitFor();
  await slot(page, "Checkpoint").first().getByText("juggernaut_reborn.safetensors").waitFor();
  assert.equal(await hint.isVisible(), false);
  // To take one's own instead, and the downloaded one again.
  await page.getByLabel("Choose: Checkpoint").setInputFiles(weights("own.safetensors"));
  await page.getByRole("button", { name: "Remove: Checkpoint" }).click();
  await page.getByRole("button", { name: "Use downloaded: Checkpoint" }).click();
  await slot(page, "Checkpoint").first().getByText("juggernaut_reborn.safetensors").waitFor();
  // Removing asks once more, and what is removed is not chosen any more.
  await page.getByRole("button", { name: "Remove, frees 2.0 kB" }).click();
  await page.getByRole("button", { name: "Keep them" }).click();
  await page.getByRole("button", { name: "Remove, frees 2.0 kB" }).click();
  await page.getByRole("button", { name: "Remove them" }).click();
  await page.getByText("Enlarging with lite. Computing on the GPU.").waitFor();
  await begin.waitFor();
  assert.deepEqual(await asked(page, "forget"), [{ names: ["juggernaut-reborn", "controlnet-tile"] }]);
  const last = (await asked(page, "models")).at(-1);
  assert.deepEqual([last.checkpoint, last.controlnet], [null, null]);
});

page("a download is paused, resumed and cancelled", { worker: "store=slow" }, async (page) => {
  await sample(page);
  await open(page, "Models");
  await page.getByRole("button", { name: /^Download, about/ }).click();
  await page.locator(".store-progress", { hasText: "MB/s" }).waitFor();
  await page.locator("#run .hint", { hasText: "until the models are here" }).waitFor();
  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByRole("button", { name: /^Resume, .* left$/ }).click();
  await page.locator(".store-progress", { hasText: "MB/s" }).waitFor();
  await page.getByRole("button", { name: "Cancel and remove" }).click();
  await page.getByRole("button", { name: "Download, about 2.9 GB" }).waitFor();
  assert.equal(await page.locator(".store .problem").isVisible(), false, "what the user wanted is no problem");
});

page("what a visit before left is resumed, and one that is whole is used", { worker: "store=full" }, async (page) => {
  await sample(page);
  await page.getByText("451 × 300 to 902 × 600, redrawn").waitFor();
  await open(page, "Models");
  await page.getByRole("button", { name: "Remove: Checkpoint" }).click();
  await page.getByRole("button", { name: "Remove: Tile ControlNet" }).click();
  await page.getByRole("button", { name: "Redraw with the downloaded models" }).click();
  await page.getByText("451 × 300 to 902 × 600, redrawn").waitFor();
});

page(
  "an engine that dies takes no download with it",
  { worker: "store=slow&mode=dies", allow: [/unreachable executed/] },
  async (page) => {
    await sample(page);
    await open(page, "Models");
    await page.getByRole("button", { name: /^Download, about/ }).click();
    await page.locator(".store-progress", { hasText: "MB/s" }).waitFor();
    await page.locator("#run .idle .primary").click();
    await page.getByText(/The engine stopped, and was started again/).waitFor();
    await page.locator(".store-progress", { hasText: "MB/s" }).waitFor();
    // What is shown is from before until the new engine, which was asked nothing else, goes on.
    await page.workers()[0].evaluate(async () => {
      while (!self.asked.some(({ name }) => name === "download")) await new Promise((go) => setTimeout(go, 50));
    });
  },
);

page("a hub that refuses is told of, and may be asked again", { worker: "store=refused" }, async (page) => {
  await open(page, "Models");
  await page.getByRole("button", { name: /^Download, about/ }).click();
  const problem = page.locator(".store .problem");
  await problem.waitFor();
  const said = "The hub is in trouble (503); try again later; what has arrived is kept.";
  assert.equal(await problem.textContent(), said);
  await page.getByRole("button", { name: /^Download, about/ }).click();
  await page.waitForFunction(() => document.querySelector(".store-progress").hidden);
  await problem.waitFor();
  assert.equal((await asked(page, "download")).length, 2);
});

page("where the browser keeps no files, own ones are what is left", { worker: "store=none" }, async (page) => {
  await sample(page);
  await page.locator("#run .hint", { hasText: "Only enlarged; redrawing needs models." }).waitFor();
  await open(page, "Models");
  await page.getByText("This browser keeps no files for pages").waitFor();
  assert.equal(await page.getByRole("button", { name: /^Download/ }).count(), 0);
});

page("other models are downloaded one by one", {}, async (page) => {
  await open(page, "Models");
  await open(page, "Others to download");
  await page.getByRole("button", { name: "Download vae-ft-mse" }).click();
  await page.getByRole("button", { name: "Use vae-ft-mse" }).click();
  await slot(page, "in place of the checkpoint's")
    .or(page.locator(".slot", { hasText: "VAE" }))
    .getByText("diffusion_pytorch_model.safetensors")
    .waitFor();
  await page.getByRole("button", { name: "Remove vae-ft-mse" }).click();
  await page.getByRole("button", { name: "Download vae-ft-mse" }).waitFor();
  assert.equal(await page.getByText("diffusion_pytorch_model.safetensors").count(), 0);
});

test("the speed is that of the last seconds, and unknown while nothing has come", () => {
  const speed = new Speed();
  assert.equal(speed.add(0, 0), null);
  assert.equal(speed.add(100, 100), null);
  assert.equal(speed.add(1000, 1000), 1000);
  for (let at = 2000; at <= 20_000; at += 1000) speed.add(1000 + (at - 1000) * 2, at);
  assert.equal(speed.add(1000 + 20_000 * 2, 21_000), 2000);
  // A file that starts anew is no negative speed.
  assert.equal(speed.add(0, 22_000), null);
});
