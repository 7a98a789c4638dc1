// A stand-in for web/worker.js that speaks its protocol and needs no engine: the tests' server gives it in the other's place.
// It enlarges by repeating pixels, slowly enough to be watched, and fails when its name in the address says so.
import { checkCommands } from "../tests/web/mock-check.js";
import { storeCommands } from "../tests/web/mock-store.js";
import { described } from "./lib/kept.js";
import { STARTER, isFile, redrawing } from "./lib/redrawing.js";

const options = new URL(import.meta.url).searchParams;
const mode = options.get("mode") ?? "";
/** Milliseconds of a tile. */
const PACE = Number(options.get("pace") ?? 15);

let input = null;
let result = null;
let cancelled = false;
let models = null;
/** What the page asked, for tests to look at. */
const asked = (self.asked = []);

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const tell = (event, transfer = []) => self.postMessage({ event }, transfer);
const redraws = (these = models) => these !== null && redrawing(these) !== null;

function outputOf({ width, height, settings, region }) {
  const factor = settings.upscale_factor;
  const [, , w, h] = region ?? [0, 0, width, height];
  return { width: Math.round(w * factor), height: Math.round(h * factor) };
}

/** Where tiles begin along an axis, as crates/tile has it. */
function starts(length, tile, overlap) {
  if (length <= tile) return [0];
  const count = Math.ceil((length - tile) / (tile - overlap)) + 1;
  const stride = tile - Math.floor((count * tile - length) / (count - 1));
  return Array.from({ length: count }, (_, i) => Math.min(i * stride, length - tile));
}

function planOf(job, redrawn = redraws()) {
  const { width, height } = outputOf({ ...job, region: null });
  const latents = { width: Math.ceil(width / 8), height: Math.ceil(height / 8) };
  const { tile_width: w, tile_height: h, tile_overlap: overlap } = job.settings;
  const diffusion_tiles = redrawn
    ? starts(latents.width, w, overlap).length * starts(latents.height, h, overlap).length
    : 0;
  const evaluations = redrawn
    ? Math.max(1, Math.round(job.settings.num_inference_steps * job.settings.denoise_strength))
    : 0;
  const enlarger_tiles = Math.ceil(job.width / 192) * Math.ceil(job.height / 192);
  return {
    stages: [
      {
        width,
        height,
        enlarger_tiles,
        diffusion_tiles,
        tile: [w, h],
        steps: evaluations,
        evaluations,
        operations: width * height,
      },
    ],
  };
}

const commands = {
  ...storeCommands(options.get("store") ?? "", tell, wait),
  ...checkCommands(options.get("check") ?? "", tell, async () => {
    await wait(PACE);
    if (cancelled && mode !== "deaf") throw new Error("cancelled");
  }),
  async describe() {
    await wait(Number(options.get("late") ?? 0));
    if (mode === "broken") throw new Error("the settings cannot be described");
    const answer = await fetch(new URL("../tests/web/describe.json", import.meta.url));
    return answer.json();
  },
  async adapter() {
    if (mode.startsWith("cause:")) return { ok: false, cause: mode.slice(6), name: "", software: false, f16: false };
    if (mode === "software") return { ok: true, cause: null, name: "SwiftShader", software: true, f16: false };
    return { ok: true, cause: null, name: "Mock 4000", software: false, f16: true };
  },
  async models(given) {
    models = null;
    cancelled = false;
    if (mode === "loading panics") throw new Error("memory access out of bounds");
    const set = given.checkpoint === STARTER && { name: "starter set", size: 38e6 };
    for (const file of [set, given.checkpoint, given.controlnet].filter(isFile)) {
      for (let part = 1; part <= 4; part += 1) {
        tell({ event: "load", network: file.name, bytes: (file.size * part) / 4, total: file.size });
        await wait(PACE);
        if (cancelled) throw new Error("cancelled");
      }
    }
    if (given.checkpoint?.name?.includes("sdxl"))
      throw failure(`${given.checkpoint.name} is an SDXL checkpoint; the recipe needs SD 1.5`, {
        code: "wrong_kind",
        remedies: ["other_models"],
      });
    models = given;
    const { upscaler, device } = given;
    return { upscaler: typeof upscaler === "string" ? upscaler : upscaler.name, diffusion: redraws(), device };
  },
  async plan({ models: intended, ...job }) {
    const redrawn = redraws(intended ?? models);
    const { width, height } = outputOf(job);
    if (job.settings.tile_overlap >= Math.min(job.settings.tile_width, job.settings.tile_height)) {
      throw new Error(
        `\`tile_overlap\` ${job.settings.tile_overlap} leaves nothing of a tile; make it smaller, or \`tile_width\` larger`,
      );
    }
    return {
      ...planOf(job, redrawn),
      ...tight(job),
      text: `${job.width} × ${job.height} to ${width} × ${height}${redrawn ? ", redrawn" : ""}: about 2 s, 180 MB of memory`,
    };
  },
  async picture({ width, height }) {
    input = { width, height, pixels: new Uint8ClampedArray(4 * width * height) };
  },
  async band({ x, y, width, height, pixels }) {
    const rows = new Uint8ClampedArray(pixels);
    for (let row = 0; row < height; row += 1) {
      const at = 4 * ((y + row) * input.width + x);
      input.pixels.set(rows.subarray(4 * row * width, 4 * (row + 1) * width), at);
    }
  },
  async upscale(wanted) {
    const job = { ...wanted, pixels: input.pixels.buffer };
    await keep(job);
    return run(job);
  },
  async resume() {
    const { job } = await kept();
    return run(job, true);
  },
  async unfinished() {
    const left = await kept();
    if (!left) return null;
    const { file, settings, region, tilePrompts } = left.job;
    return {
      name: file.name,
      file,
      settings,
      region,
      tilePrompts,
      noise: null,
      models: left.models,
      at: { stage: 0, stages: 1, phase: "enlarge", done: 5, total: 6 },
      ...outputOf(left.job),
    };
  },
  discard,
  /** Repeated pixels, a little brighter, so that before and after differ. */
  async pixels({ x, y, width, height, scale = 1 }) {
    if (!result) throw new Error("there is no result");
    const { job } = result;
    const [left, top, w, h] = job.region ?? [0, 0, job.width, job.height];
    const size = { width: Math.ceil(width / scale), height: Math.ceil(height / scale) };
    const rgba = new Uint8ClampedArray(size.width * size.height * 4);
    for (let row = 0; row < size.height; row += 1) {
      const sourceY = top + Math.min(h - 1, Math.floor(((y + row * scale) * h) / result.height));
      for (let column = 0; column < size.width; column += 1) {
        const sourceX = left + Math.min(w - 1, Math.floor(((x + column * scale) * w) / result.width));
        const from = (sourceY * job.width + sourceX) * 4;
        const to = (row * size.width + column) * 4;
        for (let i = 0; i < 3; i += 1) rgba[to + i] = result.pixels[from + i] * 1.12 + 6;
        rgba[to + 3] = result.pixels[from + 3];
      }
    }
    return new Transferred(rgba.buffer);
  },
  async save({ format, quality, file }) {
    if (mode === "full") throw new Error("no space left: the browser's quota is 10 MB");
    if (file) return { written: 12_345 };
    return { blob: new Blob([`${format} ${quality} ${result.width}x${result.height}`]) };
  },
  async cancel() {
    cancelled = true;
  },
};

/** What outlives this worker, in a file of the origin's own. */
const folder = () => navigator.storage.getDirectory();

async function keep({ file, settings, region, tilePrompts, width, height, pixels }) {
  const all = { settings, region, tilePrompts, width, height };
  const text = JSON.stringify({ job: all, models: described(models), name: file.name });
  for (const [name, what] of [
    ["job", text],
    ["file", file],
    ["pixels", pixels],
  ]) {
    const writable = await (await (await folder()).getFileHandle(name, { create: true })).createWritable();
    await writable.write(what);
    await writable.close();
  }
}

async function kept() {
  const read = async (name) => (await (await folder()).getFileHandle(name)).getFile();
  try {
    const { job, models, name } = JSON.parse(await (await read("job")).text());
    const file = new File([await read("file")], name, { type: "image/png" });
    return { job: { ...job, file, pixels: await (await read("pixels")).arrayBuffer() }, models };
  } catch {
    return null;
  }
}

async function discard() {
  await (await folder()).removeEntry("job").catch(() => {});
}

async function run(job, resumed = false) {
  cancelled = false;
  const { stages } = planOf(job);
  const [stage] = stages;
  if (mode === "panics") throw new Error("unreachable executed");
  const begun = performance.now();
  if (resumed) tell({ event: "resumed", stage: 1, stages: 1, phase: "enlarge", done: 1, total: stage.enlarger_tiles });
  tell({ event: "stage", stage: 1, stages: 1, width: stage.width, height: stage.height, seed: 7 });
  if (mode === "warns")
    tell({ event: "warning", message: "the picture is very small; `tile_width` 112 is more than all of it" });
  const phase = async (name, total, fail) => {
    for (let done = 1; done <= total; done += 1) {
      await wait(PACE);
      if (cancelled && mode !== "deaf") {
        await discard();
        throw new Error("cancelled");
      }
      if (done === fail)
        throw failure("the device failed (out of memory)", { code: "device", remedies: ["use_cpu", "smaller_tiles"] });
      if (done === 2 && mode === "lost" && !resumed) tell({ event: "lost", message: "the GPU was lost" });
      if (mode === "dies" && done === 2)
        setTimeout(() => {
          throw new Error("unreachable executed");
        });
      if (mode === "dies" && done === 2) await new Promise(() => {});
      tell({ event: "tile", phase: name, done, total });
      if (name === "diffuse") preview(stage, job, done);
    }
  };
  await phase("enlarge", stage.enlarger_tiles, mode === "fails" ? 2 : 0);
  if (redraws()) {
    await phase("encode", 4);
    await phase("diffuse", stage.diffusion_tiles * stage.evaluations);
    await phase("decode", 4);
  }
  result = { ...outputOf(job), job, pixels: new Uint8ClampedArray(job.pixels) };
  await discard();
  const drawn = job.settings.seed;
  return {
    width: result.width,
    height: result.height,
    seed: drawn === -1 ? 424242 : drawn,
    seconds: (performance.now() - begun) / 1000,
  };
}

/** An error of the engine's with its report. */
const failure = (message, report) => Object.assign(new Error(message), { report });

/** What a GPU that sees little at once is advised. */
function tight({ settings }) {
  if (mode !== "tight" || settings.vae_tile <= 256) return { fits: true };
  const advice = "A small GPU sees 134 MB at once, and this needs 604 MB; it fits with `vae_tile` 256";
  return { fits: false, advice, smaller: { vae_tile: 256 } };
}

/** A tile of a step as the engine tells of it: a pixel for each latent, in RGB; here the picture's, brighter. */
function preview(stage, job, done) {
  const { tile_width, tile_height, tile_overlap } = job.settings;
  const columns = starts(Math.ceil(stage.width / 8), tile_width, tile_overlap);
  const rows = starts(Math.ceil(stage.height / 8), tile_height, tile_overlap);
  const tiles = columns.length * rows.length;
  const index = (done - 1) % tiles;
  const [x, y] = [columns[index % columns.length] * 8, rows[Math.floor(index / columns.length)] * 8];
  const [width, height] = [tile_width, tile_height];
  const pixels = new Uint8ClampedArray(width * height * 3);
  const source = new Uint8ClampedArray(job.pixels);
  for (let i = 0; i < width * height; i += 1) {
    const at = (place, of, to) => Math.min(of - 1, Math.floor((place * of) / to));
    const row = at(y + 8 * Math.floor(i / width), job.height, stage.height);
    const from = row * job.width + at(x + 8 * (i % width), job.width, stage.width);
    for (let c = 0; c < 3; c += 1) pixels[i * 3 + c] = source[from * 4 + c] * 1.12 + 6;
  }
  const covers = [8 * width, 8 * height];
  const [step, steps] = [Math.floor((done - 1) / tiles) + 1, stage.evaluations];
  tell({ event: "step", step, steps, preview: { x, y, covers, width, height, pixels } });
}

/** An answer that is handed over instead of copied. */
class Transferred {
  constructor(buffer) {
    this.buffer = buffer;
  }
}

self.addEventListener("message", async ({ data: { id, name, args } }) => {
  if (name === "check") cancelled = false;
  asked.push({ name, args: JSON.parse(JSON.stringify(args, (key, value) => (key === "pixels" ? undefined : value))) });
  try {
    const value = await commands[name](...args);
    if (value instanceof Transferred) self.postMessage({ id, value: value.buffer }, [value.buffer]);
    else self.postMessage({ id, value });
  } catch (error) {
    self.postMessage({ id, error: error.message, report: error.report ?? null });
  }
});
