// The service worker: keeps the page's own files, so that it works without a connection. Models and other origins are not its
// business. What belongs to this version stands in shell.js (scripts/web-shell); a change there is a new version to the browser.
// SHELL is kept at once, LATER (large files that not every visit needs) when it is first asked for.
importScripts("shell.js");

/** Content by its hash: what two versions share is fetched and kept once, and no version sees another's files. */
const CACHE = `clarifier-shell:${self.registration.scope}`;
const keyOf = (hash) => new URL(`?sha256=${hash}`, self.registration.scope).href;

/** The path of an address below this worker's folder, and null for all else. */
function pathOf(address) {
  const url = new URL(address);
  const scope = new URL(self.registration.scope);
  if (url.origin !== scope.origin || !url.pathname.startsWith(scope.pathname)) return null;
  return decodeURIComponent(url.pathname.slice(scope.pathname.length)) || "index.html";
}

const hashOf = (path) =>
  [self.SHELL, self.LATER].find((list) => path !== null && Object.hasOwn(list, path))?.[path] ?? null;

const base64 = (hex) => btoa(String.fromCharCode(...hex.match(/../g).map((byte) => parseInt(byte, 16))));

async function keep(cache, path, hash) {
  if (await cache.match(keyOf(hash))) return;
  // Servers know the first page by the folder's name; some send its own name there.
  const url = new URL(path === "index.html" ? "./" : path, self.registration.scope);
  // What is not of this version, say because the server is just being updated, must not be kept as if it were.
  const answer = await fetch(url, { cache: "no-cache", integrity: `sha256-${base64(hash)}` });
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  // A copy: one that came by a redirect cannot be given to a visit.
  await cache.put(keyOf(hash), new Response(answer.body, { headers: answer.headers }));
}

/** Keep what a page is just being given, so that it comes once; only if it is of this version. */
async function keepCopy(answer, hash) {
  try {
    const bytes = await answer.arrayBuffer();
    const found = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    if (btoa(String.fromCharCode(...found)) !== base64(hash)) return;
    const cache = await caches.open(CACHE);
    await cache.put(keyOf(hash), new Response(bytes, { headers: answer.headers }));
  } catch {
    // The page stopped it, or there is no room: it is asked for again.
  }
}

self.addEventListener("install", (event) => {
  const all = async () => {
    const cache = await caches.open(CACHE);
    await Promise.all(Object.entries(self.SHELL).map(([path, hash]) => keep(cache, path, hash)));
  };
  event.waitUntil(all());
});

self.addEventListener("activate", (event) => {
  const tidy = async () => {
    const cache = await caches.open(CACHE);
    const wanted = new Set([...Object.values(self.SHELL), ...Object.values(self.LATER)].map(keyOf));
    for (const { url } of await cache.keys()) if (!wanted.has(url)) await cache.delete(url);
    await self.clients.claim();
  };
  event.waitUntil(tidy());
});

self.addEventListener("message", (event) => {
  const { data } = event;
  // The user wants the new version.
  if (data === "take over") self.skipWaiting();
  // The page asked for it before there was a service worker to see that.
  const hash = hashOf(data.keep ?? null);
  if (hash) event.waitUntil(caches.open(CACHE).then((cache) => keep(cache, data.keep, hash)));
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const path = request.method === "GET" ? pathOf(request.url) : null;
  const hash = hashOf(path);
  if (hash === null) return;
  const answer = async () => {
    const kept = await caches.match(keyOf(hash), { cacheName: CACHE });
    if (kept) return kept;
    // The browser may throw away what it keeps.
    const fetched = await fetch(request);
    if (fetched.ok && Object.hasOwn(self.LATER, path)) event.waitUntil(keepCopy(fetched.clone(), hash));
    return fetched;
  };
  event.respondWith(answer());
});
