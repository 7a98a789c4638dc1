// The page after its first visit: without a connection, and when the server has a newer one.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { contextOf, follow, launch, runThrough, sample } from "./browser.mjs";
import { serve } from "./server.mjs";
import { stage } from "./staged.mjs";

const FOLDER = "/some/folder/";
let browser;
before(async () => (browser = await launch()));
after(() => browser?.close());

/** A test of a built page in a folder of a server, in a context whose service workers are those of a user. */
const visited = (name, act) =>
  test(name, { timeout: 120_000 }, async () => {
    const staged = await stage();
    const server = await serve({ [FOLDER]: staged.path });
    const context = await contextOf(browser, { serviceWorkers: "allow" });
    const open = async () => {
      const { page, complaints } = await follow(context, server, { path: FOLDER });
      await page.locator("#device[data-kind]").waitFor();
      await page.evaluate(() => navigator.serviceWorker.ready);
      return { page, complaints };
    };
    try {
      await act({ staged, server, context, open });
    } finally {
      await context.close();
      server.close();
      await staged.remove();
    }
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
