// The worker: owns the engine (crates/wasm), the GPU and the origin's own files. README.md beside this says what it takes and answers.
import init, * as engine from "../clarifier-wasm.js";
import { EngineFolder } from "./worker/folder.js";
import { storeCommands } from "./worker/store.js";

const ready = init();
const own = new EngineFolder(engine);

/** What the engine tells while it works; previews come with their pixels. */
function tell(json, pixels) {
  const event = JSON.parse(json);
  if (event.event === "step" && event.preview) event.preview.pixels = pixels;
  else if (pixels) event.pixels = pixels;
  self.postMessage({ event }, pixels ? [pixels.buffer] : []);
}

/** What tells a file from others although each message brings a new object for it. */
const identity = ({ name, size, lastModified }) => JSON.stringify([name, size, lastModified]);

/** The answer to `adapter` last time. */
let lastAdapter = null;

async function adapter() {
  lastAdapter = await describeAdapter();
  return lastAdapter;
}

async function describeAdapter() {
  const about = (adapter) => {
    const { vendor = "", architecture = "", device = "", description = "", isFallbackAdapter } = adapter.info ?? {};
    const words = [vendor, architecture, device].filter(Boolean).join(" ");
    return {
      name: description || words,
      software:
        Boolean(isFallbackAdapter ?? adapter.isFallbackAdapter) ||
        /swiftshader|llvmpipe|lavapipe|basic render/i.test(`${words} ${description}`),
      f16: adapter.features.has("shader-f16"),
      maxBuffer: adapter.limits.maxBufferSize,
      maxBinding: adapter.limits.maxStorageBufferBindingSize,
    };
  };
  const without = (cause) => ({ ok: false, cause, name: "", software: false, f16: false, maxBuffer: 0, maxBinding: 0 });
  if (!navigator.gpu) return without(self.isSecureContext ? "no-webgpu" : "insecure");
  const found = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!found) return without("no-adapter");
  const described = { ok: true, cause: null, ...about(found) };
  try {
    (await found.requestDevice()).destroy();
  } catch {
    return { ...described, ok: false, cause: "no-device" };
  }
  return described;
}

async function models({ upscaler, checkpoint, controlnet, vae, loras = [], embeddings = [], device }) {
  const files = [];
  const number = (file) => (file instanceof Blob ? files.push(file) - 1 : (file ?? null));
  const choice = {
    upscaler: number(upscaler),
    checkpoint: number(checkpoint),
    controlnet: number(controlnet),
    vae: number(vae),
    loras: loras.map(({ file, scale }) => ({ file: number(file), scale })),
    embeddings: embeddings.map(number),
    device,
  };
  const { gpu, ...loaded } = JSON.parse(await engine.models(JSON.stringify(choice), files, files.map(identity), tell));
  return { ...loaded, device: gpu ? (lastAdapter ?? (await adapter())).name || "the GPU" : "the processor" };
}

/** Of what is loaded; of `models` (as the command of that name takes them), when something else is or nothing yet. */
async function plan({ models, ...wanted }) {
  const name = (upscaler) => (typeof upscaler === "string" ? upscaler : "file");
  const intended = models && {
    upscaler: name(models.upscaler),
    diffusion: Boolean(models.checkpoint && models.controlnet),
    device: models.device,
  };
  const gpu = intended?.device === "gpu" ? (lastAdapter ?? (await adapter())) : null;
  return JSON.parse(engine.plan(JSON.stringify({ ...wanted, models: intended ?? null, adapter: gpu })));
}

/** What a run's input is; its pixels come by `band`. Those of a large one, and its working copies, lie in the engine's folder. */
async function picture({ width, height }) {
  await own.ready();
  engine.picture(width, height);
}

/** Bytes of a picture that are handed on at once. */
const BAND = 16 << 20;

async function upscale({ pixels, noise, ...wanted }) {
  const { width, height } = wanted;
  if (pixels) {
    await picture({ width, height });
    const rows = Math.max(1, Math.floor(BAND / (4 * width)));
    for (let y = 0; y < height; y += rows) {
      const count = Math.min(rows, height - y);
      // What is too short is the engine's to refuse.
      engine.band(0, y, width, count, new Uint8Array(pixels).subarray(y * width * 4, (y + count) * width * 4));
    }
  }
  await own.ready();
  const begun = performance.now();
  const done = JSON.parse(await engine.upscale(JSON.stringify(wanted), noise ?? undefined, tell));
  return { ...done, seconds: (performance.now() - begun) / 1000 };
}

const TYPES = { png: "image/png", jpg: "image/jpeg", webp: "image/webp", tif: "image/tiff" };

/** Results of earlier visits: this worker's own are still read while it lives. */
const RESULTS = "results";
let saved = 0;
let results = null;

async function folder() {
  const root = await navigator.storage.getDirectory();
  await root.removeEntry(RESULTS, { recursive: true }).catch(() => {});
  return root.getDirectoryHandle(RESULTS, { create: true });
}

/** The result in a file of the origin's own, so that it is never whole in memory; in memory where there are no such files. */
async function encoded({ format, quality = 95 }) {
  const type = TYPES[format];
  if (!type) throw new Error(`“${format}” is no format; ${Object.keys(TYPES).join(", ")} are`);
  let own = null;
  let handle = null;
  try {
    results ??= await folder();
    own = await results.getFileHandle(`${saved++}.${format}`, { create: true });
    handle = await own.createSyncAccessHandle();
  } catch {
    return new Blob([engine.save_bytes(format, quality)], { type });
  }
  try {
    engine.save_to(format, quality, handle);
    handle.flush();
  } finally {
    handle.close();
  }
  const file = await own.getFile();
  return file.slice(0, file.size, type);
}

async function save({ file, ...how }) {
  const blob = await encoded(how);
  if (!file) return { blob };
  try {
    await blob.stream().pipeTo(await file.createWritable());
  } finally {
    // It has served; a blob that was handed out is still read.
    await results?.removeEntry(`${saved - 1}.${how.format}`).catch(() => {});
  }
  return { written: blob.size };
}

/** Downloads and the engine's work go on beside each other. */
const beside = storeCommands({ ready, newHash: () => new engine.Hash(), post: (event) => self.postMessage({ event }) });

const commands = {
  ...beside,
  describe: () => JSON.parse(engine.describe()),
  adapter,
  models,
  plan,
  picture,
  band: ({ x, y, width, height, pixels }) => engine.band(x, y, width, height, new Uint8Array(pixels)),
  upscale,
  // Nothing is kept of a run yet.
  unfinished: () => null,
  discard: () => null,
  pixels: ({ x, y, width, height, scale = 1 }) => engine.pixels(x, y, width, height, scale).buffer,
  save,
  memory: async () => ({ wasm: (await ready).memory.buffer.byteLength, folder: own.missing, names: engine.names() }),
};

async function answer({ id, name, args }) {
  try {
    await ready;
    if (!Object.hasOwn(commands, name)) throw new Error(`there is no command “${name}”`);
    const value = await commands[name](...args);
    self.postMessage({ id, value }, value instanceof ArrayBuffer ? [value] : []);
  } catch (error) {
    self.postMessage({ id, error: error?.message ?? String(error) });
  }
}

/** The engine does one thing at a time. */
let queue = Promise.resolve();

// Registered before anything is awaited, so that no early message is lost.
self.addEventListener("message", ({ data }) => {
  if (data.name === "cancel") {
    ready.then(() => engine.cancel());
    self.postMessage({ id: data.id, value: null });
    return;
  }
  if (Object.hasOwn(beside, data.name)) answer(data);
  else queue = queue.then(() => answer(data));
});
