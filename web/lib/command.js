// The program's command line that does what the page would do.
import { STARTER, redrawing } from "./redrawing.js";
import { changed } from "./settings.js";

/** `text` as one word of a POSIX shell. */
export function quote(text) {
  if (/^[\w@%+=:,./-]+$/.test(text)) return text;
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** The program's option for a setting. */
export const optionOf = (name) => `--${name.replaceAll("_", "-")}`;

function option(field, value) {
  const name = optionOf(field.name);
  if (field.kind === "switch") return value ? name : `${name}=off`;
  // A value that begins with a dash would look like an option.
  const text = String(value);
  return text.startsWith("-") ? quote(`${name}=${text}`) : `${name} ${quote(text)}`;
}

/**
 * `clarifier upscale photo.jpg --upscale-factor 4`, with what differs from the defaults only.
 *
 * `models` is what the page's models panel holds; a browser knows a file's name but not its folder.
 */
export function commandLine({ picture, fields, settings, models, region }) {
  const words = ["clarifier upscale"];
  const name = picture ?? "photo.jpg";
  words.push(quote(name.startsWith("-") ? `./${name}` : name));
  const different = changed(fields, settings);
  for (const field of fields) {
    if (Object.hasOwn(different, field.name)) words.push(option(field, different[field.name]));
  }
  if (region) words.push(`--region ${region.join(",")}`);
  const file = (flag, chosen) => chosen && words.push(`${flag} ${quote(chosen.name)}`);
  const { upscaler, checkpoint, controlnet, vae, loras = [], embeddings = [], device } = models;
  // Without saying so, the program takes what its store has.
  words.push(`--upscaler ${quote(typeof upscaler === "string" ? upscaler : upscaler.name)}`);
  const by = redrawing(models);
  if (by === STARTER) {
    words.push(`--checkpoint ${STARTER}`);
  } else if (by) {
    file("--checkpoint", checkpoint);
    file("--controlnet", controlnet);
    file("--vae", vae);
    for (const { file: lora, scale } of loras)
      words.push(`--lora ${quote(scale === 1 ? lora.name : `${lora.name}:${scale}`)}`);
    for (const embedding of embeddings) file("--embedding", embedding);
  } else {
    words.push("--no-diffusion");
  }
  if (device === "cpu") words.push("--device cpu");
  return words.join(" ");
}
