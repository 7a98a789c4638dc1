// Whether this GPU computes right: what starts the self-test, how far it is, what it found, and the report of it.
import { rows, sentence } from "../lib/check.js";
import { copy } from "../lib/clipboard.js";
import { h, show, uniqueId } from "../lib/dom.js";
import { download } from "../lib/files.js";
import { bytes } from "../lib/text.js";

/** After this long a cancelled check that still goes on may be ended by force. */
const PATIENCE_MS = 6000;

const button = (text, onclick, look = "plain") => h("button", { type: "button", class: look, onclick }, text);

/** Tells by `start` (detail: `{ quick }`), `cancel` and `force`. */
export class CheckPanel {
  #check;
  #start;
  #levels = [];
  #idle;
  #now = h("p", { class: "quiet" });
  #bar = h("progress", { max: 1, "aria-label": "Check" });
  #cancel;
  #force;
  #busy;
  #timer = 0;
  #outcome = h("p", { class: "plan", role: "status" });
  #found = h("div", { class: "check-found" });
  #report;
  #enabled = false;

  constructor(container, check) {
    this.#check = check;
    const fire = (name, detail) => container.dispatchEvent(new CustomEvent(name, { detail }));
    this.#start = button("Check this GPU", () => fire("start", { quick: this.#levels[0].checked }), "primary");
    this.#cancel = button("Cancel", () => this.#stop(() => fire("cancel")));
    this.#force = button("End it by force (models are loaded again)", () => fire("force"));
    this.#idle = h("div", { class: "check-idle" }, this.#choice(), h("div", { class: "row" }, this.#start));
    this.#busy = h(
      "div",
      { class: "check-busy", hidden: true },
      this.#bar,
      this.#now,
      h("div", { class: "row" }, this.#cancel, this.#force),
    );
    this.#report = new ReportArea();
    container.append(
      h(
        "p",
        { class: "help" },
        "Computes each of the engine's kernels on the GPU and on the processor, and compares the results with what they have to be. Nothing is sent.",
      ),
      this.#idle,
      this.#busy,
      this.#outcome,
      this.#report.element,
      this.#found,
    );
    check.addEventListener("change", () => this.#update());
    this.#update();
  }

  /** Whether it can be started now. */
  set enabled(enabled) {
    this.#enabled = enabled;
    this.#start.disabled = !enabled;
  }

  /** Whether there is a GPU; else it is the processor alone that is checked. */
  set gpu(present) {
    this.#start.textContent = present ? "Check this GPU" : "Check the processor";
  }

  /** How the last one ended, where there is no report to say it. */
  set outcome(text) {
    this.#outcome.textContent = text;
  }

  #choice() {
    const name = uniqueId("level");
    const help = h("p", { class: "help" });
    const level = (label, about) => {
      const input = h("input", { type: "radio", name });
      input.addEventListener("change", () => (help.textContent = about));
      this.#levels.push(input);
      return h("label", {}, input, h("span", {}, label));
    };
    const quick = "Small and awkward shapes: a minute or two.";
    const full = "Also the real shapes of Stable Diffusion at 512 × 512 pixels: many minutes on a slow machine.";
    const choices = h(
      "div",
      { class: "choices", role: "radiogroup", "aria-label": "How much is checked" },
      level("Quick", quick),
      level("Full", full),
    );
    this.#levels[0].checked = true;
    help.textContent = quick;
    return h("div", {}, choices, help);
  }

  #stop(tell) {
    this.#cancel.disabled = true;
    this.#cancel.textContent = "Stopping …";
    this.#timer = setTimeout(() => show(this.#force, true), PATIENCE_MS);
    tell();
  }

  #update() {
    const { running, parts, report, share } = this.#check;
    this.#switch(running);
    if (share === null) this.#bar.removeAttribute("value");
    else this.#bar.value = share;
    const current = parts.find(({ begun }) => begun)?.begun;
    this.#now.textContent = current ? `${current.kernel}, ${current.precision}, ${current.shape}` : "Beginning …";
    this.#found.replaceChildren(...parts.filter(known).map((part, i) => found(part, report?.adapters[i])));
    this.#report.show(report);
    if (report) {
      const right = report.adapters.every(({ passed }) => passed);
      this.#outcome.textContent = right ? "All of it computes right." : "Not all of it computes right: see below.";
    }
  }

  #switch(running) {
    if (this.#busy.hidden === !running) return;
    const focused = (running ? this.#idle : this.#busy).contains(document.activeElement);
    clearTimeout(this.#timer);
    show(this.#idle, !running);
    show(this.#busy, running);
    show(this.#force, false);
    this.#cancel.disabled = false;
    this.#cancel.textContent = "Cancel";
    if (running) this.#outcome.textContent = "";
    this.#start.disabled = !this.#enabled;
    if (focused) (running ? this.#cancel : this.#start).focus({ preventScroll: true });
  }
}

/** Whether there is anything to show of a device. */
const known = ({ planned, cases, failure }) => planned > 0 || cases.length > 0 || failure !== null;

/** What was found of a device; `outcome` is the report's, `{ name, passed }`, once there is one. */
function found(part, outcome) {
  const { device, adapter, cases, failure } = part;
  const name = outcome?.name ?? adapter?.name ?? (device === "cpu" ? "CPU" : "GPU");
  const seconds = cases.reduce((sum, one) => sum + one.seconds, 0);
  const verdict = outcome?.passed ? "Computes right" : "Does not compute right";
  const told = cases.filter(({ verdict, note }) => verdict !== "ok" || note);
  return h(
    "section",
    { "aria-label": name },
    h("h3", {}, name),
    adapter && h("p", { class: "help" }, limits(adapter)),
    outcome &&
      h(
        "p",
        { class: "check-verdict", "data-right": String(outcome.passed) },
        `${verdict}: ${cases.length} cases in ${Math.round(seconds)} s`,
      ),
    (told.length > 0 || failure) &&
      h(
        "ul",
        { class: "check-told" },
        ...told.map((one) => h("li", { class: one.verdict === "ok" ? "quiet" : "problem" }, sentence(one))),
        failure && h("li", { class: "problem" }, `${failure.charAt(0).toUpperCase()}${failure.slice(1)}.`),
      ),
    cases.length > 0 && table(rows(cases), name),
  );
}

function limits(adapter) {
  const kind = adapter.kind === "other" ? "" : `${adapter.kind}, `;
  const f16 = adapter.shader_f16 ? "f16" : "no f16";
  return `${kind}${adapter.api}; buffers ${bytes(adapter.max_buffer)}, bindings ${bytes(adapter.max_binding)}, ${adapter.max_storage_buffers} storage buffers, ${adapter.max_invocations} invocations, ${bytes(adapter.workgroup_memory)} workgroup memory, ${f16}`;
}

/** Speed has a column only where any was measured. */
function table(rows, name) {
  const timed = rows.some(({ gflops }) => gflops !== null);
  const halves = rows.some(({ precision }) => precision === "f16");
  const number = (value, digits) => (value === null ? "–" : value.toFixed(digits));
  const head = (text) => h("th", { scope: "col" }, text);
  const line = ({ kernel, precision, error, gflops, bad }) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, kernel, halves && h("span", { class: "quiet" }, ` ${precision}`)),
      h("td", {}, number(error, 3)),
      timed && h("td", {}, gflops === null ? "" : number(gflops, 1)),
      h("td", { class: bad > 0 ? "problem" : "" }, bad > 0 ? `${bad} bad` : "ok"),
    );
  return h(
    "table",
    { class: "check-table", "aria-label": `Kernels on ${name}` },
    h("thead", {}, h("tr", {}, head("Kernel"), head("Error / tolerance"), timed && head("GFLOP/s"), head("Verdict"))),
    h("tbody", {}, ...rows.map(line)),
  );
}

/** The report as the program writes it, to copy and to save. */
class ReportArea {
  #report = null;
  #area;
  #status = h("p", { class: "quiet", role: "status" });
  element;

  constructor() {
    const id = uniqueId("report");
    this.#area = h("textarea", { id, class: "code check-report", rows: 8, readonly: true, wrap: "off" });
    const take = (what) => async () => {
      this.#area.value = this.#report.text;
      this.#status.textContent = await copy(this.#report[what], this.#area, "The report");
    };
    const keep = (what, name, type) => () => {
      download(new Blob([this.#report[what]], { type }), name);
      this.#status.textContent = `Saved as ${name}.`;
    };
    this.element = h(
      "div",
      { class: "check-report-part", hidden: true },
      h("label", { class: "label", for: id }, "Report, to attach to a bug report"),
      this.#area,
      h(
        "div",
        { class: "row" },
        button("Copy", take("text")),
        button("Save …", keep("text", "clarifier-selftest.txt", "text/plain")),
        button("Copy as JSON", take("json")),
        button("Save as JSON …", keep("json", "clarifier-selftest.json", "application/json")),
      ),
      h("p", { class: "help" }, "The same as the program's selftest prints, and writes with --json."),
      this.#status,
    );
  }

  show(report) {
    if (report === this.#report) return;
    this.#report = report;
    this.#area.value = report?.text ?? "";
    this.#status.textContent = "";
    show(this.element, report !== null);
  }
}
