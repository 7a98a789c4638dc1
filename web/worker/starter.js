// The starter set: a file of the page's own, fetched when it is first wanted.
import { STARTER } from "../lib/redrawing.js";

const PATH = "assets/starter.safetensors";
/** Bytes after which it is told again how many there are. */
const STEP = 1 << 20;

export class StarterSet {
  #tell;
  #file = null;
  #stopping = null;

  /** `tell` takes events, as the engine tells them when it loads. */
  constructor(tell) {
    this.#tell = tell;
  }

  /** The same each time: what was loaded of it stays loaded. */
  async file() {
    this.#file ??= await this.#fetch();
    return this.#file;
  }

  /** Stop fetching. */
  cancel() {
    this.#stopping?.abort();
  }

  async #fetch() {
    this.#stopping = new AbortController();
    const { signal } = this.#stopping;
    try {
      const answer = await fetch(new URL(`../../${PATH}`, import.meta.url), { signal });
      if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
      // Recipes call it by the file's name.
      return new File(await this.#parts(answer), STARTER, { lastModified: 1 });
    } catch (error) {
      if (signal.aborted) throw new Error("cancelled");
      throw new Error(
        `the starter set did not come from this page's server (${error.message}): under Models turn redrawing off or take files of your own; whoever runs the server puts ${PATH} there`,
      );
    } finally {
      this.#stopping = null;
    }
  }

  async #parts(answer) {
    // The length of what is packed says nothing.
    const packed = answer.headers.has("content-encoding");
    const length = packed ? 0 : Number(answer.headers.get("content-length"));
    const parts = [];
    let [bytes, told] = [0, 0];
    const reader = answer.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return parts;
      parts.push(value);
      bytes += value.length;
      if (bytes < told + STEP) continue;
      told = bytes;
      this.#tell({ event: "load", network: "starter set", bytes, total: Math.max(length, bytes) });
    }
  }
}
