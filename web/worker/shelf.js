// Where downloaded models lie among the origin's own files: `models/<name>/`, with `<file>` once it is whole and right, until
// then `<file>.part`, and `state.json` about what it is a part of.

const FOLDER = "models";
const STATE = "state.json";
/** How often, and how many milliseconds apart, a file is asked for that a worker which just ended may still hold. */
const TRIES = 20;
const BETWEEN = 150;

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** What there is to be kept in, or null: old browsers and insecure addresses have no files of the origin's own. */
export async function shelf() {
  try {
    return await (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true });
  } catch {
    return null;
  }
}

/** Nothing where there is no such file or folder. */
async function orNull(found) {
  try {
    return await found;
  } catch (error) {
    if (error.name === "NotFoundError") return null;
    throw error;
  }
}

/** A file of the origin's own, open for reading and writing. */
async function open(folder, name) {
  const handle = await folder.getFileHandle(name, { create: true });
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await handle.createSyncAccessHandle();
    } catch (error) {
      if (error.name !== "NoModificationAllowedError" || attempt === TRIES) throw error;
      await wait(BETWEEN);
    }
  }
}

/** The place of one model. */
export class Place {
  #shelf;
  #model;

  constructor(shelf, model) {
    this.#shelf = shelf;
    this.#model = model;
  }

  /** The file's name, as the program has it too. */
  get #name() {
    return this.#model.file.split("/").at(-1);
  }

  get #part() {
    return `${this.#name}.part`;
  }

  async #folder(create = false) {
    return orNull(this.#shelf.getDirectoryHandle(this.#model.name, { create }));
  }

  /** The whole file, which reads what is on the disk and holds nothing in memory; or null. */
  async file() {
    const folder = await this.#folder();
    const whole = folder && (await orNull(folder.getFileHandle(this.#name)));
    if (whole) return whole.getFile();
    if (!(await this.state())?.whole) return null;
    const part = await orNull(folder.getFileHandle(this.#part));
    if (!part) return null;
    const file = await part.getFile();
    return new File([file], this.#name, { lastModified: file.lastModified });
  }

  /** What is known about the part: `{ hash, size, etag, whole }`, or null. */
  async state() {
    const folder = await this.#folder();
    const handle = folder && (await orNull(folder.getFileHandle(STATE)));
    if (!handle) return null;
    try {
      return JSON.parse(await (await handle.getFile()).text());
    } catch {
      // Cut off while it was written: nothing is known.
      return null;
    }
  }

  async keepState(state) {
    const handle = await open(await this.#folder(true), STATE);
    try {
      const bytes = new TextEncoder().encode(JSON.stringify(state));
      handle.truncate(0);
      if (handle.write(bytes, { at: 0 }) < bytes.length) throw new DOMException("full", "QuotaExceededError");
      handle.flush();
    } finally {
      handle.close();
    }
  }

  /** Bytes of the part that are here. */
  async partBytes() {
    const folder = await this.#folder();
    const handle = folder && (await orNull(folder.getFileHandle(this.#part)));
    return handle ? (await handle.getFile()).size : 0;
  }

  async openPart() {
    return open(await this.#folder(true), this.#part);
  }

  /** Make the part, which is whole and right, the file. */
  async publish() {
    const folder = await this.#folder(true);
    const part = await folder.getFileHandle(this.#part);
    try {
      await part.move(this.#name);
    } catch {
      // Browsers without `move`: a word says that it is whole, and copying would need the room twice.
      await this.keepState({ ...(await this.state()), whole: true });
    }
  }

  /** Remove all of it. */
  async clear() {
    await orNull(this.#shelf.removeEntry(this.#model.name, { recursive: true }));
  }
}
