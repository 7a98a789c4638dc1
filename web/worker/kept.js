// The user's own files that a run needs again after a reload, kept beside the engine's journal: the picture, and the noise.

const PICTURE = "picture";
const NOISE = "noise";
/** Room that is left to the browser and to what else the page keeps. */
const SPARE = 64 << 20;

export class KeptFiles {
  #own;

  /** `own` is the engine's folder: each page has files of its own, as it has. */
  constructor(own) {
    this.#own = own;
  }

  /** Whether there is room for `bytes` more; a browser that does not say is trusted. */
  async hasRoom(bytes) {
    const { quota, usage } = (await navigator.storage.estimate?.()) ?? {};
    return quota === undefined || quota - usage > bytes + SPARE;
  }

  async keep({ picture, noise }) {
    await this.forget();
    await this.#write(PICTURE, picture);
    if (noise) await this.#write(NOISE, noise);
  }

  /** `{ picture, noise }`; null where there is none. */
  async files() {
    return { picture: await this.#read(PICTURE), noise: await this.#read(NOISE) };
  }

  async forget() {
    // Where the browser keeps no files there is nothing.
    if (this.#own.name === null) return;
    const root = await navigator.storage.getDirectory();
    await root.removeEntry(this.#name, { recursive: true }).catch(() => {});
  }

  get #name() {
    return `${this.#own.name}-run`;
  }

  async #folder(create) {
    const root = await navigator.storage.getDirectory();
    return root.getDirectoryHandle(this.#name, { create });
  }

  async #write(name, file) {
    const entry = await (await this.#folder(true)).getFileHandle(name, { create: true });
    const handle = await entry.createSyncAccessHandle();
    try {
      handle.truncate(0);
      let at = 0;
      for await (const chunk of chunks(file)) at += handle.write(chunk, { at });
      handle.flush();
    } finally {
      handle.close();
    }
  }

  async #read(name) {
    try {
      return await (await (await this.#folder(false)).getFileHandle(name)).getFile();
    } catch (error) {
      if (error.name === "NotFoundError") return null;
      throw error;
    }
  }
}

/** The file's bytes, never all at once. Not every browser can iterate over a stream. */
async function* chunks(file) {
  const reader = file.stream().getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}
