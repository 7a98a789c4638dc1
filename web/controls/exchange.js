// The settings in and out: as the program's JSON, and as its command line.
import { copy } from "../lib/clipboard.js";
import { commandLine } from "../lib/command.js";
import { h, show, uniqueId } from "../lib/dom.js";
import { download } from "../lib/files.js";
import { fromJson } from "../lib/settings.js";

export class Exchange {
  #state;
  #area;
  #command;
  #status;
  #problem;
  #apply;

  constructor(container, state) {
    this.#state = state;
    const id = uniqueId("json");
    const commandId = uniqueId("command");
    this.#area = h("textarea", { id, class: "code", rows: 6, spellcheck: "false", autocomplete: "off" });
    this.#command = h("textarea", { id: commandId, class: "code", rows: 3, readonly: true });
    this.#status = h("p", { class: "quiet", role: "status" });
    this.#problem = h("p", { class: "problem", role: "alert", hidden: true });
    const button = (text, onclick, more = {}) =>
      h("button", { type: "button", class: "plain", onclick, ...more }, text);
    this.#apply = button("Use what is written", () => this.#take(this.#area.value), { hidden: true });
    const file = h("input", {
      type: "file",
      accept: ".json,application/json",
      class: "behind",
      "aria-label": "Open a file of settings",
    });
    file.addEventListener("change", async () => {
      if (file.files[0]) this.#take(await file.files[0].text());
      file.value = "";
    });
    this.#area.addEventListener("input", () => show(this.#apply, true));
    const paste = navigator.clipboard?.readText && button("Paste", () => this.#paste());
    container.append(
      h("label", { class: "label", for: commandId }, "As a command line of the program"),
      this.#command,
      h(
        "div",
        { class: "row" },
        button("Copy as command line", () => this.#copy(this.#command, "The command line")),
      ),
      h(
        "p",
        { class: "help" },
        "For sh, bash and zsh. A browser does not know in which folders your files are: put their paths in.",
      ),
      h("label", { class: "label", for: id }, "As JSON"),
      this.#area,
      h(
        "div",
        { class: "row" },
        this.#apply,
        button("Copy", () => this.#copy(this.#area, "The JSON")),
        paste,
        h("label", { class: "plain button" }, file, "Open …"),
        button("Save …", () => this.#save()),
      ),
      h("p", { class: "help" }, "The same as the program's --settings takes; what is left out keeps its default."),
      this.#problem,
      this.#status,
    );
    for (const event of ["settings", "picture", "region", "models"])
      state.addEventListener(event, () => this.#update());
  }

  #json() {
    return `${JSON.stringify(this.#state.changed, null, 2)}\n`;
  }

  #update() {
    const { picture, fields, settings, models, region } = this.#state;
    if (fields.length === 0) return;
    this.#command.value = commandLine({ picture: picture?.name, fields, settings, models, region });
    // Not while somebody is writing in it.
    if (document.activeElement !== this.#area || this.#apply.hidden) this.#area.value = this.#json();
  }

  #say(text) {
    this.#status.textContent = text;
    show(this.#problem, false);
  }

  #take(text) {
    try {
      const settings = fromJson(this.#state.fields, text);
      show(this.#apply, false);
      this.#state.reset();
      this.#state.set(settings);
      this.#area.value = this.#json();
      this.#say("The settings are in use.");
    } catch (error) {
      this.#status.textContent = "";
      this.#problem.textContent = error.message;
      show(this.#problem, true);
    }
  }

  async #copy(area, what) {
    this.#say(await copy(area.value, area, what));
  }

  async #paste() {
    try {
      this.#take(await navigator.clipboard.readText());
    } catch {
      this.#area.focus();
      this.#say("The browser forbids it; press Ctrl+V (⌘V) in the field.");
    }
  }

  #save() {
    download(new Blob([this.#json()], { type: "application/json" }), "clarifier-settings.json");
    this.#say("Saved as clarifier-settings.json.");
  }
}
