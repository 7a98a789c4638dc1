// The page's states, each with what brings the page there: for axe, and for looking at.
import { runThrough, sample } from "./browser.mjs";
import { chooseModels, exact, open, start } from "./suite.mjs";

const openAll = (page) => page.evaluate(() => document.querySelectorAll("details").forEach((one) => (one.open = true)));

/** `{ name: { worker, redrawing, act, tall } }`: the stand-in's options, what redraws if not nothing, what is done, and whether there is much below the fold. */
export const states = {
  empty: { act: (page) => page.locator("[data-name=seed]").waitFor() },
  picture: { act: sample },
  "all open": {
    tall: true,
    act: async (page) => {
      await sample(page);
      await openAll(page);
      for (const about of await page.locator(".why").all()) await about.click();
      await page
        .getByLabel("Add a LoRA …")
        .setInputFiles({ name: "a.safetensors", mimeType: "", buffer: Buffer.alloc(9) });
    },
  },
  starter: {
    tall: true,
    redrawing: "starter",
    act: async (page) => {
      await sample(page);
      await open(page, "Models");
      await page.getByText("redrawing with the starter set. Computing").waitFor();
    },
  },
  models: {
    tall: true,
    act: async (page) => {
      await sample(page);
      await chooseModels(page, "juggernaut_reborn.safetensors");
      await page.getByText("redrawing with Stable Diffusion").waitFor();
    },
  },
  downloading: {
    tall: true,
    worker: "store=slow",
    act: async (page) => {
      await sample(page);
      await open(page, "Models");
      await page.getByRole("button", { name: /^Download, about/ }).click();
      await page.locator(".store-progress", { hasText: "MB/s" }).waitFor();
    },
  },
  "paused download": {
    tall: true,
    worker: "store=part",
    act: async (page) => {
      await sample(page);
      await open(page, "Models");
      await page.getByRole("button", { name: /^Remove, frees/ }).click();
      await open(page, "Others to download");
    },
  },
  downloaded: {
    tall: true,
    worker: "store=full",
    act: async (page) => {
      await sample(page);
      await open(page, "Models");
      await page.getByText("Enlarging with lite, redrawing with Stable Diffusion").waitFor();
    },
  },
  region: {
    act: async (page) => {
      await sample(page);
      await page.getByRole("button", { name: "Try a region first" }).click();
    },
  },
  running: {
    worker: "pace=250",
    act: async (page) => {
      await sample(page);
      await chooseModels(page);
      await page.getByText("redrawing with Stable Diffusion").waitFor();
      await open(page, "Models");
      await open(page, "All settings");
      for (const name of ["Tile width", "Tile height"]) await exact(page, name).fill("48");
      await open(page, "All settings");
      await start(page).click();
      await page.locator(".progress-row:visible").first().waitFor();
      await page.getByText(/Redrawing, to/).waitFor();
    },
  },
  result: {
    act: async (page) => {
      await sample(page);
      await runThrough(page);
    },
  },
  interrupted: {
    worker: "pace=700",
    act: async (page) => {
      page.on("dialog", (dialog) => dialog.accept());
      await sample(page);
      await chooseModels(page);
      await start(page).click();
      await page.locator(".progress-row:visible").first().waitFor();
      await page.reload();
      await page.locator("#unfinished:visible").waitFor();
    },
  },
  failed: {
    worker: "mode=fails",
    act: async (page) => {
      await sample(page);
      await start(page).click();
      await page.locator(".notice.error").waitFor();
    },
  },
  checking: {
    tall: true,
    worker: "pace=700",
    act: async (page) => {
      await open(page, "Check this GPU");
      await page.getByRole("button", { name: "Check this GPU" }).click();
      await page.locator("#check").getByText("conv 3×3, f32, 2 × 7").waitFor();
    },
  },
  checked: {
    tall: true,
    worker: "check=wrong",
    act: async (page) => {
      await open(page, "Check this GPU");
      await page.getByRole("radio", { name: "Full" }).check({ force: true });
      await page.getByRole("button", { name: "Check this GPU" }).click();
      await page.getByText(/^Not all of it computes right/).waitFor();
    },
  },
  "no GPU": { worker: "mode=cause:no-adapter", act: (page) => page.locator("#capability:visible").waitFor() },
};
