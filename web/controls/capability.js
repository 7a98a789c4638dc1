// When there is no GPU: why, what to do, and what works all the same.
import { explain, surroundings } from "../lib/causes.js";
import { h, show } from "../lib/dom.js";

export class Capability {
  #container;
  #chip;

  /** `chip` is the small text in the page's head that names the device. */
  constructor(container, chip) {
    this.#container = container;
    this.#chip = chip;
  }

  /** The answer of the engine. */
  set adapter(adapter) {
    const cause = explain(adapter, surroundings());
    this.#chip.dataset.kind = cause ? "cpu" : "gpu";
    this.#chip.textContent = cause
      ? "Processor only"
      : `GPU: ${adapter.name || "WebGPU"}${adapter.f16 ? " (f16)" : ""}`;
    show(this.#container, cause !== null);
    this.#container.replaceChildren();
    if (!cause) return;
    this.#container.append(
      h("h2", {}, cause.title),
      h("p", {}, cause.what),
      h("ul", {}, ...cause.todo.map((text) => h("li", {}, text))),
      h(
        "p",
        { class: "still" },
        h("strong", {}, "Still works here: "),
        "enlarging with the built-in network on the processor, in seconds for ordinary pictures. Redrawing with Stable Diffusion needs a GPU.",
      ),
    );
  }

  /** The engine itself could not be started. */
  failed() {
    this.#chip.dataset.kind = "failed";
    this.#chip.textContent = "Engine not running";
  }
}
