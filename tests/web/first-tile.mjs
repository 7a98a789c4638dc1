// How long until the first ε in a browser, with shaders compiled for the first time, and how much of a whole run that is:
//
//   node tests/web/first-tile.mjs [--side N] [--steps N]     after scripts/web
//
// The starter set redraws the sample's middle; its weights are read from the origin's private files, as downloaded models are. SwiftShader is the GPU.
import { join } from "node:path";
import { parseArgs } from "node:util";
import { launch, visit } from "./browser.mjs";
import { startEngine } from "./engine.mjs";
import { dist, root } from "./native.mjs";
import { serve } from "./server.mjs";

const { values } = parseArgs({
  options: { side: { type: "string", default: "128" }, steps: { type: "string", default: "18" } },
});
const [side, steps] = [Number(values.side), Number(values.steps)];

/** In the page: the same picture twice, of which the second finds all shaders compiled. */
async function measure([side, steps]) {
  const folder = await navigator.storage.getDirectory();
  const kept = await folder.getFileHandle("starter.safetensors", { create: true });
  const writable = await kept.createWritable();
  await writable.write(await file("assets/starter.safetensors"));
  await writable.close();
  const checkpoint = await kept.getFile();
  const bitmap = await createImageBitmap(await file("assets/demo/cat.png"));
  const context = new OffscreenCanvas(side, side).getContext("2d");
  context.drawImage(bitmap, (side - bitmap.width) / 2, (side - bitmap.height) / 2);
  const pixels = () => context.getImageData(0, 0, side, side).data.buffer;
  const settings = { num_inference_steps: steps };
  const one = async () => {
    const at = heard.length;
    const begun = performance.now();
    const since = () => (performance.now() - begun) / 1000;
    await choose({ checkpoint, controlnet: checkpoint, device: "gpu" });
    const loaded = since();
    const whole = { settings, seed: 7, region: null, noise: null, tilePrompts: "" };
    const running = ask("upscale", { width: side, height: side, pixels: pixels(), ...whole });
    const first = async () => {
      const isFirst = ({ event, phase }) => event === "tile" && phase === "diffuse";
      while (!heard.slice(at).some(isFirst)) await new Promise((go) => setTimeout(go, 10));
      return since();
    };
    const [tile] = await Promise.all([first(), running]);
    const all = since();
    const pipelines = heard.slice(at).filter(({ event }) => event === "pipeline").length;
    return { loaded, tile, all, pipelines };
  };
  return [await one(), await one()];
}

const server = await serve({ "/": dist, "/tests/": join(root, "tests/web") });
const browser = await launch({ gpu: true });
try {
  const { page } = await visit(browser, server, {});
  await startEngine(page, { before: "tests/pipelines.js" });
  const [cold, warm] = await page.evaluate(measure, [side, steps]);
  const seconds = (value) => `${value.toFixed(1)} s`;
  const share = (part, whole) => `${((100 * part) / whole).toFixed(0)} %`;
  console.log(`${side}² → ${2 * side}², ${steps} steps at the default strength, the starter set on SwiftShader`);
  for (const [name, { loaded, tile, all, pipelines }] of Object.entries({ cold, warm }))
    console.log(
      `${name}: weights ${seconds(loaded)}, first ε after ${seconds(tile)} (${share(tile, all)} of ${seconds(all)}), ${pipelines} shaders compiled`,
    );
  const compiling = cold.tile - warm.tile - (cold.loaded - warm.loaded);
  console.log(`shaders until the first ε: ${seconds(compiling)}, ${share(compiling, cold.all)} of the cold run`);
} finally {
  await browser.close();
  server.close();
}
