// What goes with a run but is no setting of the engine's: prompts for places, and noise from a file.
import { h, show, uniqueId } from "../lib/dom.js";

export class Places {
  /** Put at the end of `container`. */
  constructor(container, state) {
    const [promptsId, helpId] = [uniqueId("places"), uniqueId("places-help")];
    const prompts = h("textarea", {
      id: promptsId,
      rows: 3,
      spellcheck: "false",
      placeholder: "R2C1: a dog",
      "aria-describedby": helpId,
    });
    prompts.addEventListener("input", () => state.setTilePrompts(prompts.value));
    state.addEventListener("settings", () => {
      if (document.activeElement !== prompts) prompts.value = state.tilePrompts;
    });

    const file = h("input", {
      type: "file",
      accept: ".safetensors",
      class: "behind",
      "aria-label": "Choose a file of noise",
    });
    const name = h("span", { class: "file-name" });
    const remove = h("button", { type: "button", class: "close", "aria-label": "Remove the file of noise" }, "×");
    const set = (chosen) => {
      state.noise = chosen;
      name.textContent = chosen ? chosen.name : "for comparing with other programs";
      show(remove, chosen !== null);
    };
    file.addEventListener("change", () => {
      if (file.files[0]) set(file.files[0]);
      file.value = "";
    });
    remove.addEventListener("click", () => set(null));
    set(null);
    container.append(
      h(
        "section",
        { class: "group" },
        h("h3", {}, "Places"),
        h(
          "div",
          { class: "field" },
          h("label", { class: "label", for: promptsId }, "Prompts for places"),
          prompts,
          h(
            "p",
            { id: helpId, class: "help" },
            "A line for each: R2C1: a dog (row 2, column 1 of the tiles), or 100,50,256,256: a dog (pixels of the picture).",
          ),
        ),
        h(
          "div",
          { class: "slot" },
          h("div", {}, h("span", { class: "label" }, "Noise"), name),
          remove,
          h("label", { class: "plain button" }, file, "Choose …"),
        ),
      ),
    );
  }
}
