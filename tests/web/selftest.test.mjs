// “Check this GPU” with the engine in the page, on Chromium's software GPU.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { open } from "./suite.mjs";
import { MINUTES, users } from "./user.mjs";

const parts = users();
const button = (page, name) => page.locator("#check").getByRole("button", { name, exact: true });

/** Have the page's next questions for a check say this too: faults are made by no control of the page. */
const also = (page, more) =>
  page.evaluate((more) => {
    const post = Worker.prototype.postMessage;
    Worker.prototype.postMessage = function (message, ...how) {
      if (message.name === "check") Object.assign(message.args[0], more);
      return post.call(this, message, ...how);
    };
  }, more);

async function begin(page) {
  await page.locator("#device[data-kind]").waitFor({ timeout: MINUTES });
  await open(page, "Check this GPU");
  await button(page, "Check this GPU").click({ timeout: MINUTES });
}

/** Wait for this outcome; the report, read from the file that the page saves, and its text. */
async function report(page, outcome, timeout) {
  await page.locator("#check").getByText(outcome).waitFor({ timeout });
  const [file] = await Promise.all([page.waitForEvent("download"), button(page, "Save as JSON …").click()]);
  const text = await page.getByLabel("Report, to attach to a bug report").inputValue();
  return { ...JSON.parse(await readFile(await file.path(), "utf8")), text };
}

const RIGHT = "All of it computes right.";
const WRONG = /^Not all of it computes right/;

test("the software GPU and the processor compute right in the page", { timeout: 9 * MINUTES }, async (t) => {
  await parts.onPage(async (page) => {
    await begin(page);
    const { adapters, text, ...about } = await report(page, RIGHT, 8 * MINUTES);
    t.diagnostic(text);
    assert.deepEqual([about.quick, about.arch, about.shaders], [true, "wasm32", "WGSL"]);
    assert.match(about.browser, /HeadlessChrome/);
    const [gpu, cpu] = adapters;
    assert.match(gpu.name, /swiftshader.* through webgpu/i);
    assert.deepEqual([gpu.adapter.api, gpu.adapter.software, cpu.name, cpu.adapter], ["webgpu", true, "CPU", null]);
    assert.ok(gpu.adapter.max_binding > 1e8 && gpu.adapter.max_invocations >= 256, JSON.stringify(gpu.adapter));
    for (const { name, failure, cases } of adapters) {
      assert.equal(failure, null);
      assert.ok(cases.length > 70, `${name}: ${cases.length} cases`);
      assert.deepEqual(
        cases.filter(({ verdict }) => verdict !== "ok"),
        [],
      );
    }
    const recipe = ({ cases }) => cases.find(({ kernel }) => kernel === "the whole recipe").note;
    const [, fromProcessor] = recipe(gpu).match(/([\d.]+) dB from the CPU's/);
    const [, fromStored] = recipe(cpu).match(/([\d.]+) dB from the stored result/);
    assert.ok(Number(fromProcessor) >= 45 && Number(fromStored) >= 45, `${fromProcessor}, ${fromStored} dB`);
    assert.match(text, /^Clarifier \d+\.\d+\.\d+, web page, wasm32, WGSL, quick self-test\nMozilla/);
    assert.match(text, /\n2 of 2 devices compute right\n$/);
  });
});

test("faults in the page are named by kernel and shape", { timeout: 5 * MINUTES }, async () => {
  for (const [fault, kernel, line] of [
    [
      "wrong-element:conv 1×1",
      "conv 1×1",
      /WRONG by [\d.]+ × its tolerance: conv 1×1, f32, \d+ × \d+ × \d+ × \d+ → \d+: \[/,
    ],
    [
      "missing-barrier",
      "workgroup barriers",
      /WRONG: workgroup barriers, f32, 1024 workgroups × 256: \d+ values are wrong/,
    ],
    ["nan:PReLU", "PReLU", /NO NUMBER: PReLU, f32, 1 × 5 × 3 × 7: .*NaN/],
  ]) {
    await parts.onPage(async (page) => {
      await also(page, { kernel, fault });
      await begin(page);
      const { adapters, text } = await report(page, WRONG, 2 * MINUTES);
      assert.ok(adapters[0].cases.length > 0 && adapters[0].cases.every(({ verdict }) => verdict !== "ok"), text);
      assert.match(text, line);
    });
  }
});

test(
  "a GPU that is lost in the middle is a line of the report, and the page goes on",
  { timeout: 5 * MINUTES },
  async () => {
    await parts.onPage(async (page) => {
      await also(page, { kernel: "conv*" });
      await page.locator("#device[data-kind]").waitFor({ timeout: MINUTES });
      // It is taken away at the twentieth time that the engine gives it something to do.
      await page.workers()[0].evaluate(() => {
        const make = GPUDevice.prototype.createCommandEncoder;
        let count = 0;
        GPUDevice.prototype.createCommandEncoder = function (...how) {
          if (++count === 20) this.destroy();
          return make.apply(this, how);
        };
      });
      await begin(page);
      const { adapters, text } = await report(page, WRONG, 3 * MINUTES);
      const [gpu, cpu] = adapters;
      const last = gpu.cases.at(-1);
      assert.deepEqual([last.verdict, gpu.failure], ["failed", "what comes after that was not tried"]);
      assert.match(last.note, /the GPU was lost/);
      assert.match(last.kernel, /^conv/);
      assert.ok(gpu.cases.length > 1 && gpu.cases.slice(0, -1).every(({ verdict }) => verdict === "ok"), text);
      assert.ok(cpu.cases.length > gpu.cases.length && cpu.cases.every(({ verdict }) => verdict === "ok"), text);
      assert.match(text, /FAILED: conv .*: the GPU was lost/);
      assert.equal(page.workers().length, 1);
    });
  },
);
