// The engine's description of its settings, read from its sources: so that the page is tested with today's settings although
// no engine runs. What `Settings::describe()` answers is the truth; this only needs the same names, kinds and ranges.
import { readFileSync, readdirSync } from "node:fs";

const engine = new URL("../../crates/upscale/", import.meta.url);
const read = (path) => readFileSync(new URL(path, engine), "utf8");

/** `SgmUniform` to `sgm_uniform`, or without the `_`. */
const cased = (word, rule) =>
  rule === "snake_case" ? word.replace(/(?!^)([A-Z])/g, "_$1").toLowerCase() : word.toLowerCase();

/** Words of each enum, by its name. */
function enums(text) {
  const found = {};
  for (const [, rule, name, body] of text.matchAll(/rename_all = "(\w+)"\)\]\npub enum (\w+) \{\n(.*?)\n\}/gs)) {
    found[name] = [];
    let renamed = null;
    for (const line of body.split("\n").map((one) => one.trim())) {
      renamed = /rename = "([^"]+)"/.exec(line)?.[1] ?? renamed;
      const variant = /^([A-Z]\w*),$/.exec(line)?.[1];
      if (!variant) continue;
      found[name].push(renamed ?? cased(variant, rule));
      renamed = null;
    }
  }
  return found;
}

const number = (text) => Number(text.replaceAll("_", "").replace(/[iuf]\d+$/, ""));

/** `{ version, fields, presets }`, as the worker answers `describe`. */
export function describe() {
  const text = read("src/settings.rs");
  const choices = { ...enums(text), ...enums(read("src/settings/sampler.rs")) };
  const struct = /pub struct Settings \{\n(.*?)\n\}/s.exec(text)[1];
  const usual = /fn default\(\) -> Self \{\n\s+Self \{\n(.*?)\n\s+\}/s.exec(text)[1];
  const fields = [];
  let help = [];
  let range = null;
  for (const line of struct.split("\n").map((one) => one.trim())) {
    const limits = /min = ([^,]+), max = ([^)]+)\)/.exec(line);
    const field = /^pub (\w+): (\w+),$/.exec(line);
    if (line.startsWith("///")) help.push(line.slice(4));
    else if (limits) range = [number(limits[1]), number(limits[2])];
    else if (field) {
      const [, name, type] = field;
      fields.push({
        name,
        option: `--${name.replaceAll("_", "-")}`,
        range,
        help: help.join(" "),
        ...valueOf(type, name),
      });
      help = [];
      range = null;
    }
  }
  return { version: "0.0.0", fields, presets: presets() };

  function valueOf(type, name) {
    const given = new RegExp(`^\\s+${name}: (.*),$`, "m").exec(usual)[1];
    if (choices[type]) {
      const chosen = given.split("::")[1];
      const word = choices[type].find((one) => one.replaceAll("_", "") === chosen.toLowerCase());
      return { kind: "choice", default: word, choices: choices[type] };
    }
    if (type === "String") return { kind: "text", default: /^"(.*)"/.exec(given)?.[1] ?? "", choices: [] };
    if (type === "bool") return { kind: "switch", default: given, choices: [] };
    return { kind: type === "f64" ? "number" : "integer", default: given, choices: [] };
  }
}

/** The built-in presets, of which only lines `name = value` under `[settings]` are read. */
function presets() {
  return readdirSync(new URL("presets/", engine)).map((file) => {
    const text = read(`presets/${file}`);
    const [head, body] = text.split("[settings]");
    const settings = Object.fromEntries(
      [...body.matchAll(/^(\w+) = (.+)$/gm)].map(([, name, value]) => [name, JSON.parse(value)]),
    );
    return { name: file.replace(".toml", ""), about: /^about = "(.*)"$/m.exec(head)[1], settings };
  });
}
