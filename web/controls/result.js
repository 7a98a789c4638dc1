// What came out: what it is, and saving it.
import { h, show, uniqueId } from "../lib/dom.js";
import { FORMATS, download, pickFile } from "../lib/files.js";
import { bytes, duration, size, stem } from "../lib/text.js";

/** Tells by `seed` that the user wants the same seed from now on, by `whole` that all of the picture is to be made, by `problem` (detail: a sentence) of a failure. */
export class Result {
  #container;
  #summary = h("p", { class: "plan", role: "status" });
  #keep;
  #whole;
  #format;
  #quality;
  #qualityRow;
  #save;
  #status = h("p", { class: "quiet", role: "status" });
  #ask;
  #name = "";
  #result = null;

  /** `ask(argument)` has the engine save its result. */
  constructor(container, ask) {
    this.#container = container;
    this.#ask = ask;
    const [formatId, qualityId] = [uniqueId("format"), uniqueId("quality")];
    this.#format = h(
      "select",
      { id: formatId },
      ...FORMATS.map(({ name, label }) => h("option", { value: name }, label)),
    );
    this.#quality = h("input", { type: "number", id: qualityId, min: 1, max: 100, step: 1, value: 95, class: "exact" });
    this.#qualityRow = h("div", { class: "small-field" }, h("label", { for: qualityId }, "Quality"), this.#quality);
    this.#save = h("button", { type: "button", class: "primary", onclick: () => this.#saveNow() }, "Save");
    this.#keep = h("button", {
      type: "button",
      class: "plain",
      onclick: () => container.dispatchEvent(new Event("seed")),
    });
    this.#whole = h(
      "button",
      { type: "button", class: "plain", onclick: () => container.dispatchEvent(new Event("whole")) },
      "Now the whole picture",
    );
    this.#format.addEventListener("change", () => this.#update());
    container.append(
      h("div", { class: "done" }, this.#summary, h("div", { class: "row" }, this.#keep, this.#whole)),
      h(
        "div",
        { class: "row saving" },
        h("div", { class: "small-field" }, h("label", { for: formatId }, "Format"), this.#format),
        this.#qualityRow,
        this.#save,
      ),
      this.#status,
    );
    this.#update();
  }

  /** `name` is the picture's, `factor` what it was enlarged by. */
  show(result, { name, factor, region, diffusion }) {
    this.#result = result;
    this.#name = `${stem(name)}_${region ? "region_" : ""}${factor}x`;
    this.#summary.textContent = `${size(result)}, made in ${result.seconds < 10 ? `${result.seconds.toFixed(1)} s` : duration(result.seconds)}`;
    show(this.#keep, diffusion);
    show(this.#whole, Boolean(region));
    this.#keep.textContent = `Keep seed ${result.seed}`;
    this.#keep.disabled = false;
    for (const option of this.#format.options) {
      const { most = Infinity, label } = FORMATS.find((format) => format.name === option.value);
      option.disabled = Math.max(result.width, result.height) > most;
      option.textContent = option.disabled ? `${label} (${most} pixels a side at most)` : label;
    }
    if (this.#format.selectedOptions[0].disabled) this.#format.value = "png";
    this.#update();
    this.#status.textContent = "";
    show(this.#container, true);
  }

  hide() {
    this.#result = null;
    show(this.#container, false);
  }

  focus() {
    this.#save.focus({ preventScroll: true });
  }

  /** The seed is in the settings now. */
  kept() {
    this.#keep.textContent = `Seed ${this.#result.seed} is kept`;
    this.#keep.disabled = true;
  }

  #update() {
    const format = FORMATS.find(({ name }) => name === this.#format.value);
    show(this.#qualityRow, Boolean(format.quality));
  }

  async #saveNow() {
    const format = FORMATS.find(({ name }) => name === this.#format.value);
    const name = this.#name + format.extensions[0];
    try {
      const file = await pickFile(name, format);
      if (file === undefined) return;
      this.#save.disabled = true;
      this.#status.textContent = "Saving …";
      const quality = Math.min(100, Math.max(1, Math.round(Number(this.#quality.value)) || 95));
      const answer = await this.#ask({ format: format.name, quality, file });
      if (answer.blob) download(answer.blob, name);
      this.#status.textContent = answer.blob
        ? `${name}, ${bytes(answer.blob.size)}, is among your downloads.`
        : `Saved as ${file.name}, ${bytes(answer.written)}.`;
    } catch (error) {
      this.#status.textContent = "";
      this.#container.dispatchEvent(new CustomEvent("problem", { detail: error }));
    } finally {
      this.#save.disabled = false;
    }
  }
}
