// What the user has chosen: one plain object of settings, kept in the browser; the picture, the models and the region.
import { REDRAWING, STARTER } from "./redrawing.js";
import { changed, defaults, salvage } from "./settings.js";

const KEY = "clarifier.settings";
/** Under `redrawing` there, where the user chose against the starter set. */
const OFF = "off";

/** Tells of changes by the events `settings`, `picture`, `region` and `models`. */
export class State extends EventTarget {
  #storage;
  /** The engine's description; empty until it is there. */
  fields = [];
  presets = [];
  settings = {};
  /** Prompts for places; not a setting of the engine's, but kept like one. */
  tilePrompts = "";
  /** A file of noise, for comparing. */
  noise = null;
  picture = null;
  /** `[x, y, width, height]` in pixels of the picture, or null for all of it. */
  region = null;
  models = {
    upscaler: "lite",
    checkpoint: null,
    controlnet: null,
    vae: null,
    loras: [],
    embeddings: [],
    device: "gpu",
  };
  /** What redraws where the user's own files do not: the starter set, or nothing (null). */
  redrawing = REDRAWING;

  constructor(storage = safeStorage()) {
    super();
    this.#storage = storage;
    const { redrawing } = this.#read();
    if (redrawing === STARTER) this.redrawing = STARTER;
    if (redrawing === OFF) this.redrawing = null;
    this.models.checkpoint = this.redrawing;
  }

  /** Take the engine's description, and what was kept of its settings. */
  describe({ fields, presets }) {
    this.fields = fields;
    this.presets = presets;
    const kept = this.#read();
    this.tilePrompts = typeof kept.tilePrompts === "string" ? kept.tilePrompts : "";
    this.settings = { ...defaults(fields), ...salvage(fields, kept.settings ?? {}) };
    this.#tell("settings");
  }

  /** Change some settings; their values are of the right kind. */
  set(values) {
    this.settings = { ...this.settings, ...values };
    this.#keep();
    this.#tell("settings");
  }

  reset() {
    this.set(defaults(this.fields));
  }

  /** Take the settings, the region and the prompts of a run that an earlier visit left. */
  restore({ settings, region, tilePrompts, noise }) {
    this.noise = noise;
    this.setTilePrompts(tilePrompts);
    this.set({ ...defaults(this.fields), ...salvage(this.fields, settings) });
    this.setRegion(region);
  }

  setTilePrompts(text) {
    this.tilePrompts = text;
    this.#keep();
  }

  setPicture(picture) {
    this.picture?.close();
    this.picture = picture;
    this.region = null;
    this.#tell("picture");
  }

  setRegion(region) {
    this.region = region;
    this.#tell("region");
  }

  setModels(values) {
    this.models = { ...this.models, ...values };
    this.#tell("models");
  }

  /** Redraw with the starter set, or not at all (null), whatever files were chosen; it stays so for the next visit. */
  setRedrawing(redrawing) {
    this.redrawing = redrawing;
    this.#keep();
    this.setModels({ checkpoint: redrawing, controlnet: null });
  }

  /** The settings that are not at their defaults: what is kept, so that new defaults reach those who never chose. */
  get changed() {
    return changed(this.fields, this.settings);
  }

  #tell(name) {
    this.dispatchEvent(new Event(name));
  }

  #keep() {
    const { redrawing, tilePrompts } = this;
    // Before the engine has described its settings there are none to be kept.
    const settings = this.fields.length > 0 ? { settings: this.changed, tilePrompts } : this.#read();
    const kept = { ...settings, redrawing: redrawing === REDRAWING ? undefined : (redrawing ?? OFF) };
    try {
      this.#storage?.setItem(KEY, JSON.stringify(kept));
    } catch {
      // A full or forbidden store loses nothing but comfort.
    }
  }

  #read() {
    try {
      const kept = JSON.parse(this.#storage?.getItem(KEY) ?? "{}");
      return typeof kept === "object" && kept !== null ? kept : {};
    } catch {
      return {};
    }
  }
}

/** The browser may forbid storage altogether. */
function safeStorage() {
  try {
    return localStorage;
  } catch {
    return null;
  }
}
