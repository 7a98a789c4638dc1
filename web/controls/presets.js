// Other programs' settings at once, with a way back.
import { h, show, uniqueId } from "../lib/dom.js";
import { parse } from "../lib/settings.js";
import { words } from "../lib/text.js";

export class Presets {
  #state;
  #select;
  #about;
  #undo;
  #before = null;

  constructor(container, state) {
    this.#state = state;
    const id = uniqueId("preset");
    this.#select = h("select", { id, "aria-describedby": `${id}-about` });
    this.#about = h("p", { id: `${id}-about`, class: "help", role: "status" });
    this.#undo = h("button", { type: "button", class: "plain", hidden: true, onclick: () => this.#goBack() }, "Undo");
    const reset = h("button", { type: "button", class: "plain", onclick: () => this.#reset() }, "Reset all");
    this.#select.addEventListener("change", () => this.#apply(this.#select.value));
    container.append(
      h(
        "div",
        { class: "field-head" },
        h("label", { class: "label", for: id }, "Start from"),
        h("span", { class: "gap" }),
        this.#undo,
        reset,
      ),
      this.#select,
      this.#about,
    );
    state.addEventListener("settings", () => this.#build());
  }

  #build() {
    if (this.#select.options.length > 0) return;
    const { presets } = this.#state;
    this.#select.append(h("option", { value: "" }, presets.length > 0 ? "My own settings" : "No presets"));
    for (const { name } of presets) this.#select.append(h("option", { value: name }, words(name)));
  }

  #apply(name) {
    const preset = this.#state.presets.find((one) => one.name === name);
    if (!preset) {
      this.#about.textContent = "";
      return;
    }
    const { fields } = this.#state;
    const field = (setting) => fields.find((one) => one.name === setting);
    const known = Object.entries(preset.settings).filter(([setting]) => field(setting));
    this.#before = this.#state.settings;
    this.#state.set(Object.fromEntries(known.map(([setting, value]) => [setting, parse(field(setting), value)])));
    this.#about.textContent = `${preset.about}.`;
    show(this.#undo, true);
  }

  #reset() {
    this.#before = this.#state.settings;
    this.#state.reset();
    this.#select.value = "";
    this.#about.textContent = "All settings are at their defaults.";
    show(this.#undo, true);
  }

  #goBack() {
    this.#state.set(this.#before);
    this.#select.value = "";
    this.#about.textContent = "The settings are as they were.";
    show(this.#undo, false);
    this.#select.focus();
  }
}
