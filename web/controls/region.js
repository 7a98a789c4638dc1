// A part of the picture to try the settings on: dragged, or typed.
import { h, show, uniqueId } from "../lib/dom.js";

/** A box smaller than this was a click. */
const LEAST = 8;

/** Whole pixels inside the picture, `[x, y, width, height]`, or null if nothing is left. */
export function wholePixels({ left, top, right, bottom }, { width, height }) {
  const clamp = (value, most) => Math.min(Math.max(Math.round(value), 0), most);
  const [x, y] = [clamp(left, width), clamp(top, height)];
  const [w, h] = [clamp(right, width) - x, clamp(bottom, height) - y];
  return w >= Math.min(LEAST, width) && h >= Math.min(LEAST, height) ? [x, y, w, h] : null;
}

/** Tells by `close` that the user is done with regions. */
export class Region {
  #container;
  #state;
  #inputs;

  constructor(container, state) {
    this.#container = container;
    this.#state = state;
    this.#inputs = ["Left", "Top", "Width", "Height"].map((label) => {
      const id = uniqueId("region");
      const input = h("input", { type: "number", id, min: 0, step: 1, inputmode: "numeric" });
      input.addEventListener("change", () => this.#typed());
      return { input, element: h("div", { class: "small-field" }, h("label", { for: id }, label), input) };
    });
    container.append(
      h(
        "p",
        { class: "quiet" },
        "Drag a box on the picture, or type it, in pixels. Only this part is made, exactly as the whole would be.",
      ),
      h(
        "div",
        { class: "row" },
        ...this.#inputs.map(({ element }) => element),
        h("button", { type: "button", class: "plain", onclick: () => this.#middle() }, "The middle"),
        h(
          "button",
          { type: "button", class: "plain", onclick: () => container.dispatchEvent(new Event("close")) },
          "Whole picture",
        ),
      ),
    );
    state.addEventListener("region", () => this.#update());
    state.addEventListener("picture", () => this.#update());
  }

  set open(open) {
    show(this.#container, open);
    if (open && !this.#state.region) this.#middle();
  }

  /** A box dragged on the picture. */
  dragged(rect, done) {
    const region = wholePixels(rect, this.#state.picture);
    // A click is no box; while dragging, it may become one.
    if (region || !done) this.#state.setRegion(region ?? this.#state.region);
  }

  /** A square of at most 256 pixels, to begin with. */
  #middle() {
    const { width, height } = this.#state.picture;
    const [w, h] = [Math.min(256, width), Math.min(256, height)];
    this.#state.setRegion([Math.floor((width - w) / 2), Math.floor((height - h) / 2), w, h]);
  }

  #typed() {
    const [x, y, w, h] = this.#inputs.map(({ input }) => Number(input.value) || 0);
    const region = wholePixels({ left: x, top: y, right: x + w, bottom: y + h }, this.#state.picture);
    if (region) this.#state.setRegion(region);
    else this.#update();
  }

  #update() {
    const { region, picture } = this.#state;
    if (!picture) return;
    const values = region ?? [0, 0, picture.width, picture.height];
    const most = [picture.width, picture.height, picture.width, picture.height];
    this.#inputs.forEach(({ input }, i) => {
      input.value = values[i];
      input.max = most[i];
    });
  }
}
