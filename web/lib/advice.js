// The engine's errors in the page's words, and what to do about them.

/** What the page calls what is chosen beside the settings. */
const INPUTS = {
  checkpoint: "Checkpoint",
  controlnet: "ControlNet",
  device: "Compute on",
  embedding: "Embeddings",
  lora: "LoRAs",
  noise: "Noise",
  region: "Region",
  tile_prompts: "Prompts for parts",
  upscaler: "Upscaler",
  vae: "VAE",
};

/** The engine names settings and inputs in backquotes: `` `tile_width` `` to “Tile width”. What the page has no name for stays. */
export function inPageWords(message, fields, labelOf) {
  const label = (name) => {
    const field = fields.find((one) => one.name === name);
    return field ? labelOf(field) : INPUTS[name];
  };
  return message
    .replace(/`([a-z_]+)`/g, (whole, name) => (label(name) ? `“${label(name)}”` : whole))
    .replace(/^./, (first) => first.toUpperCase());
}

/** What the engine says may help (`Remedy` in crates/upscale). */
const REMEDIES = {
  use_cpu: "compute on the processor (under Models)",
  smaller_tiles: "make the tiles smaller (“Tile width”, “Tile height”, “VAE tile”)",
  use_f32: "compute on another GPU, or on the processor (under Models)",
  other_models: "choose files of Stable Diffusion 1.5 under Models",
};

/** What browsers themselves say. */
const RULES = [
  [
    /out of memory|memory access out of bounds|allocation|OOM|unreachable executed/i,
    "It ran out of memory. Try a smaller picture or region, smaller tiles (“Tile width”, “Tile height”, “VAE tile”), or close other pages.",
  ],
  [
    /lost|device (was )?destroyed/i,
    "The GPU was taken away: by the system, a driver, or because it worked too long at once. Start again; smaller tiles help. “Check this GPU”, below the settings, tells whether it computes right.",
  ],
  [/quota|space/i, "There is no room left in the browser's storage. Free some, or save to a file directly."],
  [
    /could not be loaded|import|fetch|failed to load/i,
    "Reload the page. If that does not help, the server lacks a file of it.",
  ],
];

/** What to do about an error, or an empty text where the message says it itself. `report` is the engine's, where it is one of its own. */
export function advice(message, report) {
  const rule = RULES.find(([pattern]) => pattern.test(message));
  if (rule) return rule[1];
  const remedies = (report?.remedies ?? []).flatMap((remedy) => REMEDIES[remedy] ?? []);
  return remedies.length > 0 ? `You can ${remedies.join(", or ")}.` : "";
}
