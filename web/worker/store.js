// The worker's commands about models that the page downloads: what there is, have it, stop, forget it. README.md beside worker.js
// says what they take and answer.
import { bytes as inWords } from "../lib/text.js";
import { download, patiently } from "./download.js";
import { lookUp } from "./hub.js";
import { Place, shelf } from "./shelf.js";

const MODELS = new URL("../../assets/models.json", import.meta.url);
/** The engine reads no pickles in a browser. */
const READABLE = /\.safetensors$/;
/** Milliseconds between two notices of how far a download is. */
const PACE = 200;

/** What a download ends with that the user stopped. */
const PAUSED = "paused";
const NOWHERE = "this browser keeps no files for pages, or not at this address: models cannot be downloaded here";

let read = null;

/** `{ hub, models }`: the program's list, as far as the engine can read its files here. */
function offered() {
  read ??= (async () => {
    const answer = await fetch(MODELS);
    if (!answer.ok) throw new Error(`the list of models could not be loaded (${answer.status})`);
    const { hub, models } = await answer.json();
    return { hub, models: models.filter(({ file }) => READABLE.test(file)) };
  })();
  read.catch(() => (read = null));
  return read;
}

/** The models of these names, with their places, and the hub. */
async function chosen(names) {
  const found = await shelf();
  if (!found) throw new Error(NOWHERE);
  const { hub, models } = await offered();
  const one = (name) => {
    const model = models.find((one) => one.name === name);
    if (!model) throw new Error(`there is no model “${name}”`);
    return { model, place: new Place(found, model) };
  };
  return { hub, wanted: names.map(one) };
}

async function about(model, place) {
  const file = await place.file();
  const state = file ? null : await place.state();
  const { name, role, kind, repo, licence, non_commercial = false, recommended = false, megabytes = null } = model;
  return {
    ...{ name, role, kind, repo, licence, recommended, nonCommercial: non_commercial },
    file,
    part: state && { bytes: await place.partBytes(), total: state.size },
    bytes: file?.size ?? state?.size ?? (megabytes === null ? null : megabytes * 1e6),
  };
}

/** One at a time, in all tabs. */
const locked = (name, options, act) => navigator.locks.request(`clarifier-model:${name}`, options, act);

async function checkRoom(needed) {
  const { quota, usage } = await navigator.storage.estimate();
  if (quota - usage >= needed) return;
  throw new Error(
    `${inWords(needed)} are needed, and the browser has ${inWords(Math.max(quota - usage, 0))} left for this page; make room on the disk, or choose files of your own`,
  );
}

/**
 * The commands. `newHash` gives an engine's `Hash` once it is there, `post` tells the page of an event. They do not wait for the engine's other
 * work, and it does not wait for them.
 */
export function storeCommands({ ready, newHash, post }) {
  /** What is being downloaded: the names, and how to stop it. */
  const running = new Set();

  async function store() {
    const found = await shelf();
    const { hub, models } = await offered();
    const { quota = 0, usage = 0 } = (await navigator.storage?.estimate()) ?? {};
    const persisted = (await navigator.storage?.persisted?.()) ?? false;
    const nothing = (model) => about(model, { file: () => null, state: () => null });
    const listed = models.map((model) => (found ? about(model, new Place(found, model)) : nothing(model)));
    return { available: found !== null, hub, models: await Promise.all(listed), quota, usage, persisted };
  }

  async function have({ names }) {
    const stop = new AbortController();
    const entry = { names, stop: () => stop.abort(new Error(PAUSED)) };
    entry.done = fetchAll(names, stop.signal);
    running.add(entry);
    try {
      await entry.done;
    } finally {
      running.delete(entry);
    }
    return null;
  }

  async function fetchAll(names, signal) {
    await ready;
    const { hub, wanted } = await chosen(names);
    const missing = [];
    let [done, total] = [0, 0];
    for (const { model, place } of wanted) {
      if (await place.file()) continue;
      post({ event: "download", state: "asking", name: model.name, bytes: 0, total: 0 });
      const remote = await patiently(() => lookUp(hub, model, signal), signal);
      const same = (await place.state())?.hash === remote.hash;
      done += same ? await place.partBytes() : 0;
      total += remote.size;
      missing.push({ model, place, remote });
    }
    await checkRoom(total - done);
    let finished = 0;
    for (const { model, place, remote } of missing) {
      const tell = notices((state, bytes) =>
        post({ event: "download", state, name: model.name, bytes: finished + bytes, total }),
      );
      // Another tab may be at it: then this one waits, and finds it done.
      const act = async () => {
        if (!(await place.file())) await download(model, place, remote, { hub, newHash, signal, tell });
      };
      const now = await locked(model.name, { ifAvailable: true }, async (lock) => lock && (await act(), true));
      if (!now) {
        tell("waiting", 0);
        await locked(model.name, { signal }, act);
      }
      finished += remote.size;
    }
  }

  /** End the downloads of any of `names`; what has arrived stays. */
  async function pause({ names }) {
    const ended = [...running].filter((one) => one.names.some((name) => names.includes(name)));
    for (const { stop } of ended) stop();
    await Promise.allSettled(ended.map(({ done }) => done));
    return null;
  }

  async function forget({ names }) {
    await pause({ names });
    const { wanted } = await chosen(names);
    for (const { model, place } of wanted) {
      await locked(model.name, { ifAvailable: true }, async (lock) => {
        if (!lock) throw new Error(`another tab is downloading ${model.name}; pause it there first`);
        await place.clear();
      });
    }
    return null;
  }

  return { store, download: have, pause, forget };
}

/** `tell`, but not all the time: for a change of state, and then every PACE milliseconds. */
function notices(tell) {
  let [last, at] = ["", 0];
  return (state, bytes) => {
    const now = performance.now();
    if (state === last && now - at < PACE) return;
    [last, at] = [state, now];
    tell(state, bytes);
  };
}
