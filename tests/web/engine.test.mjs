// The engine in a real browser, through the page's worker, against the program.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { launch, visit } from "./browser.mjs";
import { startEngine } from "./engine.mjs";
import { dist, fixtures, root, workshop } from "./native.mjs";
import { serve } from "./server.mjs";

const PHOTOGRAPH = "recipe/input.png";
const MINUTES = 60_000;

let server, browser, shop;

before(async () => {
  shop = await workshop();
  // Below a folder, as on many a server.
  server = await serve({
    "/some/folder/": dist,
    "/some/folder/fixtures/": fixtures,
    "/some/folder/work/": shop.path,
    "/some/folder/tests/": join(root, "tests/web"),
  });
  browser = await launch({ gpu: true });
});

after(async () => {
  await browser?.close();
  server?.close();
  await shop?.remove();
});

/** `act` on a page with an engine of its own; the page must have nothing to complain of. */
async function withEngine(act, from = browser) {
  const { page, complaints, close } = await visit(from, server, { path: "/some/folder/" });
  try {
    await startEngine(page, { before: "tests/pipelines.js" });
    await act(page);
  } finally {
    await close();
  }
  assert.deepEqual(complaints, []);
}

test("the engine describes itself as the program does", async () => {
  await withEngine(async (page) => {
    const { version, fields, presets } = await page.evaluate(() => ask("describe"));
    assert.match(version, /^\d+\.\d+\.\d+$/);
    const factor = fields.find(({ name }) => name === "upscale_factor");
    assert.deepEqual([factor.kind, factor.default, factor.range], ["number", "2.0", [1, 16]]);
    assert.ok(presets.some(({ name, settings }) => name === "clarity" && settings.seed === 1337));
    const adapter = await page.evaluate(() => ask("adapter"));
    assert.deepEqual([adapter.ok, adapter.cause, adapter.software], [true, null, true]);
    await assert.rejects(
      page.evaluate(() => ask("nonsense")),
      /no command/,
    );
  });
});

test("lite on WebGPU gives the program's picture", { timeout: 5 * MINUTES }, async (t) => {
  const expected = await shop.enlarge(
    join(fixtures, PHOTOGRAPH),
    { name: "lite", values: {} },
    "--upscaler",
    "lite",
    "--no-diffusion",
  );
  await withEngine(async (page) => {
    const models = await page.evaluate(() => choose({ device: "gpu" }));
    assert.deepEqual([models.upscaler, models.diffusion], ["lite", false]);
    const result = await page.evaluate(
      async ([photograph, expected]) => {
        const done = await enlarge(photograph, {});
        return { ...done, blob: done.blob.size, ...(await compare(done.blob, expected)) };
      },
      [`fixtures/${PHOTOGRAPH}`, `work/${expected}`],
    );
    t.diagnostic(
      `${(100 * result.near).toFixed(3)} % within 1/255, ${result.psnr.toFixed(1)} dB, ${result.seconds.toFixed(1)} s`,
    );
    assert.deepEqual([result.width, result.height, result.seed], [192, 160, 7]);
    // Sums are taken in another order: a value in the middle between two levels may be rounded to either.
    assert.ok(result.near >= 0.999, `${result.near}`);
  });
});

test("a plan needs nothing loaded, and says what a GPU cannot see at once", async () => {
  await withEngine(async (page) => {
    const [plain, whole, custom] = await page.evaluate(async () => {
      const planned = (models, settings = {}) =>
        ask("plan", { width: 2000, height: 1500, settings, region: null, models });
      const file = new File([], "sd15.safetensors");
      const both = { upscaler: "lite", checkpoint: file, controlnet: file, device: "gpu" };
      return [
        await planned(null),
        await planned(both),
        await planned(both, { tile_width: 256, tile_height: 256, vae_tile: 2048 }),
      ];
    });
    assert.match(plain.text, /^4000 × 3000 pixels: 88 tiles enlarged; about \d/);
    assert.match(whole.text, /^4000 × 3000 pixels: 15 tiles redrawn 7 times; about \d/);
    assert.deepEqual([plain.fits, plain.smaller, whole.largest_tensor], [true, undefined, [603979776, "autoencoder"]]);
    // SwiftShader sees 1 GB at once: less than a VAE tile of 2048 pixels needs.
    assert.equal(custom.fits, false);
    assert.match(custom.advice, /sees \d+ MB at once, and this needs 4295 MB; it fits with .*`vae_tile` \d+/);
    assert.ok(custom.smaller.vae_tile < 2048 && custom.smaller.vae_tile >= 128, JSON.stringify(custom.smaller));
  });
});

/** Loads the tiny networks as files that the user chose. */
const chooseTiny = (page, device) =>
  page.evaluate(async (device) => {
    const [checkpoint, controlnet] = [
      await file("work/checkpoint.safetensors"),
      await file("work/controlnet.safetensors"),
    ];
    return choose({ checkpoint, controlnet, device });
  }, device);

const tiny = (path) => [
  "--upscaler",
  "lite",
  "--checkpoint",
  join(path, "checkpoint.safetensors"),
  "--controlnet",
  join(path, "controlnet.safetensors"),
];

test(
  "the whole recipe on the processor gives the program's picture, from files and noise of the user's",
  { timeout: 5 * MINUTES },
  async (t) => {
    const settings = { tile_width: 16, tile_height: 16, tile_overlap: 4, num_inference_steps: 6 };
    const noise = ["--noise", join(fixtures, "recipe/noise.safetensors")];
    const expected = await shop.enlarge(
      join(fixtures, PHOTOGRAPH),
      { name: "recipe", values: settings },
      ...tiny(shop.path),
      ...noise,
    );
    await withEngine(async (page) => {
      assert.equal((await chooseTiny(page, "cpu")).diffusion, true);
      const result = await page.evaluate(
        async ([photograph, settings, expected]) => {
          const loaded = heard.length;
          const again = await choose({
            checkpoint: await file("work/checkpoint.safetensors"),
            controlnet: await file("work/controlnet.safetensors"),
            device: "cpu",
          });
          const loadedAgain = heard.length - loaded;
          const noise = await file("fixtures/recipe/noise.safetensors");
          const done = await enlarge(photograph, { settings, noise });
          const phases = [...new Set(heard.filter(({ event }) => event === "tile").map(({ phase }) => phase))];
          const steps = heard
            .filter(({ event }) => event === "step")
            .map(({ step, steps, preview: { x, y, covers, width, height, pixels } }) => {
              const shades = new Set(pixels).size;
              return { at: [step, steps], place: [x, y, ...covers], size: [width, height, pixels.length], shades };
            });
          const parts = heard
            .filter(({ event }) => event === "part")
            .map(({ x, y, covers, width, height, pixels }) => [x, y, ...covers, width, height, pixels.length]);
          const plan = await ask("plan", { width: 96, height: 80, settings, region: null });
          return {
            ...done,
            blob: null,
            again,
            loadedAgain,
            phases,
            steps,
            parts,
            plan,
            ...(await compare(done.blob, expected)),
          };
        },
        [`fixtures/${PHOTOGRAPH}`, settings, `work/${expected}`],
      );
      t.diagnostic(`${result.psnr.toFixed(1)} dB, ${result.seconds.toFixed(1)} s`);
      assert.ok(result.psnr >= 45, `${result.psnr} dB`);
      assert.deepEqual(result.phases, ["enlarge", "encode", "diffuse", "decode"]);
      assert.equal(result.loadedAgain, 0, "what is loaded stays");
      // What the enlarger and the autoencoder make, each in one tile.
      const whole = [0, 0, 192, 160, 192, 160, 3 * 192 * 160];
      assert.deepEqual(result.parts, [whole, whole]);
      // After each tile its own, and the whole when all are done: a pixel for each latent.
      const tile = (x, y) => [
        [x, y, 128, 128],
        [16, 16, 768],
      ];
      const one = [
        tile(0, 0),
        tile(64, 0),
        tile(0, 32),
        tile(64, 32),
        [
          [0, 0, 192, 160],
          [24, 20, 1440],
        ],
      ];
      assert.deepEqual(
        result.steps.map(({ at, place, size }) => [at, place, size]),
        [1, 2, 3].flatMap((step) => one.map((shown) => [[step, 3], ...shown])),
      );
      assert.ok(
        result.steps.every(({ shades }) => shades > 8),
        JSON.stringify(result.steps.map(({ shades }) => shades)),
      );
      assert.deepEqual([result.plan.stages[0].diffusion_tiles, result.plan.stages[0].work.length], [4, 4]);
      assert.match(result.plan.text, /192 × 160 pixels: 4 tiles redrawn 3 times/);
    });
  },
);

test(
  "the whole recipe on WebGPU gives the program's picture, and a cancelled run leaves the weights",
  { timeout: 9 * MINUTES },
  async (t) => {
    // Two tiles, one step: a software GPU takes its time.
    const settings = {
      upscale_factor: 1,
      tile_width: 8,
      tile_height: 10,
      tile_overlap: 4,
      num_inference_steps: 2,
      denoise_strength: 0.5,
    };
    const expected = await shop.enlarge(
      join(fixtures, PHOTOGRAPH),
      { name: "gpu", values: settings },
      ...tiny(shop.path),
    );
    await withEngine(async (page) => {
      assert.equal((await chooseTiny(page, "gpu")).diffusion, true);
      const wanted = { settings };
      const first = await page.evaluate(
        async ([photograph, wanted, expected]) => {
          const done = await enlarge(photograph, wanted);
          return { ...done, blob: null, ...(await compare(done.blob, expected)) };
        },
        [`fixtures/${PHOTOGRAPH}`, wanted, `work/${expected}`],
      );
      t.diagnostic(`${first.psnr.toFixed(1)} dB, ${first.seconds.toFixed(1)} s`);
      assert.ok(first.psnr >= 45, `${first.psnr} dB`);
      // Not the first run: there the browser is busy with compiling.
      const cancelled = await page.evaluate(
        async ([photograph, wanted]) => {
          const at = heard.length;
          const running = enlarge(photograph, wanted).then(
            () => "done",
            (error) => error.message,
          );
          while (!heard.slice(at).some(({ phase }) => phase === "diffuse"))
            await new Promise((go) => setTimeout(go, 10));
          const begun = performance.now();
          ask("cancel");
          return { message: await running, seconds: (performance.now() - begun) / 1000 };
        },
        [`fixtures/${PHOTOGRAPH}`, wanted],
      );
      t.diagnostic(`cancelled after ${cancelled.seconds.toFixed(2)} s`);
      assert.equal(cancelled.message, "cancelled");
      assert.ok(cancelled.seconds < 1, `${cancelled.seconds} s`);
      const again = await page.evaluate(
        async ([photograph, wanted, expected]) => {
          const at = heard.length;
          const done = await enlarge(photograph, wanted);
          const events = [...new Set(heard.slice(at).map(({ event }) => event))];
          return { events, ...(await compare(done.blob, expected)) };
        },
        [`fixtures/${PHOTOGRAPH}`, wanted, `work/${expected}`],
      );
      assert.deepEqual(
        [again.events.includes("tile"), again.events.includes("load")],
        [true, false],
        "no weights were loaded again",
      );
      assert.equal(again.psnr, first.psnr);
      const compiled = await page.evaluate(() =>
        heard.filter(({ event }) => event === "pipeline").map(({ source }) => source),
      );
      t.diagnostic(`${compiled.length} shaders`);
      assert.ok(compiled.length > 20, "they are seen");
      assert.equal(new Set(compiled).size, compiled.length, "none is compiled twice");
    });
  },
);

test(
  "a result is saved in every format, read in parts, and no file is taken for another",
  { timeout: 3 * MINUTES },
  async () => {
    await withEngine(async (page) => {
      const found = await page.evaluate(async (photograph) => {
        await choose({ device: "cpu" });
        const before = await ask("pixels", { x: 0, y: 0, width: 1, height: 1 }).catch((error) => error.message);
        await enlarge(photograph, {});
        const whole = await createImageBitmap((await ask("save", { format: "png", quality: 95, file: null })).blob);
        const context = new OffscreenCanvas(whole.width, whole.height).getContext("2d");
        context.drawImage(whole, 0, 0);
        const expected = context.getImageData(100, 50, 30, 20).data;
        const part = new Uint8Array(await ask("pixels", { x: 100, y: 50, width: 30, height: 20 }));
        const starts = {};
        for (const format of ["png", "jpg", "webp", "tif"]) {
          const { blob } = await ask("save", { format, quality: 90, file: null });
          starts[format] = [blob.type, String.fromCharCode(...new Uint8Array(await blob.slice(0, 4).arrayBuffer()))];
        }
        // A file of the user's own, written through its handle.
        const handle = await (await navigator.storage.getDirectory()).getFileHandle("chosen.png", { create: true });
        const { written } = await ask("save", { format: "png", quality: 95, file: handle });
        // A pixel of an overview is the mean of those that it stands for, at the borders of fewer.
        const far = new Uint8Array(await ask("pixels", { x: 100, y: 50, width: 30, height: 20, scale: 7 }));
        let off = far.length === 4 * 5 * 3 ? 0 : 999;
        for (let i = 0; i < far.length; i += 1) {
          const [left, top] = [7 * (Math.floor(i / 4) % 5), 7 * Math.floor(i / 20)];
          let [sum, count] = [0, 0];
          for (let y = top; y < Math.min(top + 7, 20); y += 1)
            for (let x = left; x < Math.min(left + 7, 30); x += 1, count += 1) sum += part[4 * (30 * y + x) + (i % 4)];
          off = Math.max(off, Math.abs(far[i] - sum / count));
        }
        const outside = await ask("pixels", { x: 190, y: 0, width: 3, height: 1 }).catch((error) => error.message);
        const wrong = await file("fixtures/esrgan/sdxl.safetensors");
        const refused = await choose({ checkpoint: wrong, controlnet: wrong, device: "cpu" }).catch(
          (error) => error.message,
        );
        const pickle = await choose({ upscaler: await file("fixtures/esrgan/srvgg.pth"), device: "cpu" }).catch(
          (error) => error.message,
        );
        const range = await choose({ device: "cpu" })
          .then(() => ask("plan", { width: 9, height: 9, settings: { upscale_factor: 99 }, region: null }))
          .catch((error) => error.message);
        const equal = part.length === expected.length && part.every((value, i) => value === expected[i]);
        return {
          before,
          equal,
          off,
          starts,
          written: [written, (await handle.getFile()).size],
          outside,
          refused,
          pickle,
          range,
        };
      }, `fixtures/${PHOTOGRAPH}`);
      assert.match(found.before, /no result yet/);
      assert.ok(found.equal, "a part is that of the whole");
      assert.ok(found.off <= 0.5, `${found.off} levels beside the mean`);
      assert.deepEqual(found.starts, {
        png: ["image/png", "\x89PNG"],
        jpg: ["image/jpeg", "\xff\xd8\xff\xe0"],
        webp: ["image/webp", "RIFF"],
        tif: ["image/tiff", "II*\0"],
      });
      assert.ok(found.written[0] > 1000 && found.written[0] === found.written[1], `${found.written}`);
      assert.match(found.outside, /not inside the result, which is 192 × 160/);
      assert.match(found.refused, /sdxl\.safetensors: this is an SDXL checkpoint/);
      assert.match(found.pickle, /srvgg\.pth: no \.safetensors file/);
      assert.match(found.range, /`upscale_factor` 99/);
    });
  },
);

test("without WebGPU the cause is said, and lite works on the processor", { timeout: 3 * MINUTES }, async () => {
  const without = await launch();
  try {
    await withEngine(async (page) => {
      const adapter = await page.evaluate(() => ask("adapter"));
      assert.equal(adapter.ok, false);
      assert.ok(["no-adapter", "no-webgpu"].includes(adapter.cause), adapter.cause);
      await assert.rejects(
        page.evaluate(() => choose({ device: "gpu" })),
        /no adapter|could not be started/,
      );
      const done = await page.evaluate(async (photograph) => {
        await choose({ device: "cpu" });
        return { ...(await enlarge(photograph, {})), blob: null };
      }, `fixtures/${PHOTOGRAPH}`);
      assert.deepEqual([done.width, done.height], [192, 160]);
    }, without);
  } finally {
    await without.close();
  }
});

test("what is downloaded is small", async (t) => {
  // As servers have it: Node's own zlib is one that is fast and packs a hundredth less.
  const packed = { encoding: "buffer", maxBuffer: 1e8 };
  const { stdout: engine } = await promisify(execFile)(
    "gzip",
    ["-9", "-c", join(dist, "clarifier-wasm_bg.wasm")],
    packed,
  );
  t.diagnostic(`the engine is ${(engine.length / 1e6).toFixed(2)} MB gzipped`);
  assert.ok(engine.length < 5e6, `${engine.length} bytes`);
});
