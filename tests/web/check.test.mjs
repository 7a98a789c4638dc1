// “Check this GPU”, with the stand-in for the engine: what it shows, its report, and devices that break down.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { sample } from "./browser.mjs";
import { asked, open, start, suite } from "./suite.mjs";

const { page } = suite();
const button = (page, name) => page.locator("#check").getByRole("button", { name, exact: true });

async function begin(page) {
  await open(page, "Check this GPU");
  await button(page, "Check this GPU").click();
}

const ended = (page, text) => page.locator("#check").getByText(text).waitFor();

/** What a press on the button gives as a file: its name and text. */
async function saved(page, name) {
  const [file] = await Promise.all([page.waitForEvent("download"), button(page, name).click()]);
  return [file.suggestedFilename(), await readFile(await file.path(), "utf8")];
}

const RIGHT = "All of it computes right.";
const WRONG = "Not all of it computes right: see below.";

page("both devices are checked, and what was found is shown, copied and saved", {}, async (page) => {
  await begin(page);
  await ended(page, RIGHT);
  assert.deepEqual(await asked(page, "check"), [
    { device: "gpu", quick: true },
    { device: "cpu", quick: true },
  ]);
  const table = page.getByRole("table", { name: "Kernels on Mock 4000 through webgpu" });
  const row = await table.getByRole("row", { name: /conv 3×3 f16/ }).innerText();
  assert.deepEqual(row.split("\t"), ["conv 3×3 f16", "0.568", "ok"]);
  await page
    .getByText("buffers 4.3 GB, bindings 2.1 GB, 10 storage buffers, 256 invocations, 32.8 kB workgroup memory, f16")
    .waitFor();
  await page
    .getByText("Right: the whole recipe, f32, tiny networks, 1 step, 2 tiles: 84.0 dB from the CPU's")
    .first()
    .waitFor();
  const [[heard]] = [await asked(page, "report")];
  assert.deepEqual(
    heard.parts.map(({ device, adapter, cases, failure }) => [device, adapter?.name ?? null, cases.length, failure]),
    [
      ["gpu", "Mock 4000", 10, null],
      ["cpu", null, 4, null],
    ],
  );
  assert.equal(heard.browser, await page.evaluate(() => navigator.userAgent));
  const text = await page.getByLabel("Report, to attach to a bug report").inputValue();
  assert.match(text, /^Clarifier, quick self-test\n.*HeadlessChrome/);
  assert.deepEqual(await saved(page, "Save …"), ["clarifier-selftest.txt", text]);
  const [name, json] = await saved(page, "Save as JSON …");
  assert.equal(name, "clarifier-selftest.json");
  assert.equal(JSON.parse(json).adapters[0].cases.length, 10);
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  for (const [copy, expected] of [
    ["Copy", text],
    ["Copy as JSON", json],
  ]) {
    await page.evaluate(() => navigator.clipboard.writeText(""));
    await button(page, copy).click();
    await ended(page, "The report is in the clipboard.");
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), expected);
  }
});

page("the full check has speeds, and its choice is said", {}, async (page) => {
  await open(page, "Check this GPU");
  await page.getByRole("radio", { name: "Full" }).check({ force: true });
  await ended(page, /many minutes on a slow machine/);
  await button(page, "Check this GPU").click();
  await ended(page, RIGHT);
  assert.deepEqual((await asked(page, "check"))[0], { device: "gpu", quick: false });
  const row = page.getByRole("table", { name: /Mock 4000/ }).getByRole("row", { name: /conv 3×3 f32/ });
  assert.deepEqual((await row.innerText()).split("\t"), ["conv 3×3 f32", "0.786", "2.6", "ok"]);
});

for (const [how, sentence] of [
  [
    "wrong",
    "Wrong by 3.3 × its tolerance: conv 3×3, f16, 2 × 7 × 13 × 5 → 3: [0, 1, 8, 3]: 1.250000e0, not 2.500000e-1",
  ],
  ["nan", "No number: conv 3×3, f16, 2 × 7 × 13 × 5 → 3: [0, 1, 8, 3]: NaN, not 2.500000e-1"],
]) {
  page(`a kernel that gives what is ${how} is named with its shape`, { worker: `check=${how}` }, async (page) => {
    await begin(page);
    await ended(page, WRONG);
    await ended(page, sentence);
    await ended(page, "Does not compute right: 10 cases in 15 s");
    await ended(page, "Computes right: 4 cases in 6 s");
  });
}

for (const [how, verdict, note] of [
  ["lost", "Failed", "the GPU was lost: a reason"],
  ["panics", "Crashed", "unreachable executed, having said: panicked at somewhere.rs:7: Validation Error"],
]) {
  page(
    `a GPU that breaks down (${how}) is a line, and the processor is checked all the same`,
    { worker: `check=${how}` },
    async (page) => {
      await begin(page);
      await ended(page, WRONG);
      await ended(page, `${verdict}: conv 3×3, f16, 2 × 7 × 13 × 5 → 3: ${note}`);
      await ended(page, "What comes after that was not tried.");
      await ended(page, "Computes right: 4 cases in 6 s");
      assert.equal(page.workers().length, 1);
      assert.deepEqual(
        (await asked(page, "check")).map(({ device }) => device),
        ["cpu"],
        "by another worker",
      );
      // The page goes on.
      await sample(page);
      await start(page).click();
      await page.locator("#result:visible").waitFor();
    },
  );
}

page("a GPU that hangs is a line after the time limit", { worker: "check=hangs" }, async (page) => {
  await page.clock.install();
  await begin(page);
  await ended(page, "conv 3×3, f16, 2 × 7 × 13 × 5 → 3");
  await page.clock.fastForward(4 * 60_000);
  // One of which something is heard has time again.
  const next = { kernel: "conv 3×3", precision: "f16", shape: "another" };
  await page.workers()[0].evaluate((begin) => self.postMessage({ event: { event: "check", begin } }), next);
  await ended(page, "conv 3×3, f16, another");
  await page.clock.fastForward(4 * 60_000);
  assert.ok(await button(page, "Cancel").isVisible());
  await page.clock.fastForward(61_000);
  await ended(page, /^Timed out: conv 3×3, f16, another: nothing was heard of it for 5 minutes/);
  await ended(page, WRONG);
  await ended(page, "Computes right: 4 cases in 6 s");
});

page("it is cancelled; until then no run begins", { worker: "pace=400" }, async (page) => {
  await sample(page);
  await begin(page);
  await page.locator("#run").getByText("The GPU is being checked.").waitFor();
  assert.ok(await start(page).isDisabled());
  await ended(page, "SiLU, f32, 1 × 5 × 3 × 7");
  await button(page, "Cancel").click();
  await ended(page, "Cancelled.");
  assert.equal((await asked(page, "report")).length, 0);
  assert.equal(await page.getByRole("table").count(), 0);
  await page.locator("#run .idle .primary:enabled").waitFor();
  assert.equal((await asked(page, "models")).length, 1, "nothing was loaded again");
  await start(page).click();
  await page.locator(".progress-row:visible").first().waitFor();
  assert.ok(await button(page, "Check this GPU").isDisabled(), "nor a check while a run goes on");
});

page("one that does not hear is ended by force", { worker: "mode=deaf&pace=20000" }, async (page) => {
  await page.locator("#device[data-kind]").waitFor();
  await page.clock.install();
  await begin(page);
  await ended(page, "workgroup barriers, f32, 1024 workgroups × 256");
  await button(page, "Cancel").click();
  await page.clock.fastForward(6000);
  await button(page, "End it by force (models are loaded again)").click();
  await ended(page, "Cancelled.");
  await page.locator("#check .primary:enabled").waitFor();
  assert.equal(page.workers().length, 1);
  assert.equal((await asked(page, "check")).length, 0);
});

page("without a GPU the processor is checked", { worker: "mode=cause:no-adapter" }, async (page) => {
  await open(page, "Check this GPU");
  await button(page, "Check the processor").click();
  await ended(page, RIGHT);
  const [heard] = await asked(page, "report");
  assert.deepEqual([heard.parts.length, heard.parts[0].device], [1, "cpu"]);
  assert.match(heard.browser, /; no WebGPU: no-adapter$/);
});
