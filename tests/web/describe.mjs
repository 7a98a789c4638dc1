// The engine's description of its settings: what the stand-in answers, and tests know the settings by.
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { built } from "./native.mjs";

let found = null;

/** `{ version, fields, presets }`, as the worker answers `describe`. */
export function describe() {
  found ??= execFileSync(join(built, "browser-models"), ["--describe"], { encoding: "utf8" });
  return JSON.parse(found);
}
