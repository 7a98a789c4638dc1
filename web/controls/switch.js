// On or off.
import { h, uniqueId } from "../lib/dom.js";
import { frame, tell } from "./field.js";

export class SwitchControl {
  #field;
  #frame;
  #input;

  constructor(container, field, { open }) {
    this.#field = field;
    const controlId = uniqueId(field.name);
    this.#frame = frame(container, field, { controlId, open });
    this.#input = h("input", {
      type: "checkbox",
      role: "switch",
      id: controlId,
      "aria-describedby": this.#frame.helpId,
    });
    this.#input.addEventListener("change", () => tell(container, field.name, this.#input.checked));
    this.#frame.head.append(this.#input);
  }

  set value(value) {
    this.#frame.setChanged(String(value) !== this.#field.default);
    this.#input.checked = value;
  }
}
