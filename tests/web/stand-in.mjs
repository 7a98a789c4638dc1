// The checkout behind HTTP, with a stand-in for the engine in the place of web/worker.js; also under a folder, as a page may lie in one.
import { readFile } from "node:fs/promises";
import { describe } from "./describe.mjs";
import { serve } from "./server.mjs";

const ROOT = new URL("../../", import.meta.url);
/** The page is also at this address. */
export const FOLDER = "/some/folder/";

/** As `serve`, and what the stand-in's address says after `?` (`worker`), and what it answers to `describe` (`description`). */
export async function serveStandIn() {
  const state = { worker: "", description: null };
  const file = async (name) => {
    if (name === "web/worker.js") return stub(state.worker);
    if (name === "tests/web/describe.json") return JSON.stringify(state.description ?? describe());
    return readFile(new URL(name, ROOT));
  };
  return Object.assign(state, await serve({ "/": file, [FOLDER]: file }));
}

/** The stand-in reads its options from the address of its module; the page always asks for plain worker.js. */
async function stub(options) {
  const text = await readFile(new URL("mock-worker.js", import.meta.url), "utf8");
  return text.replace("new URL(import.meta.url).searchParams", `new URLSearchParams(${JSON.stringify(options)})`);
}
