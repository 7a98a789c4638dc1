// One model's file: resumed where it was cut off, checked, then given its name. The twin of the program's `store/download.rs`.
import { bytes as inWords } from "../lib/text.js";
import { Changed, Passing, bytes, lookUp } from "./hub.js";

/** Bytes that are asked for at once: what is lost where a connection ends without a word, and what a redirect is asked for. */
const CHUNK = 32 << 20;
/** Bytes that are hashed at once. */
const PIECE = 4 << 20;
/** How often a transfer that brought nothing is taken up again. */
const ATTEMPTS = 5;
/** Milliseconds before it is; each further time twice as long. */
const PAUSE = 500;
/** A server may ask for more patience than that, but not for any. */
const LONGEST_PAUSE = 60_000;

const KEPT = "what has arrived is kept, and the download goes on from there";

/** The end of `ms` milliseconds, or of all, if the user does not want to wait. */
const wait = (ms, signal) =>
  new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const timer = setTimeout(resolve, ms);
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    signal.addEventListener("abort", stop, { once: true });
  });

/** Do it, again and again while the trouble passes and `advanced` says that it is not for nothing. */
export async function patiently(act, signal, advanced = () => false) {
  for (let failures = 0; ;) {
    try {
      return await act();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof Passing)) throw error;
      failures = advanced() ? 1 : failures + 1;
      if (failures >= ATTEMPTS) throw error;
      await wait(Math.min(Math.max(error.wait, PAUSE * 2 ** (failures - 1)), LONGEST_PAUSE), signal);
    }
  }
}

/** The part on the disk, with the hash of what is in it. */
class Part {
  #handle;
  #newHash;
  #hash;
  at = 0;

  constructor(handle, newHash) {
    this.#handle = handle;
    this.#newHash = newHash;
    this.#hash = newHash();
  }

  /** Take account of what is there; every piece is another task, so that the worker hears of a pause. */
  async reread(size, signal, tell) {
    const length = this.#handle.getSize();
    if (length > size) {
      this.restart();
      return;
    }
    const buffer = new Uint8Array(PIECE);
    while (this.at < length) {
      const read = this.#handle.read(buffer, { at: this.at });
      if (read === 0) break;
      this.#hash.update(buffer.subarray(0, read));
      this.at += read;
      tell("checking", this.at);
      await wait(0, signal);
    }
  }

  append(piece) {
    let written = 0;
    try {
      written = this.#handle.write(piece, { at: this.at });
    } finally {
      // A piece that is there in part would not be in the hash.
      if (written < piece.length) this.#handle.truncate(this.at);
    }
    if (written < piece.length) throw new DOMException("full", "QuotaExceededError");
    this.#hash.update(piece);
    this.at += piece.length;
  }

  restart() {
    this.#handle.truncate(0);
    this.at = 0;
    this.#hash.free();
    this.#hash = this.#newHash();
  }

  digest() {
    const hash = this.#hash;
    this.#hash = this.#newHash();
    return hash.digest();
  }

  flush() {
    this.#handle.flush();
  }

  close() {
    this.#hash.free();
    this.#handle.close();
  }
}

/**
 * Have `model` at its `place`: `remote` is what the hub says of it, `newHash()` an engine's `Hash`, `tell(state, bytes)` hears how far it
 * is: `checking` what is here, `receiving`.
 */
export async function download(model, place, remote, { hub, newHash, signal, tell }) {
  let state = await place.state();
  if (state?.hash !== remote.hash || state.size !== remote.size) {
    await place.clear();
    state = { hash: remote.hash, size: remote.size, etag: null, whole: false };
    await place.keepState(state);
  }
  const part = new Part(await place.openPart(), newHash);
  let hash;
  try {
    await part.reread(remote.size, signal, tell);
    await fill(part, model, { place, remote, state, hub, signal, tell });
    part.flush();
    hash = part.digest();
  } catch (error) {
    if (error.name === "QuotaExceededError") {
      const missing = inWords(remote.size - part.at);
      throw new Error(`the browser's storage is full: ${missing} more are needed. Make room on the disk; ${KEPT}`);
    }
    if (error instanceof Passing) throw new Error(`${error.message}; ${KEPT}`);
    throw error;
  } finally {
    part.close();
  }
  if (hash !== remote.hash) {
    await place.clear();
    throw new Error(`what arrived is damaged (SHA-256 ${hash}, not ${remote.hash}), and was deleted; try again`);
  }
  await place.publish();
}

async function fill(part, model, { place, remote, state, hub, signal, tell }) {
  let before = part.at;
  const advanced = () => {
    const more = part.at > before;
    before = part.at;
    return more;
  };
  while (part.at < remote.size) await patiently(() => next(), signal, advanced);

  async function next() {
    const start = part.at;
    const end = Math.min(start + CHUNK, remote.size);
    const take = (piece) => {
      part.append(piece);
      tell("receiving", part.at);
    };
    try {
      await bytes(remote, model, { start, end, etag: state.etag, signal, tagged: know, take });
    } catch (error) {
      if (!(error instanceof Changed)) throw error;
      await settle(error);
    } finally {
      part.flush();
    }
  }

  async function know(etag) {
    if (etag === state.etag) return;
    state.etag = etag;
    await place.keepState(state);
  }

  /** Another file, or another server with another way of naming the same? The hub knows. */
  async function settle(changed) {
    const now = await lookUp(hub, model, signal);
    if (now.hash !== remote.hash || now.size !== remote.size) {
      Object.assign(remote, now);
      Object.assign(state, { hash: now.hash, size: now.size, etag: null });
      part.restart();
      await place.keepState(state);
    } else if (changed.etag) {
      await know(changed.etag);
    } else {
      throw new Passing(changed.message);
    }
  }
}
