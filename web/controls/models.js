// Which networks do the work: those built in, or the user's own files, which stay where they are.
import { h, show, uniqueId } from "../lib/dom.js";
import { bytes } from "../lib/text.js";
import { Store } from "./store.js";

const FILES = ".safetensors,.pth,.pt,.ckpt,.bin";

export class Models {
  #state;
  #status = h("p", { class: "help", role: "status" });
  #list = { loras: h("ul", { class: "files" }), embeddings: h("ul", { class: "files" }) };
  #slots = [];
  #device = [];
  #upscaler = [];
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
      h("h3", {}, "Redrawing"),
      h(
        "p",
        { class: "help" },
        "Stable Diffusion 1.5 invents the new detail. It needs a checkpoint and the Tile ControlNet; the rest is optional. Download them here, or choose files of your own: they are read in place, nothing is uploaded.",
      ),
      place,
      h("h3", {}, "Models in use"),
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

  /** Take downloaded models where nothing is chosen, if there are both that redrawing needs; whether there were. */
  useStored() {
    const [checkpoint, controlnet] = ["checkpoint", "controlnet"].map((kind) => this.#downloads.stored(kind)?.file);
    const { models } = this.#state;
    if (!checkpoint || !controlnet || (models.checkpoint && models.controlnet)) return false;
    this.#state.setModels({
      checkpoint: models.checkpoint ?? checkpoint,
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
      ["checkpoint", "controlnet", "vae"].filter((key) => !stays(models[key])).map((key) => [key, null]),
    );
    const loras = models.loras.filter(({ file }) => stays(file));
    const embeddings = models.embeddings.filter(stays);
    const fewer = loras.length < models.loras.length || embeddings.length < models.embeddings.length;
    if (fewer || Object.keys(single).length > 0) this.#state.setModels({ ...single, loras, embeddings });
  }

  /** What the engine has loaded, or is doing. */
  set status(text) {
    // Progress is to be seen, its end to be heard.
    this.#status.setAttribute("aria-live", text.startsWith("Loading") ? "off" : "polite");
    this.#status.textContent = text;
  }

  /** Without a GPU there is nothing to choose. */
  set gpu(available) {
    const [gpu] = this.#device;
    gpu.disabled = !available;
    if (!available) this.#state.setModels({ device: "cpu" });
  }

  #upscalerChoice() {
    const name = uniqueId("upscaler");
    const change = (value) => this.#state.setModels({ upscaler: value });
    const radio = (value, label) => {
      const input = h("input", { type: "radio", name, value });
      input.addEventListener("change", () => change(value));
      this.#upscaler.push(input);
      return h("label", {}, input, h("span", {}, label));
    };
    const labelId = uniqueId("enlarger");
    const own = this.#slot("upscaler", "ESRGAN file of your own", "in place of the built-in network");
    return h(
      "div",
      { class: "field" },
      h("h3", { id: labelId }, "Enlarger"),
      h(
        "div",
        { class: "choices", role: "radiogroup", "aria-labelledby": labelId },
        radio("lite", "Built in: lite"),
        radio("lanczos", "Lanczos"),
      ),
      own,
    );
  }

  /** One file, or none. */
  #slot(key, label, about) {
    const input = h("input", { type: "file", accept: FILES, class: "behind", "aria-label": `Choose: ${label}` });
    const name = h("span", { class: "file-name" });
    const remove = h("button", { type: "button", class: "close", "aria-label": `Remove: ${label}` }, "×");
    const empty = key === "upscaler" ? "lite" : null;
    input.addEventListener("change", () => {
      if (input.files[0]) this.#state.setModels({ [key]: input.files[0] });
      input.value = "";
    });
    remove.addEventListener("click", () => {
      this.#state.setModels({ [key]: empty });
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
    this.#slots.push(() => {
      const file = this.#state.models[key];
      const chosen = file !== null && typeof file !== "string";
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
    this.#slots.push(() =>
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
    const name = uniqueId("device");
    const labelId = uniqueId("compute");
    const radio = (value, label) => {
      const input = h("input", { type: "radio", name, value });
      input.addEventListener("change", () => this.#state.setModels({ device: value }));
      this.#device.push(input);
      return h("label", {}, input, h("span", {}, label));
    };
    return h(
      "div",
      { class: "field" },
      h("h3", { id: labelId }, "Compute on"),
      h(
        "div",
        { class: "choices", role: "radiogroup", "aria-labelledby": labelId },
        radio("gpu", "GPU"),
        radio("cpu", "Processor"),
      ),
    );
  }

  #update() {
    const { models } = this.#state;
    for (const slot of this.#slots) slot();
    for (const radio of this.#upscaler) radio.checked = models.upscaler === radio.value;
    for (const radio of this.#device) radio.checked = models.device === radio.value;
  }
}

/** Whether both are the same file: each message from the worker brings a new object for it. */
const same = (a, b) => a instanceof File && a.name === b.name && a.size === b.size && a.lastModified === b.lastModified;
