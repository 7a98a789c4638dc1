// The engine's errors, which name the program's options, in the page's words, and what to do about them.

/** `--tile-width` to “Tile width”; what the page has no name for keeps its own. */
export function inPageWords(message, fields, labelOf) {
  return message
    .replace(/--device cpu/g, "the processor (under Models)")
    .replace(/--precision f(16|32)( or auto)?/g, "another GPU, or the processor")
    .replace(/--[a-z][a-z-]*/g, (option) => {
      const field = fields.find((one) => one.option === option);
      return field ? `“${labelOf(field)}”` : option.slice(2).replaceAll("-", " ");
    })
    .replace(/^./, (first) => first.toUpperCase());
}

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
  [/SDXL|is a LoRA|SD 3|FLUX|different models|does not fit/i, "Choose files of Stable Diffusion 1.5 under Models."],
];

/** What to do about an error, or an empty text where the message says it itself. */
export function advice(message) {
  return RULES.find(([pattern]) => pattern.test(message))?.[1] ?? "";
}
