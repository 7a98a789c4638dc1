// When there is no GPU: why, what to do, and what works all the same.
import { explain, surroundings } from "../lib/causes.js";
import { h, show } from "../lib/dom.js";

const STILL =
  "enlarging with the built-in network on the processor, in seconds for ordinary pictures. The starter set redraws there in minutes; Stable Diffusion needs a GPU.";

export class Capability {
  #container;
  #chip;
  #details = null;
  #folded = false;

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
    this.#details = h(
      "details",
      { open: !this.#folded },
      h("summary", {}, h("h2", {}, cause.title)),
      h("p", {}, cause.what),
      h("ul", {}, ...cause.todo.map((text) => h("li", {}, text))),
      h("p", { class: "still" }, h("strong", {}, "Still works here: "), STILL),
    );
    this.#container.append(this.#details);
  }

  /** Leave the room to the picture; the title remains, and opens the rest again. */
  fold() {
    this.#folded = true;
    if (this.#details) this.#details.open = false;
  }

  /** The engine itself could not be started. */
  failed() {
    this.#chip.dataset.kind = "failed";
    this.#chip.textContent = "Engine not running";
  }
}
