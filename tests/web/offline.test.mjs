// The page after its first visit: without a connection, and when the server has a newer one.
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { contextOf, follow, launch, runThrough, sample } from "./browser.mjs";
import { fixtures } from "./native.mjs";
import { serve } from "./server.mjs";
import { stage } from "./staged.mjs";
import { open as openPart } from "./suite.mjs";
import { begin, drop, result } from "./user.mjs";

const FOLDER = "/some/folder/";
const SET = "assets/starter.safetensors";
let browser;
before(async () => (browser = await launch()));
after(() => browser?.close());

/** A test of a built page in a folder of a server, in a context whose service workers are those of a user. */
const visited = (name, act) =>
  test(name, { timeout: 120_000 }, async () => {
    const staged = await stage();
    const asked = [];
    const server = await serve({ [FOLDER]: (name) => (asked.push(name), readFile(join(staged.path, name))) });
    const context = await contextOf(browser, { serviceWorkers: "allow" });
    const open = async (redrawing) => {
      const { page, complaints } = await follow(context, server, { path: FOLDER, redrawing });
      await page.locator("#device[data-kind]").waitFor();
      await page.evaluate(() => navigator.serviceWorker.ready);
      return { page, complaints };
    };
    try {
      await act({ staged, server, context, open, asked });
    } finally {
      await context.close();
      server.close();
      await staged.remove();
    }
  });

/** How often the starter set is kept; waits until it is, if it is to be. */
const keptSets = (page, wait) =>
  page.evaluate(
    async ([path, wait]) => {
      const hash = (await (await fetch("shell.js")).text()).match(new RegExp(`"${path}": "(\\w+)"`))[1];
      const [name] = await caches.keys();
      const sets = async () => (await (await caches.open(name)).keys()).filter(({ url }) => url.includes(hash)).length;
      for (let i = 0; wait && i < 200 && (await sets()) === 0; i += 1) await new Promise((go) => setTimeout(go, 50));
      return sets();
    },
    [SET, wait],
  );

/** Redraw with the starter set. */
async function redraw(page) {
  await drop(page, join(fixtures, "recipe/input.png"));
  await page.getByText("redrawing with the starter set. Computing").waitFor({ state: "attached" });
  await begin(page);
  await result(page);
  assert.match(await page.locator("#result").textContent(), /^192 × 160, made in/);
}

/** The same after the page was loaded again without a connection, nor a server. */
async function redrawOffline({ page, context, server }) {
  await context.setOffline(true);
  server.close();
  await page.reload();
  await page.locator("#device[data-kind]").waitFor();
  await redraw(page);
}

visited("the starter set is kept when the first visit used it", async ({ server, context, open }) => {
  const { page, complaints } = await open("starter");
  await page.waitForFunction(() => navigator.serviceWorker.controller);
  assert.equal(await keptSets(page, false), 0);
  await redraw(page);
  assert.equal(await keptSets(page, true), 1);
  await redrawOffline({ page, context, server });
  assert.deepEqual(complaints, []);
});

visited("the starter set is not kept before it is used, and then comes once", async (parts) => {
  const { page, complaints } = await parts.open();
  await page.waitForFunction(() => navigator.serviceWorker.controller);
  await page.reload();
  await page.getByText("Enlarging with lite. Computing").waitFor({ state: "attached" });
  assert.equal(await keptSets(page, false), 0);
  const times = () => parts.asked.filter((name) => name === SET).length;
  assert.equal(times(), 0);
  await openPart(page, "Models");
  await page.getByRole("radio", { name: "Built in: starter set" }).check({ force: true });
  await page.getByText("redrawing with the starter set as soon as there is a picture").waitFor();
  assert.equal(times(), 0);
  await redraw(page);
  assert.deepEqual([await keptSets(page, true), times()], [1, 1]);
  // Another version with the same set keeps it.
  await parts.staged.change("index.html", (text) => text.replace("<title>", "<!-- newer --><title>"));
  await page.reload();
  await page.getByText("A new version of this page is there.").waitFor();
  await Promise.all([page.waitForEvent("load"), page.getByRole("button", { name: "Reload to use it" }).click()]);
  await redraw(page);
  assert.deepEqual([await keptSets(page, false), times()], [1, 1]);
  await redrawOffline({ page, ...parts });
  assert.deepEqual(complaints, []);
});

visited("after the first visit it works without a connection", async ({ server, context, open }) => {
  const { page, complaints } = await open();
  await page.waitForFunction(() => navigator.serviceWorker.controller);
  await context.setOffline(true);
  // There is no server either: nothing can come from it past the browser's switch.
  server.close();
  await page.reload();
  await page.locator("#device[data-kind]").waitFor();
  await sample(page);
  await runThrough(page);
  assert.match(await page.locator("#result").textContent(), /^902 × 600, made in/);
  assert.deepEqual(complaints, []);
  // Only the page itself is kept, once.
  const kept = await page.evaluate(async () => {
    const names = await caches.keys();
    const keys = await (await caches.open(names[0])).keys();
    return {
      names: names.length,
      here: keys.every(({ url }) => url.includes("/some/folder/?sha256=")),
      count: keys.length,
    };
  });
  assert.deepEqual([kept.names, kept.here], [1, true]);
  assert.ok(kept.count > 50, `${kept.count}`);
});

visited("a newer page is offered, and comes when the user wants it", async ({ staged, open }) => {
  const { page, complaints } = await open();
  await page.waitForFunction(() => navigator.serviceWorker.controller);
  const wasm = () =>
    page.evaluate(async () => {
      const [name] = await caches.keys();
      return (await (await caches.open(name)).keys()).length;
    });
  const before = await wasm();
  await staged.change("index.html", (text) =>
    text.replace("<title>Clarifier</title>", "<title>Clarifier</title><!-- newer -->"),
  );
  await page.reload();
  // The old one is what is shown, and works, until then.
  const newer = () => page.evaluate(() => document.head.innerHTML.includes("<!-- newer -->"));
  await page.getByText("A new version of this page is there.").waitFor();
  assert.equal(await newer(), false);
  assert.equal(await wasm(), before + 1, "only what changed is fetched");
  await Promise.all([page.waitForEvent("load"), page.getByRole("button", { name: "Reload to use it" }).click()]);
  assert.equal(await newer(), true);
  await page.locator("#device[data-kind]").waitFor();
  await page.evaluate(() => navigator.serviceWorker.ready);
  assert.equal(await wasm(), before, "what is not of this version is gone");
  assert.deepEqual(complaints, []);
});

visited(
  "files of another version are not kept: the page then needs its server",
  async ({ staged, context, server }) => {
    // As while a server is being updated: the list is of one version, a file of another.
    await writeFile(join(staged.path, "web/style.css"), "/* of another version */");
    const { page } = await follow(context, server, { path: FOLDER });
    await page.locator("#device[data-kind]").waitFor();
    const state = await page.evaluate(async () => {
      // One that could not be installed is gone, perhaps before it is looked for.
      const until = performance.now() + 10_000;
      let registration;
      while (!(registration = await navigator.serviceWorker.getRegistration()) && performance.now() < until)
        await new Promise((go) => setTimeout(go, 50));
      const worker = registration && (registration.active ?? registration.waiting ?? registration.installing);
      while (worker && worker.state === "installing") await new Promise((go) => setTimeout(go, 50));
      return [worker?.state ?? "redundant", navigator.serviceWorker.controller];
    });
    assert.deepEqual(state, ["redundant", null]);
    await sample(page);
  },
);
