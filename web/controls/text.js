// Any text, in a field that grows with it.
import { h, uniqueId } from "../lib/dom.js";
import { frame, tell } from "./field.js";

export class TextControl {
  #field;
  #frame;
  #area;

  constructor(container, field, { open }) {
    this.#field = field;
    const controlId = uniqueId(field.name);
    this.#frame = frame(container, field, { controlId, open });
    this.#area = h("textarea", { id: controlId, rows: 2, spellcheck: "false", "aria-describedby": this.#frame.helpId });
    this.#area.addEventListener("input", () => tell(container, field.name, this.#area.value));
    this.#frame.body.append(this.#area);
  }

  set value(value) {
    this.#frame.setChanged(value !== this.#field.default);
    if (this.#area.value !== value) this.#area.value = value;
  }
}
