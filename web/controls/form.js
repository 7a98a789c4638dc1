// The form of the settings, made from the engine's description: the few that people turn most, then all others.
import { optionOf } from "../lib/command.js";
import { h, show, uniqueId } from "../lib/dom.js";
import { MAIN, grouped } from "../lib/presentation.js";
import { parse } from "../lib/settings.js";
import { ChoiceControl } from "./choice.js";
import { labelOf } from "./field.js";
import { RangeControl } from "./range.js";
import { SwitchControl } from "./switch.js";
import { TextControl } from "./text.js";

const CONTROLS = {
  integer: RangeControl,
  number: RangeControl,
  choice: ChoiceControl,
  switch: SwitchControl,
  text: TextControl,
};

export class Form {
  #state;
  #main;
  #all;
  #controls = new Map();
  #groups = [];
  #count;
  #note = h("p", { class: "note" });

  /** `main` gets the few, `all` the rest. */
  constructor({ main, all }, state) {
    this.#main = main;
    this.#all = all;
    this.#state = state;
    const models = h(
      "button",
      { type: "button", class: "link", onclick: () => main.dispatchEvent(new Event("models")) },
      "Choose models",
    );
    this.#note.append(
      "The built-in network enlarges faithfully. What follows is about redrawing and does nothing without it. ",
      models,
    );
    state.addEventListener("settings", () => this.#update());
    for (const container of [main, all]) {
      container.addEventListener("setting", ({ detail }) => this.#set(detail));
      container.addEventListener("restore", () => {
        document.activeElement?.blur();
        this.#update();
      });
    }
  }

  /** Whether what follows the factor has any effect. */
  set redraws(redraws) {
    show(this.#note, !redraws);
  }

  #set({ name, value }) {
    const field = this.#state.fields.find((one) => one.name === name);
    // Null means the default.
    this.#state.set({ [name]: value === null ? parse(field, field.default) : value });
  }

  #update() {
    if (this.#controls.size === 0 && this.#state.fields.length > 0) this.#build();
    for (const [name, control] of this.#controls) control.value = this.#state.settings[name];
  }

  #build() {
    const { fields } = this.#state;
    const main = MAIN.flatMap((name) => fields.find((field) => field.name === name) ?? []);
    const [factor, ...redrawing] = main.map((field) => this.#control(field, true));
    this.#main.replaceChildren(factor, this.#note, ...redrawing);
    this.#all.replaceChildren(this.#search(), ...grouped(fields).map(([title, found]) => this.#group(title, found)));
  }

  #control(field, open) {
    const container = h("div");
    this.#controls.set(field.name, new (CONTROLS[field.kind] ?? TextControl)(container, field, { open }));
    return container;
  }

  #group(title, fields) {
    const rows = fields.map((field) => {
      const element = this.#control(field, false);
      const text = [field.name, labelOf(field), optionOf(field.name), field.help, ...field.choices]
        .join(" ")
        .toLowerCase();
      return { element, text };
    });
    const element = h("section", { class: "group" }, h("h3", {}, title), ...rows.map((row) => row.element));
    this.#groups.push({ element, rows });
    return element;
  }

  #search() {
    const id = uniqueId("search");
    const input = h("input", { type: "search", id, placeholder: "tiles, sampler, colour …", autocomplete: "off" });
    this.#count = h("p", { class: "quiet", role: "status" });
    input.addEventListener("input", () => this.#filter(input.value));
    return h("div", { class: "search" }, h("label", { class: "label", for: id }, "Find a setting"), input, this.#count);
  }

  #filter(text) {
    const wanted = text.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const { element, rows } of this.#groups) {
      const hits = rows.filter((row) => {
        const hit = wanted.every((word) => row.text.includes(word));
        show(row.element, hit);
        return hit;
      });
      found += hits.length;
      show(element, hits.length > 0);
    }
    if (wanted.length === 0) this.#count.textContent = "";
    else this.#count.textContent = found === 0 ? "No setting has these words." : `${found} found`;
  }
}
