// The checkout behind HTTP, with the stand-in in the place of web/worker.js; also under a folder, as a page may lie in one.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, normalize } from "node:path";
import { describe } from "./describe.mjs";

const ROOT = new URL("../../", import.meta.url);
const TYPES = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".json": "application/json",
};
/** The page is also at this address. */
export const FOLDER = "/some/folder/";

/** `{ origin, close, worker }`; `worker` is what the stand-in's address says after `?`. */
export async function serve() {
  const state = { worker: "", missing: new Set() };
  const server = createServer(async (request, response) => {
    const path = new URL(request.url, "http://localhost").pathname.replace(FOLDER, "/");
    const name = normalize(path === "/" ? "/index.html" : path).slice(1);
    try {
      if (state.missing.has(name)) throw new Error("as if it were not there");
      let body;
      if (name === "web/worker.js") body = await stub(state.worker);
      else if (name === "tests/page/describe.json") body = JSON.stringify(state.description ?? describe());
      else body = await readFile(new URL(name, ROOT));
      response.writeHead(200, {
        "content-type": TYPES[extname(name)] ?? "application/octet-stream",
        "cache-control": "no-store",
      });
      response.end(body);
    } catch {
      response.writeHead(404);
      response.end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${server.address().port}`;
  return Object.assign(state, { origin, close: () => server.close() });
}

/** The stand-in reads its options from the address of its module; the page always asks for plain worker.js. */
async function stub(options) {
  const text = await readFile(new URL("mock-worker.js", import.meta.url), "utf8");
  return text.replace("new URL(self.location.href).searchParams", `new URLSearchParams(${JSON.stringify(options)})`);
}
