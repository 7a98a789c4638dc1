// A picture to begin with: dropped, pasted, chosen, or the sample.
import { h } from "../lib/dom.js";

const SAMPLE = new URL("../../assets/demo/cat.png", import.meta.url);

/** Tells by `file` (detail: a File) of a picture, and by `problem` (detail: a sentence). */
export class Start {
  #container;
  /** Whether pictures are taken now. */
  enabled = true;

  constructor(container) {
    this.#container = container;
    const input = this.picker("Choose a picture");
    const sample = h(
      "button",
      { type: "button", class: "sample", onclick: () => this.#sample() },
      h("img", { src: SAMPLE.href, alt: "", width: 84, height: 56 }),
      h("span", {}, h("strong", {}, "No picture at hand?"), " Try this cat, 451 × 300."),
    );
    container.append(
      h(
        "div",
        { class: "drop" },
        h("div", { class: "frames", "aria-hidden": "true" }, h("i"), h("i")),
        h("h2", {}, "Drop a picture here"),
        h("p", { class: "quiet" }, "or paste one, or choose a file: PNG, JPEG, WebP, AVIF"),
        input,
        sample,
      ),
    );
    this.#listen();
  }

  /** A button that opens the file dialogue. */
  picker(text, look = "primary") {
    const input = h("input", { type: "file", accept: "image/*", class: "behind" });
    input.addEventListener("change", () => {
      if (input.files[0]) this.#take(input.files[0]);
      input.value = "";
    });
    return h("label", { class: `${look} button` }, input, text);
  }

  #take(file) {
    if (this.enabled) this.#container.dispatchEvent(new CustomEvent("file", { detail: file }));
  }

  #problem(text) {
    this.#container.dispatchEvent(new CustomEvent("problem", { detail: text }));
  }

  async #sample() {
    try {
      const answer = await fetch(SAMPLE);
      if (!answer.ok) throw new Error(`${answer.status}`);
      this.#take(new File([await answer.blob()], "cat.png", { type: "image/png" }));
    } catch {
      this.#problem("The sample could not be loaded from this server. Choose a picture of your own.");
    }
  }

  /** The whole page takes drops and pastes. */
  #listen() {
    let depth = 0;
    const lit = (on) => document.documentElement.toggleAttribute("data-dropping", on && this.enabled);
    const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    addEventListener("dragenter", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      depth += 1;
      lit(true);
    });
    addEventListener("dragleave", () => {
      depth = Math.max(0, depth - 1);
      if (depth === 0) lit(false);
    });
    addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
    addEventListener("drop", (event) => {
      depth = 0;
      lit(false);
      if (!hasFiles(event)) return;
      event.preventDefault();
      const files = [...event.dataTransfer.files];
      const file = files.find(({ type }) => type.startsWith("image/")) ?? files[0];
      if (file) this.#take(file);
    });
    addEventListener("paste", (event) => {
      const file = [...(event.clipboardData?.files ?? [])][0];
      if (!file) return;
      event.preventDefault();
      this.#take(file);
    });
  }
}
