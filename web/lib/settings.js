// Settings as one plain object, checked against the engine's own description of them.

/** The value that `text` means for `field`; throws with a sentence. */
export function parse(field, text) {
  const value = typeof text === "string" ? text.trim() : text;
  const wrong = (reason) => new Error(`${field.name}: ${JSON.stringify(text)} ${reason}`);
  switch (field.kind) {
    case "text":
      if (typeof text !== "string") throw wrong("is no text");
      return text;
    case "switch":
      if (value === true || value === "true" || value === "on") return true;
      if (value === false || value === "false" || value === "off") return false;
      throw wrong("is neither true nor false");
    case "choice":
      // Other programs' names of samplers are the engine's business; it says so if it knows none of the kind.
      if (typeof value !== "string" || value === "") throw wrong("is no word");
      return value;
    default: {
      const number = value === "" || typeof value === "boolean" || value === null ? NaN : Number(value);
      if (!Number.isFinite(number)) throw wrong("is no number");
      if (field.kind === "integer" && !Number.isInteger(number)) throw wrong("is no whole number");
      const [min, max] = field.range ?? [-Infinity, Infinity];
      if (number < min || number > max) throw wrong(`is out of range; it goes from ${min} to ${max}`);
      return number;
    }
  }
}

/** Every setting at its default. */
export const defaults = (fields) =>
  Object.fromEntries(fields.map((field) => [field.name, parse(field, field.default)]));

/** Those of `settings` that are not at their default. */
export function changed(fields, settings) {
  const usual = defaults(fields);
  return Object.fromEntries(
    fields.filter(({ name }) => settings[name] !== usual[name]).map(({ name }) => [name, settings[name]]),
  );
}

/** Read JSON of settings, as the program writes and reads it; throws with a sentence on the first mistake. */
export function fromJson(fields, text) {
  let json;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new Error(`This is not JSON: ${error.message}`);
  }
  const plain = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
  if (!plain(json)) throw new Error("This is JSON, but no object of settings.");
  // A recipe or a preset has its settings under that name.
  const given = plain(json.settings) ? json.settings : json;
  const settings = {};
  for (const [name, value] of Object.entries(given)) {
    const field = fields.find((one) => one.name === name);
    if (!field) throw new Error(`There is no setting ${JSON.stringify(name)}.`);
    settings[name] = parse(field, value);
  }
  return settings;
}

/** What is still valid of settings that were kept: a later version may have other names and ranges. */
export function salvage(fields, kept) {
  const settings = {};
  for (const field of fields) {
    if (!Object.hasOwn(kept, field.name)) continue;
    try {
      settings[field.name] = parse(field, kept[field.name]);
    } catch {
      // Its default, then.
    }
  }
  return settings;
}
