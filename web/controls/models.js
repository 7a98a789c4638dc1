// Which networks do the work: those that come with the page, or the user's own files, which stay where they are.
import { h, show, uniqueId } from "../lib/dom.js";
import { STARTER, isFile } from "../lib/redrawing.js";
import { bytes } from "../lib/text.js";
import { Store } from "./store.js";

const FILES = ".safetensors,.pth,.pt,.ckpt,.bin";

export class Models {
  #state;
  #status = h("p", { class: "help", role: "status" });
  #list = { loras: h("ul", { class: "files" }), embeddings: h("ul", { class: "files" }) };
  /** Each brings a part of this to what the state says. */
  #parts = [];
  #gpu;
  #downloads;
  #store;

  constructor(container, state, downloads) {
    this.#state = state;
    this.#downloads = downloads;
    const place = h("div", { class: "field store" });
    this.#store = new Store(place, downloads);
    place.addEventListener("use", ({ detail }) => this.#use(detail));
    place.addEventListener("forgotten", ({ detail }) => this.#drop(detail));
    container.append(
      this.#status,
      this.#upscalerChoice(),
      this.#redrawingChoice(),
      place,
      h("h3", {}, "Models of Stable Diffusion 1.5"),
      this.#slot("checkpoint", "Checkpoint", "SD 1.5 in one file"),
      this.#slot("controlnet", "Tile ControlNet", "for SD 1.5"),
      this.#slot("vae", "VAE", "in place of the checkpoint's"),
      this.#many("loras", "LoRAs", "Add a LoRA …"),
      this.#many("embeddings", "Embeddings", "Add an embedding …"),
      this.#deviceChoice(),
    );
    state.addEventListener("models", () => this.#update());
    downloads.addEventListener("change", () => this.#update());
    this.#update();
  }

  /** To where the recommended models are downloaded. */
  focusStore() {
    this.#store.focus();
  }

  /** Take downloaded models where no files are chosen, if there are both that redrawing needs; whether there were. */
  useStored() {
    const [checkpoint, controlnet] = ["checkpoint", "controlnet"].map((kind) => this.#downloads.stored(kind)?.file);
    const { models } = this.#state;
    const own = isFile(models.checkpoint);
    if (!checkpoint || !controlnet || (own && models.controlnet)) return false;
    this.#state.setModels({
      checkpoint: own ? models.checkpoint : checkpoint,
      controlnet: models.controlnet ?? controlnet,
    });
    return true;
  }

  #use({ kind, file }) {
    const { loras, embeddings } = this.#state.models;
    const values = {
      lora: { loras: [...loras, { file, scale: 1 }] },
      embedding: { embeddings: [...embeddings, file] },
    };
    this.#state.setModels(values[kind] ?? { [kind]: file });
  }

  /** What is about to be removed is not chosen any more. */
  #drop(names) {
    const gone = this.#downloads.models
      .filter(({ name, file }) => file && names.includes(name))
      .map(({ file }) => file);
    const stays = (file) => !gone.some((one) => same(file, one));
    const { models } = this.#state;
    const single = Object.fromEntries(
      ["checkpoint", "controlnet", "vae"].filter((key) => !stays(models[key])).map((key) => [key, this.#without(key)]),
    );
    const loras = models.loras.filter(({ file }) => stays(file));
    const embeddings = models.embeddings.filter(stays);
    const fewer = loras.length < models.loras.length || embeddings.length < models.embeddings.length;
    if (fewer || Object.keys(single).length > 0) this.#state.setModels({ ...single, loras, embeddings });
  }

  /** What there is in the place of a file that is removed. */
  #without(key) {
    return { upscaler: "lite", checkpoint: this.#state.redrawing }[key] ?? null;
  }

  /** What the engine has loaded, or is doing. */
  set status(text) {
    // Progress is to be seen, its end to be heard.
    this.#status.setAttribute("aria-live", text.startsWith("Loading") ? "off" : "polite");
    this.#status.textContent = text;
  }

  /** Without a GPU there is nothing to choose. */
  set gpu(available) {
    this.#gpu.disabled = !available;
    if (!available) this.#state.setModels({ device: "cpu" });
  }

  #upscalerChoice() {
    const { heading, group } = this.#choice(
      "Enlarger",
      [
        ["lite", "Built in: lite"],
        ["lanczos", "Lanczos"],
      ],
      () => this.#state.models.upscaler,
      (upscaler) => this.#state.setModels({ upscaler }),
    );
    const own = this.#slot("upscaler", "ESRGAN file of your own", "in place of the built-in network");
    return h("div", { class: "field" }, heading, group, own);
  }

  #redrawingChoice() {
    const { heading, group } = this.#choice(
      "Redrawing",
      [
        [STARTER, "Built in: starter set"],
        [null, "Off"],
      ],
      () => this.#state.models.checkpoint,
      (redrawing) => this.#state.setRedrawing(redrawing),
    );
    const about =
      "The starter set is small and comes with this page (38 MB). Stable Diffusion 1.5 invents far more. It needs a checkpoint and the Tile ControlNet; the rest is optional. Download them here, or choose files of your own: they are read in place, nothing is uploaded.";
    return h("div", { class: "field" }, heading, group, h("p", { class: "help" }, about));
  }

  /** One of a few `[value, label]`, with a heading: `chosen()` is the one that is, `choose` takes another. */
  #choice(title, all, chosen, choose) {
    const name = uniqueId("choice");
    const id = uniqueId("title");
    const inputs = all.map(([value]) => {
      const input = h("input", { type: "radio", name });
      input.addEventListener("change", () => choose(value));
      return input;
    });
    const labels = all.map(([, label], i) => h("label", {}, inputs[i], h("span", {}, label)));
    this.#parts.push(() => inputs.forEach((input, i) => (input.checked = all[i][0] === chosen())));
    return {
      inputs,
      heading: h("h3", { id }, title),
      group: h("div", { class: "choices", role: "radiogroup", "aria-labelledby": id }, ...labels),
    };
  }

  /** One file, or none. */
  #slot(key, label, about) {
    const input = h("input", { type: "file", accept: FILES, class: "behind", "aria-label": `Choose: ${label}` });
    const name = h("span", { class: "file-name" });
    const remove = h("button", { type: "button", class: "close", "aria-label": `Remove: ${label}` }, "×");
    input.addEventListener("change", () => {
      if (input.files[0]) this.#state.setModels({ [key]: input.files[0] });
      input.value = "";
    });
    remove.addEventListener("click", () => {
      this.#state.setModels({ [key]: this.#without(key) });
      input.focus();
    });
    const choose = h("label", { class: "plain button" }, input, "Choose …");
    const use = h(
      "button",
      { type: "button", class: "plain", "aria-label": `Use downloaded: ${label}` },
      "Use downloaded",
    );
    use.addEventListener("click", () => {
      this.#use(this.#downloads.stored(key));
      remove.focus();
    });
    this.#parts.push(() => {
      const file = this.#state.models[key];
      const chosen = isFile(file);
      name.textContent = chosen ? `${file.name}, ${bytes(file.size)}` : about;
      name.classList.toggle("chosen", chosen);
      show(remove, chosen);
      show(use, !chosen && this.#downloads.stored(key) !== null);
    });
    return h("div", { class: "slot" }, h("div", {}, h("span", { class: "label" }, label), name), remove, use, choose);
  }

  /** Any number of files. */
  #many(key, label, add) {
    const input = h("input", { type: "file", accept: FILES, multiple: true, class: "behind", "aria-label": add });
    input.addEventListener("change", () => {
      const files = [...input.files];
      const entries = key === "loras" ? files.map((file) => ({ file, scale: 1 })) : files;
      this.#state.setModels({ [key]: [...this.#state.models[key], ...entries] });
      input.value = "";
    });
    this.#parts.push(() =>
      this.#list[key].replaceChildren(...this.#state.models[key].map((entry, i) => this.#entry(key, entry, i))),
    );
    return h(
      "div",
      { class: "field" },
      h(
        "div",
        { class: "slot" },
        h("span", { class: "label" }, label),
        h("label", { class: "plain button" }, input, add),
      ),
      this.#list[key],
    );
  }

  #entry(key, entry, i) {
    const file = entry.file ?? entry;
    const replace = (entries) => this.#state.setModels({ [key]: entries });
    const remove = h("button", { type: "button", class: "close", "aria-label": `Remove ${file.name}` }, "×");
    remove.addEventListener("click", () => replace(this.#state.models[key].filter((_, at) => at !== i)));
    if (key !== "loras") return h("li", {}, h("span", { class: "file-name chosen" }, file.name), remove);
    const scale = h("input", {
      type: "number",
      class: "exact",
      step: 0.05,
      min: -4,
      max: 4,
      value: entry.scale,
      "aria-label": `Scale of ${file.name}`,
    });
    scale.addEventListener("change", () => {
      const value = Number(scale.value);
      if (scale.value === "" || !Number.isFinite(value)) scale.value = entry.scale;
      else replace(this.#state.models.loras.map((one, at) => (at === i ? { ...one, scale: value } : one)));
    });
    return h("li", {}, h("span", { class: "file-name chosen" }, file.name), scale, remove);
  }

  #deviceChoice() {
    const { inputs, heading, group } = this.#choice(
      "Compute on",
      [
        ["gpu", "GPU"],
        ["cpu", "Processor"],
      ],
      () => this.#state.models.device,
      (device) => this.#state.setModels({ device }),
    );
    [this.#gpu] = inputs;
    return h("div", { class: "field" }, heading, group);
  }

  #update() {
    for (const update of this.#parts) update();
  }
}

/** Whether both are the same file: each message from the worker brings a new object for it. */
const same = (a, b) => a instanceof File && a.name === b.name && a.size === b.size && a.lastModified === b.lastModified;
