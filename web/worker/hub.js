// The hub's protocol: what a file is, and its bytes from some place on. The twin of the program's `store/http.rs`.

/** A connection that says nothing for this long is taken up again. */
const SILENCE_MS = 60_000;

/** A trouble that may be over in a moment. `wait`: milliseconds that the server asks for, if it does. */
export class Passing extends Error {
  constructor(message, wait = 0) {
    super(message);
    this.wait = wait;
  }
}

/** The server has another file than the part here is of, or may have: its tag or its size differ. */
export class Changed extends Error {
  constructor(etag = null) {
    super("the server sends another file than the hub states");
    this.etag = etag;
  }
}

function refusal(answer, { repo, file }) {
  const { status } = answer;
  const seconds = Number(answer.headers.get("retry-after"));
  const wait = Number.isFinite(seconds) ? seconds * 1000 : 0;
  if (status === 401 || status === 403)
    return new Error(
      `the hub asks for permission (${status}): accept the licence at ${repo}'s page, download ${file} there, and choose it as a file`,
    );
  if (status === 404) return new Error(`the hub has no ${file} in ${repo} (404)`);
  if (status === 416) return new Changed();
  if (status === 429) return new Passing("the hub has too many requests (429); try again in some minutes", wait);
  if (status === 408 || status >= 500) return new Passing(`the hub is in trouble (${status}); try again later`, wait);
  return new Error(`the hub answers ${status}`);
}

async function request(url, model, signal, headers = {}) {
  let answer;
  try {
    // Nothing goes into the browser's cache: it is kept here. No cookies, no address of this page.
    answer = await fetch(url, {
      signal,
      headers,
      cache: "no-store",
      credentials: "omit",
      referrerPolicy: "no-referrer",
    });
  } catch {
    if (signal.aborted) throw signal.reason;
    throw new Passing(`${new URL(url).host} does not answer; check the connection`);
  }
  if (answer.ok) return answer;
  answer.body?.cancel().catch(() => {});
  throw refusal(answer, model);
}

/** What the hub says about a model's file: `{ hash, size, url }`, the address at the commit that it speaks of. */
export async function lookUp(hub, model, signal) {
  const { repo, file } = model;
  const answer = await request(`${hub}/api/models/${repo}?blobs=true`, model, signal);
  const { sha, siblings } = await answer.json().catch(() => ({}));
  const found = Array.isArray(siblings) && siblings.find(({ rfilename }) => rfilename === file);
  if (!found) throw new Error(`the hub has no ${file} in ${repo}`);
  const { sha256: hash, size } = found.lfs ?? {};
  if (!/^[0-9a-f]{64}$/.test(hash) || !(Number.isSafeInteger(size) && size > 0) || !/^\w+$/.test(sha))
    throw new Error(`the hub does not state what ${file} in ${repo} is`);
  if (!hash.startsWith(model.sha256_start ?? ""))
    throw new Error(
      `the hub's ${file} has the hash ${hash}, its author's begins with ${model.sha256_start}: it is not the same file`,
    );
  return { hash, size, url: `${hub}/${repo}/resolve/${sha}/${file}` };
}

/**
 * Ask for the bytes from `start` to `end` (not with it) and give them to `take` as they come. A server that knows no parts sends all
 * of it from the first byte: what is here already is skipped, and the rest taken, to the file's end. `tagged` hears the
 * server's tag first, if there is one.
 *
 * Not with `If-Range`: that header would have the browser ask each server on the way for permission, which they do not give.
 * Instead the address names a commit, and tag and size are compared where the server lets a page see them.
 */
export async function bytes({ url, size }, model, { start, end, etag, signal, tagged, take }) {
  const silence = new AbortController();
  const both = AbortSignal.any([signal, silence.signal]);
  let timer = 0;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(new Passing("the server went silent")), SILENCE_MS);
  };
  heard();
  try {
    const answer = await request(url, model, both, { range: `bytes=${start}-${end - 1}` });
    try {
      const tag = answer.headers.get("etag");
      if (etag && tag && tag !== etag) throw new Changed(tag);
      checkRange(answer, start, size);
      if (tag) await tagged(tag);
      const partial = answer.status === 206;
      await read(answer.body, both, { skip: partial ? 0 : start, length: (partial ? end : size) - start, heard, take });
    } catch (error) {
      answer.body.cancel().catch(() => {});
      throw error;
    }
  } finally {
    clearTimeout(timer);
  }
}

function checkRange({ status, headers }, start, size) {
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get("content-range") ?? "");
  if (status !== 206 || !range) return;
  if (range[2] !== "*" && Number(range[2]) !== size) throw new Changed();
  if (Number(range[1]) !== start) throw new Error(`the server sends another part (${range[0]}) than asked for`);
}

async function read(body, signal, { skip, length, heard, take }) {
  const reader = body.getReader();
  let left = length;
  while (left > 0) {
    let piece;
    try {
      piece = await reader.read();
    } catch {
      if (signal.aborted) throw signal.reason;
      throw new Passing("the connection was cut off");
    }
    heard();
    if (piece.done) throw new Passing("the connection was cut off");
    const skipped = Math.min(skip, piece.value.length);
    skip -= skipped;
    const fresh = piece.value.subarray(skipped);
    if (fresh.length > left) throw new Changed();
    if (fresh.length > 0) take(fresh);
    left -= fresh.length;
  }
}
