// The page's side of downloaded models: what there is, what is being downloaded and how fast.
import { EngineStopped } from "./engine.js";

/** Milliseconds over which the speed is measured. */
const WINDOW_MS = 8000;
/** What the worker says of a download that was stopped. */
const PAUSED = "paused";

/** Bytes a second over the last seconds, from how many there were when. */
export class Speed {
  #seen = [];

  /** `bytes` at `at` milliseconds: bytes a second, or null while nobody can say. */
  add(bytes, at) {
    const last = this.#seen.at(-1);
    if (last && bytes < last.bytes) this.#seen = [];
    this.#seen.push({ bytes, at });
    while (this.#seen.length > 2 && at - this.#seen[0].at > WINDOW_MS) this.#seen.shift();
    const [first] = this.#seen;
    return at - first.at < 500 || bytes === first.bytes ? null : ((bytes - first.bytes) * 1000) / (at - first.at);
  }
}

/** Tells by `change`, and by `here` when models have arrived (detail: their names). */
export class Downloads extends EventTarget {
  #engine;
  #speed = new Speed();
  /** Whether the browser keeps files for this page; null until it is known. */
  available = null;
  models = [];
  usage = 0;
  quota = 0;
  persisted = false;
  /** What goes on: `{ names, state, name, bytes, total, speed, left }`, or null. */
  running = null;
  /** What the last download failed of, or "". */
  problem = "";

  constructor(engine) {
    super();
    this.#engine = engine;
    engine.addEventListener("event", ({ detail }) => detail.event === "download" && this.#heard(detail));
  }

  /** Ask the worker what there is. */
  async refresh() {
    const { available, models, usage, quota, persisted } = await this.#engine.askNow("store");
    Object.assign(this, { available, models, usage, quota, persisted });
    this.#changed();
  }

  get recommended() {
    return this.models.filter(({ recommended }) => recommended);
  }

  /** A stored model of this kind, the recommended one before others. */
  stored(kind) {
    const here = this.models.filter((model) => model.kind === kind && model.file);
    return here.find(({ recommended }) => recommended) ?? here[0] ?? null;
  }

  /** Have these models, after what is here of them already. */
  async download(names) {
    if (this.running) return;
    this.problem = "";
    this.#speed = new Speed();
    this.running = { names, state: "asking", name: names[0], bytes: 0, total: 0, speed: null, left: null };
    this.#changed();
    // A browser that needs room may throw away what it has not promised to keep.
    await navigator.storage?.persist?.().catch(() => false);
    let arrived = false;
    try {
      await this.#engine.askNow("download", { names });
      arrived = true;
    } catch (error) {
      // It goes on when there is an engine again.
      if (error instanceof EngineStopped) return;
      if (error.message !== PAUSED) this.problem = error.message;
    }
    this.running = null;
    await this.#look();
    if (arrived) this.dispatchEvent(new CustomEvent("here", { detail: names }));
  }

  /** The engine was started again: so is what went on. */
  async resume() {
    const { running } = this;
    this.running = null;
    await this.refresh();
    if (running) this.download(running.names);
  }

  /** Stop; what has arrived stays. */
  async pause() {
    if (this.running) await this.#engine.askNow("pause", { names: this.running.names });
  }

  /** Remove these models, and what has arrived of them. */
  async forget(names) {
    try {
      await this.#engine.askNow("forget", { names });
      this.problem = "";
    } catch (error) {
      this.problem = error.message;
    }
    await this.#look();
  }

  /** After something changed; what the worker cannot say now it says after it was started again. */
  #look() {
    return this.refresh().catch(() => this.#changed());
  }

  #heard({ state, name, bytes, total }) {
    if (!this.running) return;
    const speed = state === "receiving" ? this.#speed.add(bytes, performance.now()) : null;
    const left = speed ? (total - bytes) / speed : null;
    Object.assign(this.running, { state, name, bytes, total, speed, left });
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
