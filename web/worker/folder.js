// The engine's own folder: files of the origin's that are opened beforehand, for the engine reads and writes without waiting.
// What they hold is the engine's affair (`PoolFolder` in crates/raster): their names here are only numbers.

/** The folder of the first page; pages beside it have `engine-2` and so on, which they take up again likewise. */
const NAME = "engine";
const MOST_PAGES = 16;
/** How long a worker that was ended, or a page that is being left, may still hold what it had. */
const PATIENCE_MS = 3000;
const AGAIN_MS = 50;
/** Files that hold nothing yet, for a run and its journal. */
const ROOM = 24;

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Take the lock `name` for as long as this worker lives; false if another has it. */
function take(name, options) {
  return new Promise((resolve, reject) => {
    navigator.locks
      .request(name, options, (lock) => {
        resolve(lock !== null);
        return lock && new Promise(() => {});
      })
      .catch((error) =>
        error.name === "TimeoutError" || error.name === "AbortError" ? resolve(false) : reject(error),
      );
  });
}

/** The name of a folder that no other page works in. */
async function ours() {
  // Mostly it is this page's own, from before it was loaded again.
  if (await take(`clarifier-${NAME}`, { signal: AbortSignal.timeout(PATIENCE_MS) })) return NAME;
  for (let page = 2; page <= MOST_PAGES; page += 1) {
    if (await take(`clarifier-${NAME}-${page}`, { ifAvailable: true })) return `${NAME}-${page}`;
  }
  throw new Error("too many pages are open");
}

/** Open `file` for reading and writing; one that a dying worker still holds is waited for. */
async function opened(file) {
  const until = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await file.createSyncAccessHandle();
    } catch (error) {
      if (error.name !== "NoModificationAllowedError" || performance.now() > until) throw error;
      await wait(AGAIN_MS);
    }
  }
}

/** `engine` has its files after the first `ready`, and room for more names after each. */
export class EngineFolder {
  #engine;
  #folder = null;
  #files = 0;
  #opening = null;
  /** What it is called, once it is open. */
  name = null;
  /** Why there is none: the browser keeps no files for this page (a private window, say). */
  missing = null;

  constructor(engine) {
    this.#engine = engine;
  }

  /** Resolves when all files are open, or it is known that there are none; does not fail. */
  ready() {
    this.#opening = (this.#opening ?? this.#open())
      .then(() => this.#refill())
      .catch((error) => {
        this.missing = error.message;
      });
    return this.#opening;
  }

  async #open() {
    const root = await navigator.storage.getDirectory();
    this.name = await ours();
    this.#folder = await root.getDirectoryHandle(this.name, { create: true });
    const left = [];
    for await (const [name, file] of this.#folder) {
      left.push(file);
      this.#files = Math.max(this.#files, Number(name) + 1);
    }
    this.#engine.add_files(await Promise.all(left.map(opened)));
  }

  async #refill() {
    if (this.missing !== null) return;
    const count = Math.max(0, ROOM - this.#engine.room());
    const fresh = Array.from({ length: count }, async () => {
      const file = await this.#folder.getFileHandle(String(this.#files++), { create: true });
      return file.createSyncAccessHandle();
    });
    if (count > 0) this.#engine.add_files(await Promise.all(fresh));
  }
}
