// The program, to compare the page's results with.
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
export const root = fileURLToPath(new URL("../..", import.meta.url));
export const built = join(process.env.CARGO_TARGET_DIR ?? join(root, "target"), "release");
export const fixtures = join(root, "tests/fixtures");
/** The page as it is built. */
export const dist = process.env.DIST ?? join(root, "dist");

/** A folder with the tiny weights, for what the program makes too; `{ path, enlarge, remove }`. */
export async function workshop() {
  const path = await mkdtemp(join(tmpdir(), "clarifier-browser-"));
  await run(join(built, "browser-models"), [path]);
  /** The program's result, as the name of a file in the folder. */
  async function enlarge(input, settings, ...options) {
    const [output, json] = [`${settings.name}.png`, join(path, `${settings.name}.json`)];
    await writeFile(json, JSON.stringify(settings.values));
    const args = [
      "upscale",
      input,
      "-o",
      join(path, output),
      "--settings",
      json,
      "--device",
      "cpu",
      "--seed",
      "7",
      ...options,
    ];
    await run(join(built, "clarifier"), args);
    return output;
  }
  return { path, enlarge, remove: () => rm(path, { recursive: true }) };
}
