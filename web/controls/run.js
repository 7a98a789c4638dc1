// The plan before work, the button that starts it, and how far it is.
import { h, show } from "../lib/dom.js";
import { PHASES, VERBS } from "../lib/progress.js";
import { bytes, duration, size } from "../lib/text.js";

/** After this long a cancelled run that still goes on may be ended by force. */
const PATIENCE_MS = 6000;

/** Tells by `start`, `cancel` and `force`. */
export class Run {
  #container;
  #plan = h("p", { class: "plan" });
  #detail = h("p", { class: "quiet" });
  #action = h("button", { type: "button", class: "plain", hidden: true, onclick: () => this.#act() });
  #act = () => {};
  #hint = h("p", { class: "hint", hidden: true });
  #start;
  #cancel;
  #force;
  #idle;
  #busy;
  #status = h("p", { class: "plan", role: "status" });
  #left = h("p", { class: "quiet left" });
  #overall = bar("Whole run");
  #phases;
  #step = row("Step");
  #tile = row("Tile");
  #timer = 0;
  #percent = h("p", { class: "percent", "aria-hidden": "true" });

  constructor(container) {
    this.#container = container;
    const fire = (name) => () => container.dispatchEvent(new Event(name));
    this.#start = h(
      "button",
      { type: "button", class: "primary big", disabled: true, onclick: fire("start") },
      "Enlarge",
    );
    this.#cancel = h("button", { type: "button", class: "plain big", onclick: fire("cancel") }, "Cancel");
    this.#force = h(
      "button",
      { type: "button", class: "plain", hidden: true, onclick: fire("force") },
      "End it by force (models are loaded again)",
    );
    this.#idle = h(
      "div",
      { class: "idle" },
      h("div", {}, this.#plan, this.#detail, this.#action, this.#hint),
      this.#start,
    );
    this.#phases = h(
      "ol",
      { class: "phases", "aria-label": "Phases" },
      ...PHASES.map((phase) => h("li", { "data-phase": phase }, VERBS[phase])),
    );
    this.#busy = h(
      "div",
      { class: "busy", hidden: true },
      h("div", { class: "busy-head" }, this.#percent, h("div", {}, this.#status, this.#left), this.#cancel),
      this.#overall.element,
      this.#phases,
      h("div", { class: "rows" }, this.#step.element, this.#tile.element),
      this.#force,
    );
    container.append(this.#idle, this.#busy);
  }

  /** `plan` in a line, what else is to say, what to do about it (`[label, act]` or null), and whether there is anything to start. */
  offer({ plan, detail = "", action = null, label, ready }) {
    show(this.#action, action !== null);
    [this.#action.textContent, this.#act] = action ?? ["", () => {}];
    this.#plan.textContent = plan;
    this.#detail.textContent = detail;
    this.#start.textContent = label;
    this.#start.disabled = !ready;
    this.#busyNow(false);
  }

  /** What else could be done, in a sentence and a button for it: `{ text, label, act }`, or null. */
  set hint(hint) {
    show(this.#hint, hint !== null);
    const said = hint ? `${hint.text} ${hint.label ?? ""}` : "";
    if (!hint || this.#hint.dataset.said === said) return;
    this.#hint.dataset.said = said;
    const button = hint.label && h("button", { type: "button", class: "link", onclick: () => hint.act() }, hint.label);
    this.#hint.replaceChildren(hint.text, ...(button ? [" ", button] : []));
  }

  focus() {
    this.#start.focus({ preventScroll: true });
  }

  begin(text) {
    this.#status.textContent = text;
    this.#left.textContent = "";
    this.#percent.textContent = "0 %";
    this.#overall.set(null);
    this.#step.set(null);
    this.#tile.set(null);
    this.#mark(null);
    this.#cancel.disabled = false;
    this.#cancel.textContent = "Cancel";
    show(this.#force, false);
    this.#busyNow(true);
    this.#cancel.focus({ preventScroll: true });
  }

  /** Where a run is, as `Progress` has it. */
  progress(progress) {
    const { loading, phase, stage, stages, tile, step } = progress;
    if (loading) {
      this.#say(`Loading ${loading.network}`);
      this.#left.textContent = `${bytes(loading.bytes)} of ${bytes(loading.total)}`;
      this.#overall.set(loading.total ? loading.bytes / loading.total : null);
      return;
    }
    const per = Math.floor(progress.share * 100);
    this.#percent.textContent = `${per} %`;
    this.#overall.set(progress.share);
    const where = stages > 1 ? `Stage ${stage} of ${stages}: ` : "";
    const what = phase ? VERBS[phase] : "Beginning";
    this.#say(progress.width ? `${where}${what}, to ${size(progress)}` : what);
    this.#left.textContent = progress.left === null ? "Measuring the time …" : `About ${duration(progress.left)} left`;
    this.#mark(phase);
    this.#step.set(step ? [step.step, step.steps] : null);
    this.#tile.set(tile ? [tile.inStep, tile.each] : null);
  }

  /** The user wants it to end; it does soon. */
  cancelling() {
    this.#cancel.disabled = true;
    this.#cancel.textContent = "Stopping …";
    this.#timer = setTimeout(() => show(this.#force, true), PATIENCE_MS);
  }

  /** Only what changed: a screen reader reads every change. */
  #say(text) {
    if (this.#status.textContent !== text) this.#status.textContent = text;
  }

  #busyNow(busy) {
    clearTimeout(this.#timer);
    show(this.#idle, !busy);
    show(this.#busy, busy);
    this.#container.toggleAttribute("data-busy", busy);
  }

  #mark(phase) {
    const now = PHASES.indexOf(phase);
    [...this.#phases.children].forEach((item, i) => {
      item.dataset.state = i < now ? "done" : i === now ? "now" : "later";
      if (i === now) item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
    });
  }
}

/** A bar from 0 to 1; null means that nobody knows. */
function bar(label) {
  const element = h("progress", { max: 1, "aria-label": label });
  return {
    element,
    set: (share) => {
      if (share === null) element.removeAttribute("value");
      else element.value = share;
    },
  };
}

/** A line with a bar of its own, `Step 3 of 7`. */
function row(label) {
  const line = bar(label);
  const text = h("span", { class: "count" });
  const element = h("div", { class: "progress-row", hidden: true }, h("span", {}, label), line.element, text);
  return {
    element,
    set: (pair) => {
      show(element, pair !== null);
      if (!pair) return;
      line.set(pair[1] ? pair[0] / pair[1] : 0);
      text.textContent = `${pair[0]} of ${pair[1]}`;
    },
  };
}
