// The self-test from the page's side: one device after the other, heard of case by case. So a device that breaks down is a
// line of the report, as it is in the program, where each has a process of its own.
import { EngineStopped } from "./engine.js";
import { CANCELLED } from "./job.js";

/** A device of which nothing is heard for so long hangs. */
const SILENCE_MS = 5 * 60_000;
const SILENT = `nothing was heard of it for ${SILENCE_MS / 60_000} minutes`;

/** Tells by `change` of whatever is new. */
export class Check extends EventTarget {
  #engine;
  #revive;
  #timer = 0;
  #cancelled = false;
  running = false;
  /** Of each device, in the order of their turns: `{ device, adapter, planned, cases, begun, failure }`. */
  parts = [];
  /** The engine's report of it, `{ json, text, adapters: [{ name, passed }] }`, once all is done. */
  report = null;

  /**
   * `revive.restart(reason)` takes another worker in the place of one that hangs; `revive.ready()` is resolved when the one
   * that took the place of a dead one is ready, with whether it is.
   */
  constructor(engine, revive) {
    super();
    this.#engine = engine;
    this.#revive = revive;
    engine.addEventListener("event", ({ detail }) => this.#heard(detail));
  }

  /** Test the GPU, if `adapter` (what the engine answered to `adapter`) says that there is one, and the processor. */
  async run({ quick, adapter }) {
    this.#cancelled = false;
    this.running = true;
    this.report = null;
    const part = (device) => ({ device, adapter: null, planned: 0, cases: [], begun: null, failure: null });
    this.parts = (adapter.ok ? ["gpu", "cpu"] : ["cpu"]).map(part);
    try {
      for (const part of this.parts) await this.#test(part, quick);
      const parts = this.parts.map(({ device, adapter, cases, failure }) => ({ device, adapter, cases, failure }));
      const browser = adapter.ok ? navigator.userAgent : `${navigator.userAgent}; no WebGPU: ${adapter.cause}`;
      this.report = await this.#engine.ask("report", { quick, browser, parts });
    } catch (error) {
      this.parts = [];
      throw this.#cancelled ? new Error(CANCELLED) : error;
    } finally {
      this.running = false;
      this.#say();
    }
  }

  /** Stop after the case in work; `run` fails with "cancelled". */
  cancel() {
    this.#cancelled = true;
    this.#engine.askNow("cancel").catch(() => {});
  }

  /** How much is done of what is known to be planned, from 0 to 1; null as long as that is nothing. */
  get share() {
    const planned = this.parts.map(({ planned, cases, failure }) => Math.max(planned, cases.length, failure ? 1 : 0));
    // What has not begun will be about as much as what has.
    const known = Math.max(...planned);
    if (!(known > 0)) return null;
    const all = planned.reduce((sum, count) => sum + (count || known), 0);
    return this.parts.reduce((sum, { cases, failure }, i) => sum + (failure ? planned[i] : cases.length), 0) / all;
  }

  async #test(part, quick) {
    this.#current = part;
    this.#say();
    this.#listen();
    try {
      await this.#engine.ask("check", { device: part.device, quick });
    } catch (error) {
      if (this.#cancelled) throw error;
      fail(part, error);
      if (error instanceof EngineStopped && !(await this.#revive.ready())) throw error;
    } finally {
      clearTimeout(this.#timer);
      this.#current = null;
      part.begun = null;
    }
    if (this.#cancelled) throw new Error(CANCELLED);
  }

  /** The part that is being tested. */
  #current = null;

  #listen() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#revive.restart(SILENT), SILENCE_MS);
  }

  #heard({ event, adapter, planned, begin, done }) {
    const part = this.#current;
    if (!part) return;
    // Models that are loaded before are a sign of life too.
    this.#listen();
    if (event !== "check") return;
    // What was cancelled before it began has not heard of it.
    if (this.#cancelled) this.#engine.askNow("cancel").catch(() => {});
    if (adapter) part.adapter = adapter;
    if (planned) part.planned = planned;
    if (begin) part.begun = { ...begin, at: performance.now() };
    if (done) {
      part.begun = null;
      part.cases.push(done);
    }
    this.#say();
  }

  #say() {
    this.dispatchEvent(new Event("change"));
  }
}

/** Note what a device failed of, and at which case. */
function fail(part, error) {
  const { begun } = part;
  const said = error.said ? `, having said: ${error.said.split(/\s+/).join(" ")}` : "";
  const what = `${error.message}${said}`;
  if (!begun) {
    part.failure = `before the first case: ${what}`;
    return;
  }
  const { at, ...which } = begun;
  const stopped = error instanceof EngineStopped && !/\blost\b/.test(error.message);
  const verdict = error.message === SILENT ? "timed_out" : stopped ? "crashed" : "failed";
  const seconds = (performance.now() - at) / 1000;
  part.cases.push({ ...which, verdict, error: null, gflops: null, seconds, note: what });
  part.failure = "what comes after that was not tried";
}

/** A line for each kernel in a precision, all shapes together, in the order they ran. */
export function rows(cases) {
  const rows = new Map();
  const larger = (a, b) => (a === null ? b : b === null ? a : Math.max(a, b));
  for (const { kernel, precision, error, gflops, verdict } of cases) {
    const key = `${kernel} ${precision}`;
    const row = rows.get(key) ?? { kernel, precision, shapes: 0, error: null, gflops: null, bad: 0 };
    row.shapes += 1;
    row.error = larger(row.error, error);
    row.gflops = larger(row.gflops, gflops);
    row.bad += verdict === "ok" ? 0 : 1;
    rows.set(key, row);
  }
  return [...rows.values()];
}

const VERDICTS = {
  ok: "Right",
  wrong: "Wrong",
  not_a_number: "No number",
  failed: "Failed",
  crashed: "Crashed",
  timed_out: "Timed out",
};

/** A case that there is something to say of, in a sentence. */
export function sentence({ kernel, precision, shape, verdict, error, note }) {
  const by = verdict === "wrong" && error !== null ? ` by ${error.toFixed(1)} × its tolerance` : "";
  return `${VERDICTS[verdict]}${by}: ${kernel}, ${precision}, ${shape}: ${note}`;
}
