// Pictures larger than memory through the real engine, as large as a minute allows; `large.mjs` has the rest.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch, launchOnDisk, visit } from "./browser.mjs";
import { startEngine } from "./engine.mjs";
import { assertEnlarged, enlargeInBands } from "./large.mjs";
import { fixtures, root } from "./native.mjs";
import { serve } from "./server.mjs";

const MINUTES = 60_000;
const MB = 1 << 20;

let server, browser, profile;

before(async () => {
  server = await serve({ "/": process.env.DIST ?? join(root, "dist"), "/fixtures/": fixtures });
  profile = await mkdtemp(join(tmpdir(), "clarifier-large-"));
  browser = await launchOnDisk(profile);
});

after(async () => {
  await browser?.close();
  server?.close();
  if (profile) await rm(profile, { recursive: true });
});

/** `act` on a page of its own; nothing may be complained of. */
async function onPage(act, where = browser) {
  const { page, complaints, close } = await visit(where, server);
  try {
    await act(page);
  } finally {
    await close();
  }
  assert.deepEqual(complaints, []);
}

test("a large picture goes through the engine by bands, and into a file", { timeout: 5 * MINUTES }, async (t) => {
  await onPage(async (page) => {
    await startEngine(page);
    const found = await enlargeInBands(page, 4000);
    t.diagnostic(`the heap had ${Math.round(found.heap / MB)} MB; ${JSON.stringify(found.seconds)}`);
    // The working copies have 384 MB and the result 192 MB.
    assertEnlarged(found, 4000, 96 * MB);
  });
});

test("opacity that begins in a late band is kept, and bands are checked", { timeout: 2 * MINUTES }, async () => {
  await onPage(async (page) => {
    await startEngine(page);
    const found = await page.evaluate(async () => {
      const wanted = { width: 64, height: 48, settings: { upscale_factor: 1 }, seed: 7, region: null, noise: null };
      const refused = (asked) =>
        asked.then(
          () => "done",
          (error) => error.message,
        );
      await choose({ upscaler: "lanczos", device: "cpu" });
      const early = await refused(ask("band", { x: 0, y: 0, width: 1, height: 1, pixels: new ArrayBuffer(4) }));
      await ask("picture", { width: 64, height: 48 });
      const part = (width, height, alpha) => {
        const pixels = new Uint8Array(4 * width * height);
        for (let i = 0; i < pixels.length; i += 4) pixels.set([i & 255, 100, 200, alpha], i);
        return pixels;
      };
      const sent = part(64, 32, 255);
      await ask("band", { x: 0, y: 0, width: 64, height: 32, pixels: sent.buffer });
      const half = await refused(ask("upscale", wanted));
      const [left, right] = [part(40, 16, 255), part(24, 16, 77)];
      await ask("band", { x: 0, y: 32, width: 40, height: 16, pixels: left.buffer });
      await ask("band", { x: 40, y: 32, width: 24, height: 16, pixels: right.buffer });
      await ask("upscale", wanted);
      const got = new Uint8Array(await ask("pixels", { x: 0, y: 0, width: 64, height: 48 }));
      const same = (x, y, width, height, expected) => {
        for (let row = 0; row < height; row += 1)
          for (let i = 0; i < 4 * width; i += 1)
            if (got[4 * ((y + row) * 64 + x) + i] !== expected[4 * row * width + i]) return `${x + i / 4} ${y + row}`;
        return "same";
      };
      await ask("picture", { width: 64, height: 48 });
      return {
        early,
        half,
        parts: [same(0, 0, 64, 32, sent), same(0, 32, 40, 16, left), same(40, 32, 24, 16, right)],
        outside: await refused(ask("band", { x: 60, y: 0, width: 5, height: 1, pixels: new ArrayBuffer(20) })),
        empty: await refused(ask("picture", { width: 0, height: 48 })),
      };
    });
    assert.match(found.early, /no picture to which this band belongs/);
    assert.match(found.half, /has not come in whole/);
    assert.deepEqual(found.parts, ["same", "same", "same"]);
    assert.match(found.outside, /not inside the picture, which is 64 × 48/);
    assert.match(found.empty, /no pixels/);
  });
});

test(
  "a worker that is ended leaves its folder to the next, and another page has its own",
  { timeout: 2 * MINUTES },
  async (t) => {
    // Only the engines that this test starts, on a disk that has seen no others: a page's own has a folder too.
    const profile = await mkdtemp(join(tmpdir(), "clarifier-alone-"));
    const alone = await launchOnDisk(profile);
    t.after(async () => {
      await alone.close();
      await rm(profile, { recursive: true });
    });
    await alone.route("**/web/page.js", (route) => route.fulfill({ contentType: "text/javascript", body: "" }));
    await onPage(async (page) => {
      /** What the folders hold, as files: those of no use have no bytes. */
      const held = () =>
        page.evaluate(async () => {
          const found = {};
          const root = await navigator.storage.getDirectory();
          for await (const [name, folder] of root) {
            if (!name.startsWith("engine")) continue;
            found[name] = { files: 0, bytes: 0 };
            for await (const file of folder.values()) {
              found[name].files += 1;
              found[name].bytes += (await file.getFile()).size;
            }
          }
          return found;
        });
      await startEngine(page);
      // Large enough for the folder.
      const begin = () => page.evaluate(() => ask("picture", { width: 6000, height: 6000 }));
      await begin();
      const names = () => page.evaluate(async () => (await ask("memory")).names);
      assert.equal((await names()).length, 1);
      const before = await held();
      assert.ok(before.engine.bytes > 108e6 && before.engine.files >= 24, JSON.stringify(before));
      // The page is left with its worker alive; the next one waits until that is gone, and has no use for its scratch.
      await page.reload();
      await startEngine(page);
      await page.evaluate(() => ask("picture", { width: 1, height: 1 }));
      assert.deepEqual(await names(), []);
      const after = await held();
      assert.deepEqual(Object.keys(after), ["engine"]);
      assert.deepEqual([after.engine.bytes, after.engine.files], [0, before.engine.files]);
      await onPage(async (other) => {
        await startEngine(other);
        await other.evaluate(() => ask("picture", { width: 6000, height: 6000 }));
        assert.deepEqual(Object.keys(await held()).sort(), ["engine", "engine-2"]);
        assert.deepEqual(await names(), []);
      }, alone);
    }, alone);
  },
);

test("without files of its own the page works in memory", { timeout: 2 * MINUTES }, async () => {
  const elsewhere = await launch();
  try {
    const { page, complaints, close } = await visit(elsewhere, server);
    // As Firefox's private windows have it.
    await page.route("**/web/worker/folder.js", async (route) => {
      const answer = await route.fetch();
      const forbid =
        'navigator.storage.getDirectory = async () => { throw new DOMException("no files here", "SecurityError"); };';
      await route.fulfill({ response: answer, body: `${forbid}\n${await answer.text()}` });
    });
    await startEngine(page);
    const found = await page.evaluate(async () => {
      await choose({ upscaler: "lanczos", device: "cpu" });
      const done = await enlarge("fixtures/recipe/input.png", {});
      return { size: [done.width, done.height], bytes: done.blob.size, ...(await ask("memory")) };
    });
    assert.deepEqual([found.size, found.names, found.folder], [[192, 160], [], "no files here"]);
    assert.ok(found.bytes > 1000);
    await close();
    assert.deepEqual(complaints, []);
  } finally {
    await elsewhere.close();
  }
});
