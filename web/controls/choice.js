// One of a few words: buttons in a row while they are few, else a list.
import { h, uniqueId } from "../lib/dom.js";
import { words } from "../lib/text.js";
import { frame, tell } from "./field.js";

/** More than these do not fit beside each other on a phone. */
const MOST_BUTTONS = 4;
const MOST_LETTERS = 24;

export class ChoiceControl {
  #field;
  #frame;
  #radios = [];
  #select = null;

  constructor(container, field, { open }) {
    this.#field = field;
    const controlId = uniqueId(field.name);
    const few = field.choices.length <= MOST_BUTTONS && field.choices.join("").length <= MOST_LETTERS;
    this.#frame = frame(container, field, { controlId, open, group: few });
    const change = (value) => tell(container, field.name, value);
    if (!few) {
      this.#select = h(
        "select",
        { id: controlId, "aria-describedby": this.#frame.helpId },
        ...field.choices.map(option),
      );
      this.#select.addEventListener("change", () => change(this.#select.value));
      this.#frame.body.append(this.#select);
      return;
    }
    const group = h("div", {
      class: "choices",
      role: "radiogroup",
      "aria-labelledby": this.#frame.labelId,
      "aria-describedby": this.#frame.helpId,
    });
    for (const word of field.choices) {
      const radio = h("input", { type: "radio", name: controlId, value: word });
      radio.addEventListener("change", () => change(word));
      this.#radios.push(radio);
      group.append(h("label", {}, radio, h("span", {}, words(word))));
    }
    this.#frame.body.append(group);
  }

  set value(value) {
    this.#frame.setChanged(value !== this.#field.default);
    for (const radio of this.#radios) radio.checked = radio.value === value;
    if (!this.#select) return;
    // Another program's name for the same, as presets and imported settings may have it.
    if (![...this.#select.options].some((one) => one.value === value)) this.#select.append(option(value));
    this.#select.value = value;
  }
}

const option = (word) => h("option", { value: word }, word);
