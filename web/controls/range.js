// A number: a slider for a feel, a field for the exact value.
import { h, uniqueId } from "../lib/dom.js";
import { slider } from "../lib/presentation.js";
import { parse } from "../lib/settings.js";
import { frame, labelOf, tell } from "./field.js";

export class RangeControl {
  #field;
  #frame;
  #slider = null;
  #number;

  constructor(container, field, { open }) {
    this.#field = field;
    const controlId = uniqueId(field.name);
    const limits = slider(field);
    this.#frame = frame(container, field, { controlId, open });
    const [min, max] = field.range ?? [];
    this.#number = h("input", {
      type: "number",
      class: limits ? "exact" : "exact wide",
      // Any value in the range is right, not only the slider's.
      step: field.kind === "integer" ? 1 : "any",
      min,
      max,
      id: limits ? null : controlId,
      "aria-label": limits ? `${labelOf(field)}, exact value` : null,
      "aria-describedby": this.#frame.helpId,
      inputmode: field.kind === "integer" && min >= 0 ? "numeric" : "decimal",
    });
    this.#number.addEventListener("input", () => this.#typed(container));
    this.#number.addEventListener("change", () => this.#left());
    if (!limits) {
      this.#frame.body.append(this.#number, ...this.#extras(container));
      return;
    }
    this.#slider = h("input", { type: "range", id: controlId, ...limits, "aria-describedby": this.#frame.helpId });
    this.#slider.addEventListener("input", () => tell(container, field.name, Number(this.#slider.value)));
    this.#frame.head.append(this.#number);
    this.#frame.body.append(this.#slider);
  }

  set value(value) {
    this.#frame.setChanged(String(value) !== this.#field.default && Number(value) !== Number(this.#field.default));
    // What is being typed is not to be rewritten under the fingers.
    const typing = document.activeElement === this.#number;
    if (!typing || Number(this.#number.value) !== value) this.#number.value = String(value);
    this.#frame.setProblem(null);
    if (!this.#slider) return;
    this.#slider.value = String(value);
    const { min, max } = this.#slider;
    const share = Math.min(1, Math.max(0, (value - min) / (max - min)));
    this.#slider.style.setProperty("--share", `${share * 100}%`);
  }

  /** What a number without a slider has beside it. */
  #extras(container) {
    // A range that begins at −1 has it as "choose for me".
    if (this.#field.range?.[0] !== -1) return [];
    return [
      h(
        "button",
        { type: "button", class: "plain", onclick: () => tell(container, this.#field.name, -1) },
        "Draw one each time",
      ),
    ];
  }

  #typed(container) {
    try {
      tell(container, this.#field.name, parse(this.#field, this.#number.value));
    } catch (error) {
      this.#frame.setProblem(error.message.replace(`${this.#field.name}: `, ""));
    }
  }

  /** Leaving a wrong value brings the last right one back. */
  #left() {
    try {
      parse(this.#field, this.#number.value);
    } catch {
      this.#number.dispatchEvent(new CustomEvent("restore", { bubbles: true }));
    }
  }
}
