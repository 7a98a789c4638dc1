// How settings are laid out. Their names, ranges, defaults and help come from the engine; only the order, the groups and
// the everyday names are the page's. A setting that is not listed here still appears, under "More".

/** What people turn most, in this order. */
export const MAIN = ["upscale_factor", "denoise_strength", "controlnet_scale", "condition_scale", "prompt", "seed"];

/** The rest. */
export const GROUPS = [
  ["Prompt", ["negative_prompt", "stylization", "guidance_start", "guidance_end"]],
  ["Sampling", ["num_inference_steps", "solver", "schedule", "strength_mode", "reuse_features"]],
  ["ControlNet", ["controlnet_decay", "hint", "control_mode"]],
  ["Tiles", ["tile_width", "tile_height", "tile_overlap", "tile_window", "tile_jitter", "seamless"]],
  ["Picture", ["downscale_to", "colour_lock", "chroma_lock", "sharpen", "upscaler_bgr"]],
  ["Autoencoder", ["vae_tile", "vae_statistics"]],
  ["Mask (needs a mask, which only the program takes so far)", ["mask_mode", "mask_feather"]],
];
const MORE = "More";

/** Names that users of such tools know. */
export const LABELS = {
  upscale_factor: "Enlarge",
  denoise_strength: "Creativity",
  controlnet_scale: "Resemblance",
  condition_scale: "Dynamic",
  num_inference_steps: "Steps",
  solver: "Sampler",
  controlnet_decay: "ControlNet decay",
  vae_tile: "VAE tile",
  vae_statistics: "VAE statistics",
  upscaler_bgr: "Enlarger gets BGR",
};

/** Where a slider ends although the setting goes further; its number field goes to the real end. */
const SLIDER_ENDS = {
  upscale_factor: 8,
  condition_scale: 20,
  num_inference_steps: 100,
  tile_width: 256,
  tile_height: 256,
  tile_overlap: 64,
  downscale_to: 4096,
  mask_feather: 128,
  sharpen: 2,
  vae_tile: 2048,
};

/** Steps that are rounder than what the range suggests. */
const STEPS = {
  upscale_factor: 0.5,
  condition_scale: 0.5,
  tile_width: 8,
  tile_height: 8,
  vae_tile: 64,
  downscale_to: 64,
};

/** Ranges wider than this make no slider: nobody drags a seed. */
const WIDEST_SLIDER = 100_000;

/** `{ min, max, step }` of the slider of `field`, or null if it has none. */
export function slider(field) {
  if (!field.range || field.range[1] - field.range[0] > WIDEST_SLIDER) return null;
  const [min, end] = field.range;
  const max = Math.min(end, SLIDER_ENDS[field.name] ?? end);
  const usual =
    field.kind === "integer"
      ? Math.max(1, 10 ** Math.floor(Math.log10((max - min) / 100)))
      : max - min > 5
        ? 0.1
        : 0.01;
  return { min, max, step: STEPS[field.name] ?? usual };
}

/** `[title, fields]` of each group of `fields` without the main ones; what is in no group comes last. */
export function grouped(fields) {
  const rest = new Map(fields.filter(({ name }) => !MAIN.includes(name)).map((field) => [field.name, field]));
  const groups = GROUPS.map(([title, names]) => {
    const found = names.flatMap((name) => rest.get(name) ?? []);
    found.forEach(({ name }) => rest.delete(name));
    return [title, found];
  });
  return [...groups, [MORE, [...rest.values()]]].filter(([, found]) => found.length > 0);
}
