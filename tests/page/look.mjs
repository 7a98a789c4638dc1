// Screenshots of each state, wide and narrow, light and dark, for looking at: `node look.mjs FOLDER`.
import { mkdir } from "node:fs/promises";
import { PHONE, WIDE, launch, runThrough, sample, visit } from "./browser.mjs";
import { serve } from "./server.mjs";

const folder = process.argv[2] ?? "screenshots";
await mkdir(folder, { recursive: true });
const server = await serve();
const browser = await launch();

const models = async (page) => {
  await page.evaluate(() => document.querySelector("#models-panel").setAttribute("open", ""));
  const file = (name) => ({ name, mimeType: "application/octet-stream", buffer: Buffer.alloc(1000) });
  await page.getByLabel("Choose: Checkpoint").setInputFiles(file("juggernaut_reborn.safetensors"));
  await page.getByLabel("Choose: Tile ControlNet").setInputFiles(file("control_v11f1e_sd15_tile_fp16.safetensors"));
  await page.getByText("redrawing with Stable Diffusion").waitFor();
};
const states = {
  empty: {},
  picture: { act: sample },
  settings: {
    full: true,
    act: async (page) => {
      await sample(page);
      await page.locator("#all > summary").click();
      await page.getByLabel("About Sampler").click();
    },
  },
  models: {
    full: true,
    act: async (page) => {
      await sample(page);
      await models(page);
    },
  },
  share: {
    full: true,
    act: async (page) => {
      await sample(page);
      await page.getByText("Save, share, command line").click();
    },
  },
  region: {
    act: async (page) => {
      await sample(page);
      await page.getByRole("button", { name: "Try a region first" }).click();
    },
  },
  running: {
    worker: "pace=120",
    act: async (page) => {
      await sample(page);
      await models(page);
      await page.evaluate(() => document.querySelector("#models-panel").removeAttribute("open"));
      await page.getByLabel("Tile width, exact value").evaluate((e) => {
        e.value = 48;
        e.dispatchEvent(new Event("input"));
      });
      await page.getByLabel("Tile height, exact value").evaluate((e) => {
        e.value = 48;
        e.dispatchEvent(new Event("input"));
      });
      await page.locator("#run .idle .primary:enabled").click();
      await page.waitForFunction(
        () =>
          /left/.test(document.querySelector(".left").textContent) &&
          /Redrawing/.test(document.querySelector(".busy .plan").textContent),
      );
      await page.waitForTimeout(1500);
    },
  },
  result: {
    act: async (page) => {
      await sample(page);
      await runThrough(page);
      await page.waitForTimeout(400);
    },
  },
  failed: {
    worker: "mode=fails",
    act: async (page) => {
      await sample(page);
      await page.locator("#run .idle .primary").click();
      await page.locator(".notice.error").waitFor();
    },
  },
  "no-webgpu": { worker: "mode=cause:no-adapter" },
};
const wanted = process.argv.slice(3);
for (const [name, { worker, act, full }] of Object.entries(states)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  for (const [place, size] of [
    ["1400", WIDE],
    ["390", PHONE],
  ]) {
    for (const colorScheme of ["light", "dark"]) {
      const tall = full && place === "1400" ? { height: 2600, width: 1400 } : size;
      const phone = place === "390" ? { hasTouch: true, isMobile: true, deviceScaleFactor: 2 } : {};
      const { page, complaints, close } = await visit(browser, server, { worker, size: tall, colorScheme, ...phone });
      await page.locator("#device[data-kind]").waitFor();
      await act?.(page);
      await page.waitForTimeout(250);
      await page.screenshot({
        path: `${folder}/${name}-${place}-${colorScheme}.png`,
        fullPage: Boolean(full) || place === "390",
      });
      if (complaints.length > 0) console.error(name, place, complaints);
      await close();
    }
  }
}
await browser.close();
server.close();
