// The page with the engine in it, interrupted in the middle of a run: it ends with the picture of an undisturbed one, byte for byte.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fixtures } from "./native.mjs";
import { open } from "./suite.mjs";
import { MINUTES, begin, drop, ready, result, set, users } from "./user.mjs";

const SMALL = join(fixtures, "recipe/input.png");
const parts = users();
const bytes = (name) => readFile(join(parts.shop.path, name));

/** The tiny networks on the device, and few enough tiles for it. */
async function prepare(page, device) {
  await drop(page, SMALL);
  await open(page, "Models");
  await parts.chooseTiny(page);
  if (device === "GPU") {
    await page.getByRole("radio", { name: "GPU" }).check({ force: true });
    await page.getByText("Computing on the GPU").waitFor({ timeout: MINUTES });
  }
  // A software GPU takes its time.
  const tiles =
    device === "GPU"
      ? { Enlarge: "1", Steps: "2", Creativity: "0.5", "Tile width": "8", "Tile height": "10", "Tile overlap": "4" }
      : { Steps: "9", "Tile width": "16", "Tile height": "16" };
  await set(page, { ...tiles, seed: "7" });
  await open(page, "All settings");
}

/** Begin, and wait until the run is well in the middle. */
async function midway(page) {
  await begin(page);
  await page.getByText(/Redrawing, to/).waitFor({ timeout: 3 * MINUTES });
}

/** The undisturbed run's file, by device; made once. */
const undisturbed = {};
async function expected(device) {
  undisturbed[device] ??= (async () => {
    const name = `undisturbed-${device}.png`;
    await parts.onPage(async (page) => {
      await prepare(page, device);
      await begin(page);
      await result(page);
      await parts.save(page, name);
    });
    return bytes(name);
  })();
  return undisturbed[device];
}

/** Wait for the result and hold it against the undisturbed one. */
async function sameResult(page, device, name) {
  await result(page);
  await parts.save(page, name);
  assert.ok((await bytes(name)).equals(await expected(device)), "not the same bytes");
}

test("the worker is killed: another goes on by itself", { timeout: 9 * MINUTES }, async () => {
  await expected("Processor");
  await parts.onPage(async (page) => {
    await prepare(page, "Processor");
    await midway(page);
    await page.workers()[0].evaluate(() => self.close());
    await page
      .getByText(/The engine stopped \(it was ended from outside\).* It goes on where it was\./)
      .waitFor({ timeout: MINUTES });
    await sameResult(page, "Processor", "killed.png");
  });
});

test(
  "the page is loaded again: the run is offered, and goes on with the files chosen again",
  { timeout: 9 * MINUTES },
  async () => {
    await expected("Processor");
    await parts.onPage(async (page) => {
      page.on("dialog", (dialog) => dialog.accept());
      await prepare(page, "Processor");
      await midway(page);
      await page.reload();
      await ready(page);
      await page
        .locator("#unfinished")
        .getByText(/input\.png to 192 × 160\. It was at /)
        .waitFor({ timeout: MINUTES });
      await page
        .locator("#unfinished")
        .getByText("made with: checkpoint.safetensors, controlnet.safetensors.")
        .waitFor();
      await open(page, "Models");
      await parts.chooseTiny(page);
      await page.getByRole("button", { name: "Go on" }).click();
      await sameResult(page, "Processor", "reloaded.png");
      await page.reload();
      await page.getByText("Enlarging with lite").waitFor({ timeout: MINUTES, state: "attached" });
      assert.equal(await page.locator("#unfinished").isVisible(), false, "it has ended");
    });
  },
);

test("the GPU is lost: another worker goes on by itself", { timeout: 15 * MINUTES }, async () => {
  await expected("GPU");
  await parts.onPage(async (page) => {
    await prepare(page, "GPU");
    // Whatever the engine does on its device begins with this.
    await page.workers()[0].evaluate(() => {
      const make = GPUDevice.prototype.createCommandEncoder;
      GPUDevice.prototype.createCommandEncoder = function (...how) {
        self.device = this;
        return make.apply(this, how);
      };
    });
    await midway(page);
    await page.workers()[0].evaluate(() => self.device.destroy());
    await page
      .getByText(/The engine stopped \(the GPU was lost.* It goes on where it was\./)
      .waitFor({ timeout: 3 * MINUTES });
    await sameResult(page, "GPU", "lost.png");
  });
});
