// Models downloaded by the real worker from a local hub, into the origin's own files: whatever goes wrong on the way.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { contextOf, follow, lasting, launch } from "./browser.mjs";
import { startEngine } from "./engine.mjs";
import { serveHub, sha256 } from "./hub.mjs";
import { fixtures, workshop } from "./native.mjs";
import { serve } from "./server.mjs";
import { stageWithHub } from "./staged.mjs";

const FOLDER = "/some/folder/";
/** More than two of the parts that the worker asks for. */
const BIG = 70 << 20;
const SMALL = 3 << 20;
const MODELS = [
  {
    name: "checkpoint",
    role: "a",
    kind: "checkpoint",
    repo: "o/tiny",
    file: "checkpoint.safetensors",
    licence: "none",
    recommended: true,
  },
  {
    name: "controlnet",
    role: "b",
    kind: "controlnet",
    repo: "o/tiny",
    file: "controlnet.safetensors",
    licence: "none",
    recommended: true,
  },
  { name: "big", role: "c", kind: "vae", repo: "o/big", file: "big.safetensors", licence: "none" },
  {
    name: "small",
    role: "d",
    kind: "vae",
    repo: "o/small",
    file: "sub/small.safetensors",
    licence: "none",
    megabytes: 3,
  },
  {
    name: "authored",
    role: "e",
    kind: "vae",
    repo: "o/small",
    file: "sub/small.safetensors",
    licence: "none",
    sha256_start: "00ff00ff",
  },
  { name: "pickle", role: "f", kind: "upscaler", repo: "o/small", file: "x.pth", licence: "none" },
];

let shop, hub, page, server, browser;
const files = { "o/big/big.safetensors": randomBytes(BIG), "o/small/sub/small.safetensors": randomBytes(SMALL) };
const big = files["o/big/big.safetensors"];
const small = files["o/small/sub/small.safetensors"];

before(async () => {
  shop = await workshop();
  for (const name of ["checkpoint.safetensors", "controlnet.safetensors"])
    files[`o/tiny/${name}`] = await readFile(join(shop.path, name));
  hub = await serveHub({ ...files });
  page = await stageWithHub(hub, MODELS);
  server = await serve({ [FOLDER]: page.path, [`${FOLDER}fixtures/`]: fixtures, [`${FOLDER}work/`]: shop.path });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  server?.close();
  hub?.close();
  await page?.remove();
  await shop?.remove();
});

/** In the page: what there is of a model, `{ size, sha256, part }`. */
const LOOK = () => {
  globalThis.look = async (name) => {
    const { models } = await ask("store");
    const { file, part } = models.find((one) => one.name === name);
    const hash = file && new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
    const digits = hash && [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    return { name: file?.name ?? null, size: file?.size ?? 0, sha256: digits, part };
  };
  globalThis.download = (...names) =>
    ask("download", { names }).then(
      () => "here",
      (error) => error.message,
    );
  /** Until the part of a download has so many bytes. */
  globalThis.until = async (bytes) => {
    while (!heard.some((event) => event.state === "receiving" && event.bytes >= bytes))
      await new Promise((go) => setTimeout(go, 20));
  };
};

/** A test of a page with an engine of its own, in a browser that has nothing yet; `tab()` opens another. */
const withStore = (name, act, { allow = [], onDisk = false } = {}) =>
  test(name, { timeout: 180_000 }, async (t) => {
    Object.assign(hub, { files: { ...files }, faults: [], refuse: 0, asked: [], preflights: 0 });
    const profile = onDisk && (await mkdtemp(join(tmpdir(), "clarifier-profile-")));
    const context = onDisk ? await lasting(profile) : await contextOf(browser);
    const complaints = [];
    const tab = async () => {
      const opened = await follow(context, server, { path: FOLDER, elsewhere: hub.origins, allow });
      complaints.push(opened.complaints);
      await startEngine(opened.page);
      await opened.page.evaluate(LOOK);
      return opened.page;
    };
    try {
      await act(await tab(), { t, tab, context });
    } finally {
      await context.close();
      if (profile) await rm(profile, { recursive: true });
    }
    assert.deepEqual(complaints.flat(), []);
    // Servers that answer none are those of every hub: what the browser would have to ask permission for is not sent.
    assert.equal(hub.preflights, 0);
  });

withStore("the downloaded set does what the same files do that the user chooses", async (page, { t }) => {
  const first = await page.evaluate(() => ask("store"));
  assert.deepEqual(
    first.models.map(({ name, file, part, recommended, bytes }) => [name, file, part, recommended, bytes]),
    [
      ["checkpoint", null, null, true, null],
      ["controlnet", null, null, true, null],
      ["big", null, null, false, null],
      ["small", null, null, false, 3e6],
      ["authored", null, null, false, null],
    ],
    "what the engine cannot read is not offered",
  );
  assert.ok(first.available && first.quota > 0);
  const settings = { tile_width: 16, tile_height: 16, tile_overlap: 4, num_inference_steps: 6 };
  const done = await page.evaluate(async (settings) => {
    const answer = await download("checkpoint", "controlnet");
    const states = [...new Set(heard.filter(({ event }) => event === "download").map(({ state }) => state))];
    const { models } = await ask("store");
    const stored = (kind) => models.find((one) => one.kind === kind).file;
    const results = [];
    for (const [checkpoint, controlnet] of [
      [stored("checkpoint"), stored("controlnet")],
      [await file("work/checkpoint.safetensors"), await file("work/controlnet.safetensors")],
    ]) {
      const { diffusion } = await choose({ checkpoint, controlnet, device: "cpu" });
      const noise = await file("fixtures/recipe/noise.safetensors");
      const { blob } = await enlarge("fixtures/recipe/input.png", { settings, noise });
      results.push({ diffusion, bytes: [...new Uint8Array(await blob.arrayBuffer())].join() });
    }
    const [a, b] = results;
    return { answer, states, diffusion: [a.diffusion, b.diffusion], length: a.bytes.length, same: a.bytes === b.bytes };
  }, settings);
  t.diagnostic(`${JSON.stringify({ ...done, asked: hub.asked.length })}`);
  assert.deepEqual([done.answer, done.diffusion, done.same], ["here", [true, true], true]);
  assert.ok(done.length > 10_000);
  assert.ok(done.states.includes("asking") && done.states.includes("receiving"), `${done.states}`);
  // What is here is not asked for again, and needs no hub.
  const before = hub.asked.length;
  hub.refuse = 500;
  assert.equal(await page.evaluate(() => download("checkpoint", "controlnet")), "here");
  assert.equal(hub.asked.length, before);
});

withStore(
  "a connection that ends mid-file is taken up at that byte",
  async (page) => {
    hub.faults = [{ cut: 10 << 20 }, {}, { cut: 1 << 20 }];
    const found = await page.evaluate(async () => [await download("big"), await look("big")]);
    assert.deepEqual(found, ["here", { name: "big.safetensors", size: BIG, sha256: sha256(big), part: null }]);
    const starts = hub.asked.map(({ start }) => start);
    // Of what was sent last before a cut, a busy browser may lose some: it goes on from what has arrived.
    const [, second, third, fourth] = starts;
    assert.equal(starts.length, 4);
    assert.ok(second > 5 << 20 && second <= 10 << 20, `${starts}`);
    assert.equal(third, second + (32 << 20));
    assert.ok(fourth >= third && fourth <= third + (1 << 20), `${starts}`);
    const sent = hub.asked.slice(0, 3).map(({ start, sent }) => [start, sent]);
    assert.deepEqual(sent[0], [0, 10 << 20], "nothing is asked for twice");
  },
  {
    allow: [
      /^failed: http/,
      /ERR_(INCOMPLETE_CHUNKED_ENCODING|CONTENT_LENGTH_MISMATCH|CONNECTION_RESET|EMPTY_RESPONSE)/,
    ],
  },
);

withStore("a worker that is killed leaves its part, and the next goes on from it", async (page, { tab }) => {
  hub.faults = [{ pace: 60, always: true }];
  await page.evaluate(async () => {
    download("big");
    await until(3e6);
    endEngine();
  });
  hub.faults = [];
  // Tabs that are closed do the same; both share what is there.
  const next = await tab();
  const { part } = await next.evaluate(() => look("big"));
  assert.ok(part.bytes >= 3e6 && part.bytes < BIG, `${part.bytes}`);
  assert.equal(part.total, BIG);
  hub.asked.length = 0;
  const found = await next.evaluate(async () => [
    await download("big"),
    await look("big"),
    heard.map(({ state }) => state),
  ]);
  assert.deepEqual([found[0], found[1].sha256], ["here", sha256(big)]);
  assert.equal(hub.asked[0].start, part.bytes, "it begins where the part ends");
  assert.ok(found[2].includes("checking"));
});

withStore(
  "200 instead of 206: all of it is read, what is here is skipped",
  async (page) => {
    hub.faults = [{ whole: true }];
    assert.deepEqual(await page.evaluate(async () => [await download("big"), (await look("big")).sha256]), [
      "here",
      sha256(big),
    ]);
    assert.equal(hub.asked.length, 1);
    await page.evaluate(() => ask("forget", { names: ["big"] }));
    hub.faults = [{ cut: 5 << 20 }, { whole: true }];
    assert.deepEqual(await page.evaluate(async () => [await download("big"), (await look("big")).sha256]), [
      "here",
      sha256(big),
    ]);
    assert.equal(hub.asked.length, 3);
  },
  {
    allow: [
      /^failed: http/,
      /ERR_(INCOMPLETE_CHUNKED_ENCODING|CONTENT_LENGTH_MISMATCH|CONNECTION_RESET|EMPTY_RESPONSE)/,
    ],
  },
);

withStore("bytes of another hash are removed, and that is said", async (page) => {
  const wrong = Buffer.from(small);
  wrong[1000] ^= 1;
  hub.faults = [{ bytes: wrong }];
  const found = await page.evaluate(async () => [await download("small"), await look("small")]);
  assert.match(
    found[0],
    /^what arrived is damaged \(SHA-256 [0-9a-f]{64}, not [0-9a-f]{64}\), and was deleted; try again$/,
  );
  assert.deepEqual(found[1], { name: null, size: 0, sha256: null, part: null });
  assert.equal(await page.evaluate(() => download("small")), "here");
  assert.match(
    await page.evaluate(() => download("authored")),
    /its author's begins with 00ff00ff: it is not the same file/,
  );
});

withStore("a file that changed at the hub starts anew; another tag alone does not", async (page) => {
  const pausedAt = async () =>
    page.evaluate(async () => {
      heard.length = 0;
      const running = download("small");
      await until(5e5);
      await ask("pause", { names: ["small"] });
      return [await running, (await look("small")).part?.bytes];
    });
  hub.faults = [{ pace: 250, etag: '"one"' }];
  const [message, bytes] = await pausedAt();
  assert.equal(message, "paused");
  assert.ok(bytes >= 5e5 && bytes < SMALL);
  // Another server on the way, which names the same file otherwise.
  hub.asked.length = 0;
  hub.faults = [{ etag: '"two"' }, { etag: '"two"', pace: 250 }];
  const [, later] = await pausedAt();
  assert.ok(later > bytes, `it went on: ${later}`);
  assert.deepEqual(
    hub.asked.map(({ start }) => start),
    [bytes, bytes],
  );
  const changed = randomBytes(SMALL + 5);
  hub.files["o/small/sub/small.safetensors"] = changed;
  hub.asked.length = 0;
  assert.deepEqual(await page.evaluate(async () => [await download("small"), (await look("small")).sha256]), [
    "here",
    sha256(changed),
  ]);
  assert.equal(hub.asked[0].start, 0);
});

withStore(
  "refusals are said in the user's words, and only what may pass is tried again, not for ever",
  async (page) => {
    const said = (name = "small") => page.evaluate((name) => download(name), name);
    for (const [status, words] of [
      [401, /asks for permission \(401\): accept the licence at o\/small's page/],
      [403, /asks for permission \(403\)/],
      [404, /the hub has no sub\/small\.safetensors in o\/small \(404\)/],
    ]) {
      hub.refuse = status;
      assert.match(await said(), words);
      hub.refuse = 0;
      hub.asked.length = 0;
      hub.faults = [{ status, always: true }];
      assert.match(await said(), words);
      assert.equal(hub.asked.length, 1, "tried once");
    }
    hub.asked.length = 0;
    hub.faults = [{ status: 429, headers: { "retry-after": "1" } }, { status: 503 }];
    const begun = Date.now();
    assert.equal(await said(), "here");
    assert.ok(Date.now() - begun >= 1000, "the server's wish to wait is heard");
    assert.equal(hub.asked.length, 3);
    await page.evaluate(() => ask("forget", { names: ["small"] }));
    hub.asked.length = 0;
    hub.faults = [{ status: 503, always: true }];
    assert.match(await said(), /the hub is in trouble \(503\); try again later; what has arrived is kept/);
    assert.equal(hub.asked.length, 5);
    await assert.rejects(
      said("nonsense").then((text) => Promise.reject(new Error(text))),
      /there is no model “nonsense”/,
    );
  },
  { allow: [/\b(401|403|404|429|503)\b/] },
);

withStore(
  "no room: said before, and in the middle, where the part is kept",
  async (page, { context }) => {
    const session = await context.newCDPSession(page);
    const origin = server.origin;
    const used = () => page.evaluate(async () => (await navigator.storage.estimate()).usage);
    // Chromium tells pages a round number instead of what it enforces; other browsers, and a full disk, tell less.
    const told = async (estimate) => {
      // The page has an engine too, and which of the two workers comes first is chance; once ours has answered, both are there.
      await page.evaluate(() => ask("store"));
      for (const worker of page.workers())
        await worker.evaluate((estimate) => {
          if (estimate) navigator.storage.estimate = async () => estimate;
          else delete navigator.storage.estimate;
        }, estimate);
    };
    await told({ quota: 25e6, usage: 5e6 });
    assert.equal(
      await page.evaluate(() => download("big")),
      "73.4 MB are needed, and the browser has 20.0 MB left for this page; make room on the disk, or choose files of your own",
    );
    assert.equal(hub.asked.length, 0);
    await told(null);
    hub.faults = [{ pace: 40, always: true }];
    const running = page.evaluate(() => download("big"));
    await page.evaluate(() => until(4e6));
    // Another page filled the disk.
    await session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: (await used()) + (1 << 20) });
    assert.match(await running, /the browser's storage is full: \d+\.\d MB more are needed.*what has arrived is kept/);
    const { part } = await page.evaluate(() => look("big"));
    assert.ok(part.bytes >= 4e6, `${part.bytes}`);
    await session.send("Storage.overrideQuotaForOrigin", { origin });
    hub.faults = [];
    hub.asked.length = 0;
    assert.deepEqual(await page.evaluate(async () => [await download("big"), (await look("big")).sha256]), [
      "here",
      sha256(big),
    ]);
    assert.equal(hub.asked[0].start, part.bytes);
  },
  { onDisk: true },
);

withStore("two tabs: one downloads, the other waits and finds it done", async (page, { tab }) => {
  const other = await tab();
  hub.faults = [{ pace: 20, always: true }];
  const first = page.evaluate(() => download("big"));
  await page.evaluate(() => until(1e6));
  const second = other.evaluate(async () => [await download("big"), heard.map(({ state }) => state)]);
  await other.waitForFunction(() => globalThis.heard.some(({ state }) => state === "waiting"));
  await assert.rejects(
    other.evaluate(() => ask("forget", { names: ["big"] })),
    /another tab is downloading|paused/,
  );
  assert.equal(await first, "here");
  // Its own wish to forget ended its own waiting.
  assert.equal((await second)[0], "paused");
  assert.equal(await other.evaluate(() => download("big")), "here");
  assert.equal(hub.asked.length, 3);
});

withStore("a pause keeps what has arrived, forgetting frees it, and the engine works on meanwhile", async (page) => {
  hub.faults = [{ pace: 60, always: true }];
  const found = await page.evaluate(async () => {
    const running = download("big");
    await until(1e6);
    const before = (await navigator.storage.estimate()).usage;
    await choose({ device: "cpu" });
    const { width } = await enlarge("fixtures/recipe/input.png", {});
    const done = await Promise.race([running, "still running"]);
    await ask("pause", { names: ["big"] });
    const message = await running;
    const { part } = await look("big");
    await ask("forget", { names: ["big"] });
    return { before, width, done, message, part, after: await look("big") };
  });
  assert.deepEqual([found.width, found.done, found.message], [192, "still running", "paused"]);
  assert.ok(found.part.bytes >= 1e6);
  assert.equal(found.after.part, null);
});

withStore(
  "the page's policy binds its worker: nothing else is connected to",
  async (page) => {
    const stranger = await serve({ "/": fixtures });
    try {
      const worker = page.workers()[0];
      const outcome = await worker.evaluate(
        (url) =>
          fetch(url, { mode: "no-cors" }).then(
            () => "connected",
            (error) => error.name,
          ),
        `${stranger.origin}/README.md`,
      );
      assert.equal(outcome, "TypeError");
    } finally {
      stranger.close();
    }
  },
  { allow: [/Content Security Policy/, /^failed: http/] },
);
