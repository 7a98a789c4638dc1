// A run from the page's side: models, plan, pixels out, result back.
import { EngineStopped } from "./engine.js";
import { Progress } from "./progress.js";
import { STARTER, isFile, redrawing } from "./redrawing.js";
import { bytes } from "./text.js";

const PLACES = { gpu: "the GPU", cpu: "the processor" };
const REDRAWING = { [STARTER]: "the starter set", files: "Stable Diffusion" };
/** What the engine says of a run that the user ended. */
export const CANCELLED = "cancelled";

const now = () => performance.now() / 1000;

/**
 * Tells by `progress` (detail: `{ progress, event }`), `warning`, `models` (detail: a sentence), `problem`, and by
 * `again` (detail: what the engine died of) that another engine goes on where one died.
 */
export class Job extends EventTarget {
  #engine;
  #state;
  #progress = null;
  #loaded = null;
  #failed = false;
  /** Whether models are being loaded. */
  loading = false;
  /** Whether the starter set is chosen and not loaded for want of a picture: who only looks at the page need not fetch it. */
  waiting = false;
  #cancelled = false;
  /** Whether the engine has begun the run: what it died of before that, it would die of again. */
  #given = false;
  /** Resolved when an engine that was started anew is ready, with the models loaded. */
  ready = Promise.resolve();
  /** Whether the models redraw, or only enlarge. */
  diffusion = false;
  /** The seed of the last run. */
  seed = -1;
  /** The settings of the run that goes on, or of the last. */
  settings = {};

  constructor(engine, state) {
    super();
    this.#engine = engine;
    this.#state = state;
    engine.addEventListener("event", ({ detail }) => this.#heard(detail));
  }

  /** Whether no files are chosen to redraw with. */
  get builtInOnly() {
    const { checkpoint, controlnet } = this.#state.models;
    return !isFile(checkpoint) && !controlnet && !this.#more;
  }

  /** Whether there is what only changes how Stable Diffusion redraws. */
  get #more() {
    const { vae, loras, embeddings } = this.#state.models;
    return Boolean(vae) || loras.length > 0 || embeddings.length > 0;
  }

  /** What the user has to choose still, in a sentence, or nothing. */
  missing() {
    const { checkpoint, controlnet } = this.#state.models;
    const by = redrawing(this.#state.models);
    if (by === STARTER && (controlnet || this.#more))
      return "What you chose is made for Stable Diffusion 1.5 and left out with the starter set: choose a checkpoint too, see Models.";
    if (by) return "";
    if (checkpoint)
      return "Redrawing also needs the Tile ControlNet: see Models. Without it the picture is only enlarged.";
    if (controlnet) return "Redrawing also needs a checkpoint: see Models. Without it the picture is only enlarged.";
    if (this.#more) return "What you chose is used with a checkpoint and the Tile ControlNet: see Models.";
    return "";
  }

  /** Whether the models that are chosen could not be loaded. */
  get unloaded() {
    return this.#failed;
  }

  /** Have the chosen models loaded; what is loaded already stays. */
  load() {
    this.#loaded = this.#load();
    // Whoever runs hears of the failure again; here the user is told at once.
    return this.#loaded.catch((error) => {
      if (error.message !== CANCELLED) this.#say("problem", error);
    });
  }

  async #load() {
    const { models, picture } = this.#state;
    const by = redrawing(models);
    this.waiting = by === STARTER && !picture;
    const { waiting } = this;
    const alone = { checkpoint: waiting ? null : by, controlnet: null, vae: null, loras: [], embeddings: [] };
    this.#say("models", "Loading …");
    this.loading = true;
    try {
      const answer = await this.#engine.ask("models", by === "files" ? models : { ...models, ...alone });
      this.#failed = false;
      this.diffusion = answer.diffusion;
      const also = answer.diffusion || waiting ? `, redrawing with ${REDRAWING[by]}` : "";
      const when = waiting ? " as soon as there is a picture" : "";
      this.#say("models", `Enlarging with ${answer.upscaler}${also}${when}. Computing on ${PLACES[models.device]}.`);
    } catch (error) {
      this.#failed = true;
      this.diffusion = false;
      this.#say("models", error.message === CANCELLED ? "Loading was cancelled." : "The models could not be loaded.");
      throw error;
    } finally {
      this.loading = false;
    }
  }

  /** The engine's plan and its `text`; the models need not be loaded. */
  plan() {
    const { picture, settings, region, models } = this.#state;
    return this.#engine.ask("plan", { width: picture.width, height: picture.height, settings, region, models });
  }

  /**
   * Run on the state's picture: `{ width, height, seed, seconds }`; the result stays with the worker. With `resume` the
   * run goes on that an earlier visit left, of the same picture and settings.
   */
  async run({ resume = false } = {}) {
    this.#cancelled = false;
    this.#given = false;
    this.settings = { ...this.#state.settings };
    const awake = stayAwake();
    try {
      for (let reached = -1; ;) {
        this.#progress = new Progress(null, now());
        try {
          return await this.#attempt(resume);
        } catch (error) {
          const { share } = this.#progress;
          // Where it died twice it would die again.
          const hopeless = !(error instanceof EngineStopped) || this.#cancelled || !this.#given || share <= reached;
          if (hopeless) throw error;
          reached = share;
          await this.ready;
          // A browser may forbid files, as in private windows; then it begins anew.
          resume = Boolean(await this.unfinished());
          this.#say("again", { reason: error.message, resume });
        }
      }
    } finally {
      this.#progress = null;
      awake.then((lock) => lock?.release());
    }
  }

  /** The run that the engine could go on with, as it describes it, or null. */
  unfinished() {
    return this.#engine.ask("unfinished");
  }

  async #attempt(resume) {
    const { picture, settings, region, tilePrompts, noise } = this.#state;
    // A failure before may have been for want of something that is there now.
    await this.#loaded?.catch(() => {});
    this.#goOn();
    if (this.#failed || this.waiting) await (this.#loaded = this.#load());
    const plan = await this.plan();
    if (!resume) await this.#give(picture);
    this.#goOn();
    this.#progress = new Progress(plan, now());
    this.#given = true;
    const { width, height, file } = picture;
    const job = { width, height, file, settings, seed: settings.seed, region, noise, tilePrompts };
    const done = await (resume ? this.#engine.ask("resume") : this.#engine.ask("upscale", job));
    this.seed = done.seed;
    return done;
  }

  /** The picture to the engine, a part at a time: there may be no room for all of it. */
  async #give(picture) {
    await this.#engine.ask("picture", { width: picture.width, height: picture.height });
    for await (const band of picture.bands()) {
      this.#goOn();
      await this.#engine.ask("band", band, [band.pixels]);
    }
  }

  /** Stop soon; `run` fails with "cancelled". */
  cancel() {
    this.#cancelled = true;
    this.#engine.askNow("cancel").catch(() => {});
  }

  /** The engine hears of a cancel only while it works; before that, this does. */
  #goOn() {
    if (this.#cancelled) throw new Error(CANCELLED);
  }

  #heard(event) {
    if (event.event === "download" || event.event === "check") return;
    if (event.event === "warning") {
      this.#say("warning", event.message);
      return;
    }
    if (!this.#progress) {
      if (event.event === "load")
        this.#say("models", `Loading ${event.network}: ${bytes(event.bytes)} of ${bytes(event.total)}`);
      return;
    }
    this.#progress.event(event, now());
    this.#say("progress", { progress: this.#progress, event });
  }

  #say(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** A screen that goes dark takes the GPU along on many machines. Nothing depends on it. */
const stayAwake = async () => {
  try {
    return await navigator.wakeLock?.request("screen");
  } catch {
    return null;
  }
};
