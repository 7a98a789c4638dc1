// Folders behind HTTP, as a plain static server has them: no headers but types and what a test asks for.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";

const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

/**
 * Serve each of `folders`, the longest prefix that fits: `{ "/": place, "/files/": place }`, a place being a path or a
 * function of the file's name that gives its bytes, or throws. `missing` names files that are answered with 404.
 */
export async function serve(folders) {
  const prefixes = Object.keys(folders).sort((a, b) => b.length - a.length);
  const missing = new Set();
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    const prefix = prefixes.find((start) => path.startsWith(start));
    const name = normalize(`/${path.slice(prefix?.length ?? 0) || "index.html"}`).slice(1);
    try {
      if (prefix === undefined || missing.has(name)) throw new Error("as if it were not there");
      const place = folders[prefix];
      const body = typeof place === "function" ? await place(name) : await readFile(join(place, name));
      const type = TYPES[extname(name)] ?? "application/octet-stream";
      response.writeHead(200, { "content-type": type, "cache-control": "no-store" }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { origin: `http://127.0.0.1:${server.address().port}`, missing, close: () => server.close() };
}
