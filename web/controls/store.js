// Models that the page downloads: the recommended set, others, how far a download is, and their removal.
import { h, show } from "../lib/dom.js";
import { bytes, duration } from "../lib/text.js";

const WAITING = {
  asking: "Asking the hub …",
  waiting: "Another tab is downloading this; waiting for it.",
  checking: "Checking what is here already",
};

const total = (models) => models.reduce((sum, one) => sum + (one.bytes ?? 0), 0);
const missing = (models) => models.filter(({ file }) => !file);
const names = (models) => models.map(({ name }) => name);
/** What is here of them. */
const arrived = (models) => models.reduce((sum, { file, part }) => sum + (file?.size ?? part?.bytes ?? 0), 0);

/** `about 2.9 GB`; nothing where no size is known. */
export const setSize = (models) => (total(models) > 0 ? `about ${bytes(total(models))}` : "");

/** Tells by `use` (detail: a stored model), and by `forgotten` (detail: names) before models are removed. */
export class Store {
  #container;
  #downloads;
  #set = h("div", { class: "store-set" });
  #progress;
  #problem = h("p", { class: "problem", role: "alert", hidden: true });
  #used = h("p", { class: "help" });
  #others;
  #actions = h("div", { class: "row" });
  #rows = new Map();
  #sure = null;

  constructor(container, downloads) {
    this.#container = container;
    this.#downloads = downloads;
    this.#progress = progress(
      () => downloads.pause(),
      () => this.#cancel(),
    );
    this.#others = h(
      "details",
      { class: "inner" },
      h("summary", {}, "Others to download"),
      h("ul", { class: "plain-list" }),
    );
    container.append(
      h("h3", {}, "Recommended models"),
      this.#set,
      this.#progress.element,
      this.#problem,
      this.#actions,
      this.#used,
      this.#others,
    );
    downloads.addEventListener("change", () => this.#update());
    this.#update();
  }

  focus() {
    this.#actions.querySelector("button")?.focus();
  }

  async #cancel() {
    const { names } = this.#downloads.running;
    await this.#downloads.pause();
    await this.#downloads.forget(
      names.filter((name) => !this.#downloads.models.find((one) => one.name === name)?.file),
    );
  }

  #forget(models) {
    this.#sure = null;
    this.#container.dispatchEvent(new CustomEvent("forgotten", { detail: names(models) }));
    return this.#downloads.forget(names(models));
  }

  #update() {
    const { available, models, recommended, running, problem } = this.#downloads;
    show(this.#container, available !== null);
    this.#progress.show(running);
    this.#problem.textContent = problem ? `${problem.charAt(0).toUpperCase()}${problem.slice(1)}.` : "";
    show(this.#problem, Boolean(problem));
    if (available === false) {
      this.#set.replaceChildren(
        h(
          "p",
          { class: "help" },
          "This browser keeps no files for pages, or not at this address. Choose files of your own below.",
        ),
      );
    } else {
      this.#list(this.#set, recommended, false);
    }
    const others = models.filter((one) => !one.recommended);
    show(this.#others, available === true && others.length > 0);
    this.#list(this.#others.lastElementChild, others, true);
    this.#offer(available === true ? recommended : []);
    this.#usage();
  }

  /** Rows are kept while nothing about them changed: whoever is at a button of theirs stays there. */
  #list(element, models, single) {
    const rows = models.map((model) => {
      const key = JSON.stringify([
        model,
        model.file?.size,
        Boolean(this.#downloads.running),
        this.#sure === model.name,
      ]);
      const kept = this.#rows.get(model.name);
      if (kept?.key === key) return kept.row;
      const row = this.#row(model, single);
      this.#rows.set(model.name, { key, row });
      return row;
    });
    if (rows.length !== element.children.length || rows.some((row, i) => row !== element.children[i]))
      element.replaceChildren(...rows);
  }

  #row(model, single) {
    const { name, role, repo, licence, nonCommercial, file, part } = model;
    const state = file
      ? `here, ${bytes(file.size)}`
      : part
        ? `${bytes(part.bytes)} of ${bytes(part.total)} here`
        : model.bytes
          ? `about ${bytes(model.bytes)}`
          : "";
    const link = h("a", { href: `https://huggingface.co/${repo}`, rel: "noreferrer", target: "_blank" }, repo);
    const button = (text, label, act) =>
      h(
        "button",
        {
          type: "button",
          class: "link",
          "aria-label": label,
          disabled: Boolean(this.#downloads.running),
          onclick: act,
        },
        text,
      );
    const actions = [];
    if (single && !file)
      actions.push(button(part ? "Resume" : "Download", `Download ${name}`, () => this.#downloads.download([name])));
    if (single && file)
      actions.push(
        button("Use", `Use ${name}`, () => this.#container.dispatchEvent(new CustomEvent("use", { detail: model }))),
      );
    if (single && (file || part)) actions.push(button("Remove", `Remove ${name}`, () => this.#forget([model])));
    return h(
      single ? "li" : "div",
      { class: "store-row" },
      h("div", { class: "store-name" }, h("strong", {}, role), h("span", { class: "quiet" }, state)),
      h(
        "p",
        { class: "help" },
        "from ",
        link,
        `; licence: ${licence}${nonCommercial ? " (not for commercial use)" : ""}`,
      ),
      actions.length > 0 && h("div", { class: "row" }, ...actions),
    );
  }

  /** What can be done with the recommended set now. */
  #offer(set) {
    const { running } = this.#downloads;
    const wanted = missing(set);
    const [here, left] = [arrived(set), total(wanted) - arrived(wanted)];
    const key = JSON.stringify([Boolean(running), names(wanted), here, left, this.#sure]);
    if (this.#actions.dataset.key === key) return;
    const focused = this.#actions.contains(document.activeElement);
    this.#actions.dataset.key = key;
    const button = (text, act, look = "plain") => h("button", { type: "button", class: look, onclick: act }, text);
    const buttons = [];
    if (!running && wanted.length > 0) {
      const text =
        arrived(wanted) > 0 ? `Resume, ${bytes(left)} left` : left > 0 ? `Download, about ${bytes(left)}` : "Download";
      buttons.push(button(text, () => this.#downloads.download(names(set)), "primary"));
    }
    if (!running && here > 0 && this.#sure !== "set")
      buttons.push(
        button(`Remove, frees ${bytes(here)}`, () => {
          this.#sure = "set";
          this.#update();
        }),
      );
    if (!running && here > 0 && this.#sure === "set") {
      buttons.push(button("Remove them", () => this.#forget(set)));
      buttons.push(
        button("Keep them", () => {
          this.#sure = null;
          this.#update();
        }),
      );
    }
    this.#actions.replaceChildren(...buttons);
    if (focused) buttons.at(-1)?.focus();
  }

  #usage() {
    const { available, persisted, models } = this.#downloads;
    const here = arrived(models);
    const kept = persisted
      ? "The browser keeps them until you remove them."
      : "The browser may remove them when the disk is full.";
    const words =
      here > 0 ? `Models use ${bytes(here)} here. ${kept}` : "They stay in this browser; nothing of yours is sent.";
    this.#used.textContent = available ? words : "";
  }
}

/** The bar, what it says, and its buttons. */
function progress(pause, cancel) {
  const bar = h("progress", { max: 1, "aria-label": "Download" });
  const status = h("p", { class: "plan", role: "status" });
  const details = h("p", { class: "quiet" });
  const button = (text, onclick) => h("button", { type: "button", class: "plain", onclick }, text);
  const pausing = button("Pause", pause);
  const element = h(
    "div",
    { class: "store-progress", hidden: true },
    status,
    bar,
    details,
    h("div", { class: "row" }, pausing, button("Cancel and remove", cancel)),
  );
  const say = (text) => status.textContent !== text && (status.textContent = text);
  return {
    element,
    show: (running) => {
      const appeared = running && element.hidden;
      const focused = appeared && document.activeElement?.closest(".row")?.parentElement === element.parentElement;
      show(element, running !== null);
      if (!running) return;
      if (focused) pausing.focus();
      const { state, name, bytes: here, total, speed, left } = running;
      say(WAITING[state] ?? `Downloading ${name}`);
      if (total > 0 && state !== "waiting") bar.value = here / total;
      else bar.removeAttribute("value");
      const parts = [total > 0 && `${bytes(here)} of ${bytes(total)}`];
      if (speed) parts.push(`${bytes(speed)}/s`, `about ${duration(left)} left`);
      details.textContent = parts.filter(Boolean).join(" · ");
    },
  };
}
