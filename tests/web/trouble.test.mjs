// Cancelled, failed, without a GPU, in odd places: what the page says, and that it goes on.
import assert from "node:assert/strict";
import { test } from "node:test";
import { runThrough, sample, violations, visit } from "./browser.mjs";
import { FOLDER } from "./stand-in.mjs";
import { asked, chooseModels, exact, open, start, weights, suite } from "./suite.mjs";

const parts = suite();
const { page } = parts;

page("a run is cancelled, and the next begins", { worker: "pace=300" }, async (page) => {
  await sample(page);
  await start(page).click();
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByText(/^Cancelled\. The models stay loaded/).waitFor();
  assert.equal(await page.title(), "Clarifier");
  assert.equal((await asked(page, "cancel")).length, 1);
  await runThrough(page);
  assert.equal((await asked(page, "models")).length, 1, "nothing was loaded again");
});

page("a run that does not hear is ended by force", { worker: "mode=deaf&pace=4000" }, async (page) => {
  await sample(page);
  await start(page).click();
  await page.getByRole("button", { name: "Cancel" }).click();
  assert.ok(await page.getByRole("button", { name: "Stopping …" }).isDisabled());
  await page.getByRole("button", { name: /End it by force/ }).click({ timeout: 15_000 });
  await page.getByText(/^Ended by force/).waitFor();
  await page.locator("#run .idle .primary:enabled").waitFor();
});

page("a failure is told in the page's words, with what to do", { worker: "mode=fails" }, async (page) => {
  await sample(page);
  await start(page).click();
  const notice = page.getByRole("alert").filter({ hasText: "That did not work" });
  await notice.waitFor();
  const text = await notice.textContent();
  assert.match(text, /out of memory/);
  assert.match(text, /“Tile width”/);
  assert.match(text, /smaller picture or region/);
  assert.doesNotMatch(text, /--/);
  await notice.getByRole("button", { name: "Try again" }).click();
  await page.waitForFunction(() => document.querySelectorAll(".notice.error").length === 1);
  await page.getByRole("button", { name: "Dismiss" }).click();
  assert.equal(await page.locator(".notice").count(), 0);
});

for (const mode of ["dies", "panics"]) {
  page(
    `an engine that ${mode} is started again`,
    { worker: `mode=${mode}`, allow: [/unreachable executed/] },
    async (page) => {
      await sample(page);
      await start(page).click();
      await page.getByText(/The engine stopped, and was started again.*unreachable executed/).waitFor();
      await page.locator("#run .idle .primary:enabled").waitFor();
      assert.equal(page.workers().length, 1);
      assert.equal((await asked(page, "upscale")).length, 0, "it is another worker");
    },
  );
}

page(
  "an engine that breaks down while it loads is started once, not again and again",
  { worker: "mode=loading panics" },
  async (page) => {
    await page.getByText(/The engine stopped, and was started again: memory access out of bounds/).waitFor();
    await page.getByRole("button", { name: /Try this cat/ }).click();
    await page.getByText("The models are not loaded; this loads them again.").waitFor();
    await start(page).click();
    await page.getByText(/memory access out of bounds/).waitFor();
    await page.locator("#run .idle .primary:enabled").waitFor();
    await page.waitForTimeout(300);
    assert.equal(await page.locator(".notice").count(), 1);
    assert.equal((await asked(page, "models")).length, 0);
  },
);

page("loading is cancelled too, and made up for by the next run", { worker: "pace=700" }, async (page) => {
  await sample(page);
  await chooseModels(page);
  await page.getByText(/^Loading sd15.safetensors: \d+ bytes of 1.0 kB/).waitFor();
  await start(page).click();
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByText("Cancelled. The models are loaded with the next run.").waitFor();
  await page.getByText("The models are not loaded; this loads them again.").waitFor();
  await start(page).click();
  await page
    .getByText(/^Loading tile.safetensors/)
    .first()
    .waitFor();
  await page.getByText(/Redrawing, to/).waitFor({ timeout: 20_000 });
});

page("an impossible plan says which setting is wrong", {}, async (page) => {
  await sample(page);
  await exact(page, "Enlarge").fill("2");
  await open(page, "All settings");
  await exact(page, "Tile overlap").fill("200");
  await page
    .locator("#run")
    .getByText(/“Tile overlap” 200 leaves nothing of a tile/)
    .waitFor();
  assert.ok(await start(page).isDisabled());
});

page("models: what is missing is said, and a wrong file is named", {}, async (page) => {
  await sample(page);
  await open(page, "Models");
  await page.getByLabel("Choose: Checkpoint").setInputFiles(weights("sdxl.safetensors"));
  await page.locator("#run").getByText("Redrawing also needs the Tile ControlNet").waitFor();
  await page.getByLabel("Choose: Tile ControlNet").setInputFiles(weights("tile.safetensors"));
  const notice = page.getByRole("alert").filter({ hasText: "sdxl.safetensors is an SDXL checkpoint" });
  await notice.getByText(/choose files of Stable Diffusion 1\.5/).waitFor();
  await page.getByRole("button", { name: "Remove: Checkpoint" }).click();
  await page.getByText("Enlarging with lite. Computing on the GPU.").waitFor();
  await page.getByLabel("Add a LoRA …").setInputFiles([weights("a.safetensors"), weights("b.safetensors")]);
  await page.getByLabel("Scale of a.safetensors").fill("0.5");
  await page.keyboard.press("Tab");
  await page.getByRole("button", { name: "Remove b.safetensors" }).click();
  await page.getByLabel("Choose: Checkpoint").setInputFiles(weights("sd15.safetensors"));
  await page.getByText("redrawing with Stable Diffusion").waitFor();
  const last = (await asked(page, "models")).at(-1);
  assert.deepEqual(
    last.loras.map(({ scale }) => scale),
    [0.5],
  );
});

page("warnings of the engine are listed, each once", { worker: "mode=warns" }, async (page) => {
  await sample(page);
  await runThrough(page);
  await page
    .locator(".notice.warning")
    .getByText(/The picture is very small; “Tile width” 112/)
    .waitFor();
  assert.equal(await page.locator(".notice.warning").count(), 1);
});

for (const [cause, title] of [
  ["no-webgpu", "this browser has no WebGPU"],
  ["insecure", "not secure"],
  ["no-adapter", "the browser offers none"],
  ["no-device", "could not be started"],
]) {
  page(
    `no GPU (${cause}): the cause, what to do, and lite all the same`,
    { worker: `mode=cause:${cause}` },
    async (page) => {
      await page.getByRole("heading", { name: title }).waitFor();
      assert.ok((await page.locator("#capability li").count()) > 0);
      await page.getByText("Processor only").waitFor();
      await sample(page);
      // The picture gets the room; the title brings the advice back.
      assert.equal(await page.locator("#capability li").first().isVisible(), false);
      await page.getByRole("heading", { name: title }).click();
      assert.ok(await page.locator("#capability li").first().isVisible());
      await runThrough(page);
      assert.equal((await asked(page, "models")).at(-1).device, "cpu");
      assert.deepEqual(await violations(page), []);
    },
  );
}

page("a software GPU: the processor is taken, unless the user insists", { worker: "mode=software" }, async (page) => {
  await page.getByRole("heading", { name: "Only a software GPU" }).waitFor();
  await sample(page);
  assert.equal((await asked(page, "models")).at(-1).device, "cpu");
  await open(page, "Models");
  await page.getByRole("radio", { name: "GPU" }).check({ force: true });
  await page.getByText("Computing on the GPU").waitFor();
});

page("in a folder of a server everything is found", { path: FOLDER }, async (page) => {
  await sample(page);
  await runThrough(page);
});

test("without the worker the page says so", { timeout: 60_000 }, async () => {
  parts.server.missing.add("web/worker.js");
  const { page, close } = await visit(parts.browser, parts.server);
  await page.getByText("Engine not running").waitFor();
  await page.getByText("The engine could not be loaded.").waitFor();
  await page.getByRole("button", { name: /Try this cat/ }).click();
  await page.getByText("The engine is not running.").waitFor();
  parts.server.missing.clear();
  await close();
});

test("where the page's own modules do not run, that is said", { timeout: 60_000 }, async () => {
  parts.server.missing.add("web/lib/state.js");
  const { page, close } = await visit(parts.browser, parts.server);
  await page.getByRole("heading", { name: "This page cannot start here" }).waitFor();
  parts.server.missing.clear();
  await page.reload();
  await page.locator("#device[data-kind]").waitFor();
  assert.equal(await page.locator("#old").isVisible(), false);
  await close();
});
