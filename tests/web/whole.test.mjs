// The page with the engine in it, as a user has it: from a picture that is dropped to a file that is saved, against the program.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { fixtures, root } from "./native.mjs";
import { open } from "./suite.mjs";
import { MINUTES, begin, drop, result, set, users } from "./user.mjs";

const CAT = join(root, "assets/demo/cat.png");
const SMALL = join(fixtures, "recipe/input.png");
const parts = users();

/** Save the result; how it compares with the program's. */
async function saved(page, expected) {
  const name = await parts.save(page, `saved-${expected}`);
  return { name, ...(await parts.compare(page, `saved-${expected}`, expected)) };
}

test(
  "a photograph is dropped, enlarged by lite and saved as the program saves it",
  { timeout: 9 * MINUTES },
  async (t) => {
    const expected = await parts.shop.enlarge(CAT, { name: "cat", values: {} }, "--upscaler", "lite", "--no-diffusion");
    await parts.onPage(async (page) => {
      await drop(page, CAT);
      await begin(page);
      await result(page);
      const { name, near, psnr } = await saved(page, expected);
      t.diagnostic(`${(100 * near).toFixed(3)} % within 1/255, ${psnr.toFixed(1)} dB`);
      assert.equal(name, "cat_2x.png");
      assert.ok(near >= 0.999, `${near}`);
    });
  },
);

test(
  "the recipe with chosen files gives the program's picture; a cancelled run keeps the weights",
  { timeout: 9 * MINUTES },
  async (t) => {
    const values = { tile_width: 16, tile_height: 16, num_inference_steps: 6, upscale_factor: 2 };
    const files = ["checkpoint", "controlnet"].flatMap((part) => [
      `--${part}`,
      join(parts.shop.path, `${part}.safetensors`),
    ]);
    const expected = await parts.shop.enlarge(SMALL, { name: "redrawn", values }, "--upscaler", "lite", ...files);
    await parts.onPage(async (page) => {
      await drop(page, SMALL);
      await open(page, "Models");
      await parts.chooseTiny(page);
      await set(page, { "Tile width": "16", "Tile height": "16", Steps: "6", seed: "7" });
      await begin(page);
      await result(page);
      const first = await saved(page, expected);
      t.diagnostic(`${first.psnr.toFixed(1)} dB`);
      assert.ok(first.psnr >= 45, `${first.psnr} dB`);

      await begin(page);
      await page.getByText(/Redrawing, to/).waitFor({ timeout: MINUTES });
      const begun = performance.now();
      await page.getByRole("button", { name: "Cancel" }).click();
      await page.getByText("Cancelled. The models stay loaded").waitFor({ timeout: MINUTES });
      const seconds = (performance.now() - begun) / 1000;
      t.diagnostic(`cancelled after ${seconds.toFixed(2)} s`);
      assert.ok(seconds < 1, `${seconds} s`);

      await begin(page);
      await result(page);
      const again = await saved(page, expected);
      assert.equal(again.psnr, first.psnr);
    });
  },
);
