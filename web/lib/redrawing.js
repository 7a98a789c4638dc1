// What redraws: the starter set, which comes with the page, or files of Stable Diffusion 1.5.

/** As a choice of a checkpoint, and as the program calls it. Its ControlNet is in it. */
export const STARTER = "starter";
/** What redraws where nobody chose anything: the starter set, or nothing (null). */
export const REDRAWING = STARTER;

export const isFile = (choice) => choice !== null && typeof choice === "object";

/** What a choice of models redraws with: STARTER, "files", or null for nothing; other files without both are left out. */
export function redrawing({ checkpoint, controlnet }) {
  if (checkpoint === STARTER) return STARTER;
  return checkpoint && controlnet ? "files" : null;
}
