// The built page, changed as a test needs it, in a folder of its own.
import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { root } from "./native.mjs";

const run = promisify(execFile);
export const dist = process.env.DIST ?? join(root, "dist");

/** A copy of the page: `{ path, change(name, act), remove }`; `change` has `act` make a file's new text of its old. */
export async function stage() {
  const path = await mkdtemp(join(tmpdir(), "clarifier-page-"));
  await cp(dist, path, { recursive: true });
  return {
    path,
    change: async (name, act) => {
      const place = join(path, name);
      await writeFile(place, await act(await readFile(place, "utf8")));
      await run("bash", [join(root, "scripts/web-shell"), path]);
    },
    remove: () => rm(path, { recursive: true }),
  };
}

/** The page with another hub, which its policy allows, and this list of models there. */
export async function stageWithHub({ origin, origins }, models) {
  const page = await stage();
  await page.change("assets/models.json", () => JSON.stringify({ hub: origin, models }));
  await page.change("index.html", (text) =>
    text.replace("connect-src 'self'", `connect-src 'self' ${origins.join(" ")}`),
  );
  return page;
}
