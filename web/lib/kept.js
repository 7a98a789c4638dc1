// What of an earlier visit fits what is chosen now. A page cannot open the user's files by itself: they are chosen again.
import { VERBS } from "./progress.js";
import { isFile } from "./redrawing.js";

/** A sentence on where a run stood; `at` counts stages from 0, and is null where nothing was done yet. */
export function stood(at) {
  if (!at) return "It had just begun.";
  const stage = at.stages > 1 ? ` of stage ${at.stage + 1} of ${at.stages}` : "";
  const tiles = at.total > 1 ? `, ${at.done} of ${at.total} tiles done` : "";
  return `It was at ${VERBS[at.phase].toLowerCase()}${stage}${tiles}.`;
}

/** A choice of models as it can be kept: of files what tells them apart. */
export function described({ upscaler, checkpoint, controlnet, vae, loras, embeddings, device }) {
  const about = (choice) => (isFile(choice) ? { name: choice.name, size: choice.size } : choice);
  return {
    upscaler: about(upscaler),
    checkpoint: about(checkpoint),
    controlnet: about(controlnet),
    vae: about(vae),
    loras: loras.map(({ file, scale }) => ({ file: about(file), scale })),
    embeddings: embeddings.map(about),
    device,
  };
}

/** Files of a choice that was kept. */
const files = ({ upscaler, checkpoint, controlnet, vae, loras, embeddings }) =>
  [upscaler, checkpoint, controlnet, vae, ...loras.map(({ file }) => file), ...embeddings].filter(isFile);

/** Names of the files that `kept` has and `models` lack. */
export function lacking(kept, models) {
  const chosen = files(models);
  const there = ({ name, size }) => chosen.some((file) => file.name === name && file.size === size);
  return files(kept)
    .filter((file) => !there(file))
    .map(({ name }) => name);
}

/** The choice that `kept` describes, of the files of `models`, in which none is lacking. */
export function chosenAgain(kept, models) {
  const find = (choice) =>
    isFile(choice) ? files(models).find(({ name, size }) => name === choice.name && size === choice.size) : choice;
  return {
    ...kept,
    upscaler: find(kept.upscaler),
    checkpoint: find(kept.checkpoint),
    controlnet: find(kept.controlnet),
    vae: find(kept.vae),
    loras: kept.loras.map(({ file, scale }) => ({ file: find(file), scale })),
    embeddings: kept.embeddings.map(find),
  };
}
