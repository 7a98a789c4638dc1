// A run that an earlier visit left: what it was, what it still needs, and going on with it.
import { h, show } from "../lib/dom.js";
import { lacking, stood } from "../lib/kept.js";
import { size } from "../lib/text.js";

/** Tells by `continue` and `discard` what the user wants done with it. */
export class Unfinished {
  #container;
  #state;
  #text = h("p", {});
  #needs = h("p", { class: "advice", role: "status" });
  #continue;
  /** As the engine describes it, or null. */
  run = null;

  constructor(container, state) {
    this.#container = container;
    this.#state = state;
    const tell = (name) => () => container.dispatchEvent(new Event(name));
    this.#continue = h("button", { type: "button", class: "primary", onclick: tell("continue") }, "Go on");
    const discard = h("button", { type: "button", class: "plain", onclick: tell("discard") }, "Discard it");
    container.append(
      h("h2", {}, "A run was interrupted"),
      this.#text,
      this.#needs,
      h("div", { class: "row" }, this.#continue, discard),
    );
    state.addEventListener("models", () => this.#update());
  }

  show(run) {
    this.run = run;
    this.#text.replaceChildren(
      h("strong", {}, run.name),
      ` to ${size(run)}. ${stood(run.at)} What is done is kept in this browser.`,
    );
    this.#update();
    show(this.#container, true);
  }

  hide() {
    this.run = null;
    show(this.#container, false);
  }

  #update() {
    if (!this.run) return;
    const names = lacking(this.run.models, this.#state.models);
    this.#needs.textContent =
      names.length > 0 ? `Choose under Models again what it was made with: ${names.join(", ")}.` : "";
    this.#continue.disabled = names.length > 0;
  }
}
