// What is too large for every run of the tests: `node tests/web/large.mjs [picture] [models FOLDER]`, with the page in dist/ (or $DIST).
//
// picture: 10 000² to 20 000² and into a file, 2.4 GB of working copies in OPFS.
// models FOLDER: SD 1.5's true sizes, from files that `browser-models --full FOLDER` wrote, onto the GPU.
// Each prints what it took, and fails past its bound.
import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { launchOnDisk, visit } from "./browser.mjs";
import { startEngine } from "./engine.mjs";
import { root } from "./native.mjs";
import { serve } from "./server.mjs";

const MB = 1 << 20;

/**
 * In the page with an engine: a picture of `side`², made band by band, by Lanczos to twice that, saved as PNG into a file;
 * what it took, and how far pixels of the result are from the formula that the picture was made by.
 */
export const enlargeInBands = (page, side) =>
  page.evaluate(async (side) => {
    const begun = performance.now();
    const seconds = () => Math.round((performance.now() - begun) / 100) / 10;
    // Slow waves: resampled, they are still themselves.
    const level = (x, y, channel) => 128 + 60 * Math.sin(x / (31 + channel)) + 60 * Math.cos(y / (47 - channel));
    await choose({ upscaler: "lanczos", device: "cpu" });
    await ask("picture", { width: side, height: side });
    const rows = 500;
    for (let y = 0; y < side; y += rows) {
      const [width, height] = [side, Math.min(rows, side - y)];
      const pixels = new Uint8ClampedArray(4 * width * height).fill(255);
      for (let channel = 0; channel < 3; channel += 1) {
        const across = Float64Array.from({ length: width }, (_, x) => level(x, 0, channel) - level(0, 0, channel));
        for (let row = 0; row < height; row += 1) {
          const down = level(0, y + row, channel);
          for (let x = 0; x < width; x += 1) pixels[4 * (row * width + x) + channel] = across[x] + down;
        }
      }
      await ask("band", { x: 0, y, width, height, pixels: pixels.buffer });
    }
    const given = seconds();
    const settings = { upscale_factor: 2 };
    const done = await ask("upscale", { width: side, height: side, settings, seed: 7, region: null, noise: null });
    const enlarged = seconds();
    const during = await ask("memory");
    let worst = 0;
    for (const [x, y] of [
      [0.1, 0.2],
      [0.5, 0.5],
      [0.9, 0.95],
    ].map((at) => at.map((part) => Math.round(part * 2 * side)))) {
      const part = new Uint8Array(await ask("pixels", { x, y, width: 32, height: 32 }));
      for (let i = 0; i < 1024; i += 1) {
        const at = [(x + (i % 32) + 0.5) / 2 - 0.5, (y + Math.floor(i / 32) + 0.5) / 2 - 0.5];
        for (let c = 0; c < 3; c += 1) worst = Math.max(worst, Math.abs(part[4 * i + c] - level(...at, c)));
      }
    }
    const looked = seconds();
    const scale = 2 ** Math.ceil(Math.log2((2 * side) / 512));
    const overview = await ask("pixels", { x: 0, y: 0, width: 2 * side, height: 2 * side, scale });
    const overviewed = seconds();
    const handle = await (await navigator.storage.getDirectory()).getFileHandle("large.png", { create: true });
    const { written } = await ask("save", { format: "png", quality: 95, file: handle });
    const saved = seconds();
    const file = await handle.getFile();
    // The chunks of a PNG, one after the other; the pixels are what IDAT inflates to.
    const view = async (at, length) => new DataView(await file.slice(at, at + length).arrayBuffer());
    const inflate = new DecompressionStream("deflate");
    const writer = inflate.writable.getWriter();
    const counting = (async () => {
      let count = 0;
      for await (const chunk of inflate.readable) count += chunk.length;
      return count;
    })();
    const header = await view(16, 8);
    let last = "";
    for (let at = 8; at < file.size;) {
      const head = await view(at, 8);
      const length = head.getUint32(0);
      last = String.fromCharCode(...new Uint8Array(head.buffer, 4, 4));
      if (last === "IDAT") await writer.write(await file.slice(at + 8, at + 8 + length).arrayBuffer());
      at += 12 + length;
    }
    await writer.close();
    const inflated = await counting;
    return {
      size: [done.width, done.height],
      png: [header.getUint32(0), header.getUint32(4), last, inflated],
      written: [written, file.size],
      overview: overview.byteLength === 4 * Math.ceil((2 * side) / scale) ** 2,
      worst,
      heap: (await ask("memory")).wasm,
      names: during.names.length,
      usage: (await navigator.storage.estimate()).usage,
      seconds: { given, enlarged, looked, overviewed, saved },
    };
  }, side);

/** What `enlargeInBands` must give for `side`, with the heap under `heap` bytes. */
export function assertEnlarged(found, side, heap) {
  const to = 2 * side;
  assert.deepEqual(found.size, [to, to]);
  assert.deepEqual(found.png, [to, to, "IEND", to * (1 + 3 * to)]);
  assert.equal(found.written[0], found.written[1]);
  assert.ok(found.overview, "the overview has the size asked for");
  // Levels are rounded twice.
  assert.ok(found.worst <= 1.5, `${found.worst} levels off`);
  assert.ok(found.names > 0, "working copies lie in OPFS");
  assert.ok(found.heap < heap, `the heap had ${Math.round(found.heap / MB)} MB`);
}

/** Load the full-size files in `folder`, chosen as a user does. */
async function loadModels(page, folder) {
  const files = (await readdir(folder)).filter((name) => name.endsWith(".safetensors"));
  const bytes = await Promise.all(files.map(async (name) => (await stat(join(folder, name))).size));
  await page.evaluate(() => {
    const input = Object.assign(document.createElement("input"), { type: "file", multiple: true, id: "weights" });
    document.body.append(input);
  });
  await page.locator("#weights").setInputFiles(files.map((name) => join(folder, name)));
  const found = await page.evaluate(async () => {
    const chosen = [...document.querySelector("#weights").files];
    const named = (name) => chosen.find((file) => file.name === name);
    const begun = performance.now();
    const { diffusion } = await choose({
      checkpoint: named("checkpoint.safetensors"),
      controlnet: named("controlnet.safetensors"),
      device: "gpu",
    });
    return { diffusion, seconds: (performance.now() - begun) / 1000, heap: (await ask("memory")).wasm };
  });
  return { ...found, bytes };
}

async function main([what = "picture", folder]) {
  const profile = await mkdtemp(join(tmpdir(), "clarifier-large-"));
  const server = await serve({ "/": process.env.DIST ?? join(root, "dist") });
  // A private window's files are in memory.
  const browser = await launchOnDisk(profile, { gpu: what === "models" });
  try {
    const { page, complaints } = await visit(browser, server);
    page.setDefaultTimeout(0);
    await startEngine(page);
    if (what === "models") {
      const found = await loadModels(page, folder);
      console.log(JSON.stringify(found));
      assert.ok(found.diffusion);
      assert.ok(found.heap < 600e6, `the heap had ${Math.round(found.heap / MB)} MB`);
    } else {
      const found = await enlargeInBands(page, 10_000);
      console.log(JSON.stringify(found));
      assertEnlarged(found, 10_000, 1536 * MB);
    }
    assert.deepEqual(complaints, []);
  } finally {
    await browser.close();
    server.close();
    await rm(profile, { recursive: true });
  }
}

if (process.argv[1] === import.meta.filename) await main(process.argv.slice(2));
