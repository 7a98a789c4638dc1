// Screenshots of the page's states, wide and narrow, light and dark, for looking at: `node look.mjs FOLDER [STATE …]`.
import { mkdir } from "node:fs/promises";
import { PHONE, WIDE, launch, visit } from "./browser.mjs";
import { serveStandIn } from "./stand-in.mjs";
import { states } from "./states.mjs";

const [folder = "screenshots", ...wanted] = process.argv.slice(2);
await mkdir(folder, { recursive: true });
const server = await serveStandIn();
const browser = await launch();
/** The panel scrolls by itself where there is room beside the picture: a higher window shows all of it. */
const TALL = { width: WIDE.width, height: 2600 };
const phone = { size: PHONE, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };

for (const [name, { worker, redrawing, act, tall }] of Object.entries(states)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  for (const [place, options] of Object.entries({ 1400: { size: tall ? TALL : WIDE }, 390: phone })) {
    for (const colorScheme of ["light", "dark"]) {
      const { page, complaints, close } = await visit(browser, server, { worker, redrawing, colorScheme, ...options });
      await page.locator("#device[data-kind]").waitFor();
      await act(page);
      // Until what fades in is there.
      await page.waitForTimeout(400);
      const path = `${folder}/${name.replaceAll(" ", "-")}-${place}-${colorScheme}.png`;
      await page.screenshot({ path, fullPage: Boolean(tall) || place === "390" });
      if (complaints.length > 0) console.error(name, place, complaints);
      await close();
    }
  }
}
await browser.close();
server.close();
