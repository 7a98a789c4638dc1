// The starter set on the page with the engine in it: what its file is worth is not judged here.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch, visit } from "./browser.mjs";
import { startEngine } from "./engine.mjs";
import { fixtures } from "./native.mjs";
import { serve } from "./server.mjs";
import { dist } from "./staged.mjs";
import { open } from "./suite.mjs";
import { MINUTES, begin, drop, ready, result, set } from "./user.mjs";

const FOLDER = "/some/folder/";
const SET = "assets/starter.safetensors";
const SMALL = join(fixtures, "recipe/input.png");

let server, browser;
/** How often the set was asked for. */
let fetched = 0;
/** Until when the server lets it wait. */
let gate = null;

before(async () => {
  const file = async (name) => {
    fetched += name === SET;
    if (name === SET) await gate;
    return readFile(join(dist, name));
  };
  server = await serve({ [FOLDER]: file });
  browser = await launch({ gpu: true });
});
after(async () => {
  await browser?.close();
  server?.close();
});

const onPage = (name, act, { redrawing = "starter", allow = [] } = {}) =>
  test(name, { timeout: 9 * MINUTES }, async (t) => {
    fetched = 0;
    const { page, complaints, close } = await visit(browser, server, { path: FOLDER, redrawing, allow });
    try {
      await ready(page);
      await act(page, t);
    } finally {
      await close();
    }
    assert.deepEqual(complaints, []);
  });

const radio = (page, name) => page.getByRole("radio", { name, exact: true }).check({ force: true });
const loaded = (page, what) =>
  page.getByText(`Enlarging with lite${what}. Computing on the processor.`).waitFor({ timeout: 2 * MINUTES });
const WITH_STARTER = ", redrawing with the starter set";

/** Save the result: its bytes. */
async function saved(page) {
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Save", exact: true }).click(),
  ]);
  return readFile(await download.path());
}

/** Width and height of a PNG. */
const size = (png) => [png.readUInt32BE(16), png.readUInt32BE(20)];

onPage(
  "the first click redraws, also after an interruption, and differs from what is only enlarged",
  async (page, t) => {
    page.on("dialog", (dialog) => dialog.accept());
    await open(page, "Models");
    await loaded(page, `${WITH_STARTER} as soon as there is a picture`);
    assert.equal(fetched, 0);
    await drop(page, SMALL);
    // More steps than usual: time to interrupt it.
    await set(page, { Steps: "40", seed: "7" });
    await loaded(page, WITH_STARTER);
    await begin(page);
    await result(page);
    t.diagnostic(await page.locator("#result").textContent());
    const redrawn = await saved(page);
    assert.deepEqual(size(redrawn), [192, 160]);
    assert.equal(fetched, 1);

    await begin(page);
    await page.getByText(/Redrawing, to/).waitFor({ timeout: MINUTES });
    await page.reload();
    await ready(page);
    await page.getByRole("button", { name: "Go on" }).click({ timeout: MINUTES });
    await result(page);
    assert.ok((await saved(page)).equals(redrawn), "not the same bytes");
    assert.equal(fetched, 2, "once for each worker");

    await open(page, "Models");
    await radio(page, "Off");
    await loaded(page, "");
    await begin(page);
    await result(page);
    const enlarged = await saved(page);
    assert.deepEqual(size(enlarged), [192, 160]);
    assert.ok(!enlarged.equals(redrawn));
    await radio(page, "Built in: starter set");
    await loaded(page, WITH_STARTER);
    assert.equal(fetched, 2);
  },
);

onPage(
  "a plan for the set is right before it is there",
  async (page) => {
    await startEngine(page);
    const [before, after, others] = await page.evaluate(async () => {
      const none = { controlnet: null, vae: null, loras: [], embeddings: [] };
      const models = { upscaler: "lite", checkpoint: "starter", ...none, device: "cpu" };
      const plan = (models) => ask("plan", { width: 3000, height: 2000, settings: {}, region: null, models });
      const before = await plan(models);
      if (!(await ask("models", models)).diffusion) throw new Error("it does not redraw");
      const file = new File([], "file");
      return [before, await plan(models), await plan({ ...models, checkpoint: file, controlnet: file })];
    });
    const close = (a, b) => assert.ok(Math.abs(a / b - 1) < 0.01, `${a}, ${b}`);
    close(before.weights, after.weights);
    close(before.peak_memory, after.peak_memory);
    close(before.stages[0].operations, after.stages[0].operations);
    assert.deepEqual(before.largest_tensor, after.largest_tensor);
    assert.equal(before.text, after.text);
    // What is loaded is no measure for larger ones.
    assert.ok(others.weights > 50 * after.weights);
  },
  { redrawing: "off" },
);

onPage(
  "a server without it is told of; the rest works",
  async (page) => {
    server.missing.add(SET);
    try {
      await drop(page, SMALL);
      await open(page, "Models");
      await radio(page, "Built in: starter set");
      const said = page.getByRole("alert").filter({ hasText: "The starter set did not come from this page's server" });
      await said.getByText(/answers 404.*turn redrawing off or take files of your own/).waitFor();
      await page.getByText("The models are not loaded; this loads them again.").waitFor();
      await radio(page, "Off");
      await loaded(page, "");
      await begin(page);
      await result(page);
    } finally {
      server.missing.delete(SET);
    }
    await radio(page, "Built in: starter set");
    await loaded(page, WITH_STARTER);
  },
  { redrawing: "off", allow: [/404/] },
);

onPage(
  "fetching it is cancelled, and made up for by the next run",
  async (page) => {
    let release;
    gate = new Promise((resolve) => (release = resolve));
    try {
      await drop(page, SMALL);
      await page.locator("#run .idle .primary:enabled").waitFor({ timeout: MINUTES });
      await open(page, "Models");
      await radio(page, "Built in: starter set");
      await page.getByText("Loading …").waitFor();
      await begin(page);
      await page.getByRole("button", { name: "Cancel" }).click();
      await page.getByText("Cancelled. The models are loaded with the next run.").waitFor();
    } finally {
      release();
    }
    await begin(page);
    await result(page);
    await loaded(page, WITH_STARTER);
    assert.equal(fetched, 2);
  },
  { redrawing: "off" },
);
