// The page's side of the worker that owns the engine: a question, an answer, and events in between.

/**
 * The page's policy, of where may be connected to, does not bind a worker that has an address of its own; one made of a blob inherits it.
 */
const startWorker = () => {
  const address = new URL("../worker.js", import.meta.url).href;
  const blob = new Blob([`import ${JSON.stringify(address)};`], { type: "text/javascript" });
  const url = URL.createObjectURL(blob);
  const worker = new Worker(url, { type: "module", name: "engine" });
  // It has begun when it first says something.
  worker.addEventListener("message", () => URL.revokeObjectURL(url), { once: true });
  return worker;
};

/** What WebAssembly says when the engine has broken down inside: nothing that it holds can be trusted any more. */
const FATAL = /\bunreachable\b|out of bounds|null function|stack size exceeded|recursive use of an object/;

/** Why the worker is gone, and what the engine said before (`said`). */
export class EngineStopped extends Error {
  constructor(reason, said) {
    super(reason);
    this.said = said;
  }
}

/** Tells of the engine's events by `event` (in `detail`), and by `stopped` when the worker has died. */
export class Engine extends EventTarget {
  #start;
  #worker;
  #next = 0;
  #pending = new Map();
  /** What the engine breaks down of, in its own words. */
  #said = "";
  /** Questions wait for each other: the engine does one thing at a time. */
  #queue = Promise.resolve();

  constructor(start = startWorker) {
    super();
    this.#start = start;
    this.#begin();
  }

  /** Ask, after all that was asked before. */
  ask(name, argument, transfer = []) {
    const answer = this.#queue.then(() => this.#send(name, argument, transfer));
    this.#queue = answer.catch(() => {});
    return answer;
  }

  /** Ask at once, whatever else is going on. */
  askNow(name, argument) {
    return this.#send(name, argument, []);
  }

  /** End the worker, whatever it does, and start another. */
  restart(reason = "the engine was stopped") {
    this.#worker.terminate();
    this.#fail(reason);
    this.#begin();
  }

  #begin() {
    const worker = this.#start();
    this.#worker = worker;
    this.#said = "";
    worker.addEventListener("message", ({ data }) => {
      if (worker !== this.#worker) return;
      if (data.event?.event === "lost") {
        this.#died(data.event.message);
        return;
      }
      if (data.event?.event === "panic") {
        this.#said = data.event.message;
        return;
      }
      if (data.event) {
        this.dispatchEvent(new CustomEvent("event", { detail: data.event }));
        return;
      }
      const call = this.#pending.get(data.id);
      if (!call) return;
      this.#pending.delete(data.id);
      if (FATAL.test(data.error)) {
        call.reject(new EngineStopped(data.error, this.#said));
        this.#died(data.error);
      } else if ("error" in data) {
        call.reject(Object.assign(new Error(String(data.error)), { report: data.report ?? null }));
      } else call.resolve(data.value);
    });
    this.#watch(worker);
    // worker.js or a module of its cannot be loaded, or nobody caught an error in it: it is not to be trusted any more.
    worker.addEventListener("error", (event) => {
      if (worker !== this.#worker) return;
      event.preventDefault();
      this.#died(event.message || "the engine could not be loaded");
    });
  }

  /** A worker that is killed says nothing, but what it has locked becomes free. */
  async #watch(worker) {
    if (!navigator.locks) return;
    const lock = `clarifier-live-${crypto.randomUUID()}`;
    try {
      await this.#send("live", lock, []);
      await navigator.locks.request(lock, () => {});
    } catch {
      // Its death has been noticed otherwise.
      return;
    }
    if (worker === this.#worker) this.#died("it was ended from outside");
  }

  #died(reason) {
    this.#fail(reason);
    this.dispatchEvent(new CustomEvent("stopped", { detail: reason }));
  }

  #fail(reason) {
    const calls = [...this.#pending.values()];
    this.#pending.clear();
    for (const call of calls) call.reject(new EngineStopped(reason, this.#said));
  }

  #send(name, argument, transfer) {
    return new Promise((resolve, reject) => {
      const id = this.#next++;
      this.#pending.set(id, { resolve, reject });
      this.#worker.postMessage({ id, name, args: argument === undefined ? [] : [argument] }, transfer);
    });
  }
}
