// The worker: owns the engine (crates/wasm), the GPU and the origin's own files. README.md beside this says what it takes and answers.
import init, * as engine from "../clarifier-wasm.js";
import { described } from "./lib/kept.js";
import { STARTER, redrawing } from "./lib/redrawing.js";
import { EngineFolder } from "./worker/folder.js";
import { KeptFiles } from "./worker/kept.js";
import { StarterSet } from "./worker/starter.js";
import { storeCommands } from "./worker/store.js";

const ready = init();
const own = new EngineFolder(engine);
const kept = new KeptFiles(own);
const starter = new StarterSet((event) => self.postMessage({ event }));
/** The choice of models that is loaded, or was to be. */
let chosen = null;

/** What the engine tells while it works; previews come with their pixels. */
function tell(json, pixels) {
  const event = JSON.parse(json);
  if (event.event === "step" && event.preview) event.preview.pixels = pixels;
  else if (pixels) event.pixels = pixels;
  self.postMessage({ event }, pixels ? [pixels.buffer] : []);
}

/** What tells a file from others although each message brings a new object for it. */
const identity = ({ name, size, lastModified }) => JSON.stringify([name, size, lastModified]);

const requestDevice = self.GPUAdapter?.prototype.requestDevice;

/** Resolves when a GPU is lost and the page has been told; null before there is one. */
let lost = null;
/** How long after the engine's own complaint a browser may say that the GPU is lost. */
const LOST_MS = 500;

/** A GPU that is lost takes along all that is on it, and whoever waits for it waits for ever: the page is told. */
function watchDevices() {
  if (!requestDevice) return;
  GPUAdapter.prototype.requestDevice = async function (...how) {
    const device = await requestDevice.apply(this, how);
    lost = device.lost.then(({ message }) => {
      const reason = message ? `the GPU was lost: ${message}` : "the GPU was lost";
      self.postMessage({ event: { event: "lost", message: reason } });
    });
    return device;
  };
}
watchDevices();

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
    // Unwatched: this one is only tried.
    (await requestDevice.call(found)).destroy();
  } catch {
    return { ...described, ok: false, cause: "no-device" };
  }
  return described;
}

async function models({ upscaler, checkpoint, controlnet, vae, loras = [], embeddings = [], device }) {
  chosen = { upscaler, checkpoint, controlnet, vae, loras, embeddings, device };
  const files = [];
  const number = (file) => (file instanceof Blob ? files.push(file) - 1 : (file ?? null));
  const choice = {
    upscaler: number(upscaler),
    checkpoint: number(checkpoint === STARTER ? await starter.file() : checkpoint),
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
  const by = models && redrawing(models);
  const intended = models && {
    upscaler: name(models.upscaler),
    diffusion: by !== null,
    starter: by === STARTER,
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

async function upscale({ pixels, noise, file, ...wanted }) {
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
  const about = await keepable(wanted, file, noise);
  return timed(() => engine.upscale(JSON.stringify(wanted), about, noise ?? undefined, tell));
}

async function timed(run) {
  const begun = performance.now();
  let done;
  try {
    done = JSON.parse(await run());
  } catch (error) {
    if (error.message === "cancelled") await kept.forget();
    throw error;
  }
  await kept.forget();
  return { ...done, seconds: (performance.now() - begun) / 1000 };
}

/** What is to be kept with a run beside its journal, as JSON, once the user's files are; nothing where it cannot be. */
async function keepable(wanted, file, noise) {
  if (!file || own.missing !== null) return undefined;
  try {
    const { kept: bytes } = await plan(wanted);
    if (!(await kept.hasRoom(bytes + file.size + (noise?.size ?? 0)))) throw new Error("there is too little room");
    await kept.keep({ picture: file, noise });
  } catch (error) {
    const message = `if this run is interrupted it begins anew: it cannot be kept in this browser (${error.message})`;
    self.postMessage({ event: { event: "warning", message } });
    return undefined;
  }
  return JSON.stringify({ name: file.name, type: file.type, models: described(chosen) });
}

/** What an interrupted run left, or null. */
async function unfinished() {
  await own.ready();
  const left = engine.unfinished();
  if (!left) return null;
  const { wanted, about, at, width, height } = JSON.parse(left);
  const { picture, noise } = await kept.files();
  if (!picture) return null;
  const { settings, region, tilePrompts, seed } = wanted;
  const file = new File([picture], about.name, { type: about.type });
  return {
    name: about.name,
    file,
    noise,
    settings,
    region,
    tilePrompts,
    seed,
    models: about.models,
    at,
    width,
    height,
  };
}

async function resume() {
  await own.ready();
  const { noise } = await kept.files();
  return timed(() => engine.resume(noise ?? undefined, tell));
}

async function discard() {
  engine.discard();
  await kept.forget();
}

/** Every kernel on a device against what it has to give; what is found is told by events. */
async function check({ device, quick, kernel = null, fault = null }) {
  const about = device === "cpu" ? {} : (lastAdapter ?? (await adapter()));
  const { name, software } = about;
  await engine.check(JSON.stringify({ device, quick, kernel, fault, name, software }), tell);
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
  resume,
  unfinished,
  discard,
  check,
  report: (heard) => JSON.parse(engine.report(JSON.stringify(heard))),
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
    // What fails because the GPU is lost is told as that, whichever is noticed first.
    if (lost) await Promise.race([lost, new Promise((resolve) => setTimeout(resolve, LOST_MS))]);
    self.postMessage({ id, error: error?.message ?? String(error), report: error?.report ?? null });
  }
}

/** The engine does one thing at a time. */
let queue = Promise.resolve();

// Registered before anything is awaited, so that no early message is lost.
self.addEventListener("message", ({ data }) => {
  if (data.name === "live") {
    // For as long as this worker lives.
    navigator.locks.request(data.args[0], () => {
      self.postMessage({ id: data.id, value: null });
      return new Promise(() => {});
    });
    return;
  }
  if (data.name === "cancel") {
    ready.then(() => engine.cancel());
    starter.cancel();
    self.postMessage({ id: data.id, value: null });
    return;
  }
  if (Object.hasOwn(beside, data.name)) answer(data);
  else queue = queue.then(() => answer(data));
});
