// Who cannot see the page, or use a pointer, or has a small screen: axe in every state, wide and narrow, light and dark.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { PHONE, WIDE, launch, overflows, visit, violations } from "./browser.mjs";
import { serveStandIn } from "./stand-in.mjs";
import { states } from "./states.mjs";

let server;
let browser;
before(async () => {
  server = await serveStandIn();
  browser = await launch();
});
after(async () => {
  await browser.close();
  server.close();
});

for (const [name, { worker, redrawing, act }] of Object.entries(states)) {
  for (const [size, colorScheme] of [
    [WIDE, "light"],
    [WIDE, "dark"],
    [PHONE, "light"],
    [PHONE, "dark"],
  ]) {
    test(`${name}, ${size.width} px, ${colorScheme}`, { timeout: 60_000 }, async () => {
      const { page, complaints, close } = await visit(browser, server, {
        worker,
        redrawing,
        size,
        colorScheme,
        reducedMotion: "reduce",
      });
      await act(page);
      assert.deepEqual(await violations(page), []);
      assert.equal(await overflows(page), false, "something is wider than the window");
      assert.deepEqual(complaints, []);
      await close();
    });
  }
}

test("nothing is lost at 320 px, which is also 1280 px at 400 %", { timeout: 60_000 }, async () => {
  for (const { act, worker } of [states["all open"], states.region, states.result, states.checked, states["no GPU"]]) {
    const { page, close } = await visit(browser, server, { worker, size: { width: 320, height: 640 } });
    await act(page);
    assert.equal(await overflows(page), false, "something is wider than the window");
    await close();
  }
});

test("everything is reached by the keyboard alone, from the picture to the result", { timeout: 60_000 }, async () => {
  const { page, complaints, close } = await visit(browser, server);
  await page.locator("[data-name=seed]").waitFor();
  const tabTo = async (locator) => {
    for (let i = 0; i < 40; i += 1) {
      await page.keyboard.press("Tab");
      if (await locator.evaluate((element) => element === document.activeElement)) return;
    }
    assert.fail(`no way to ${locator}`);
  };
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "To the settings");
  await tabTo(page.getByRole("button", { name: /Try this cat/ }));
  await page.keyboard.press("Enter");
  await page.locator("#run .idle .primary:enabled").waitFor();
  await tabTo(page.locator("#run .idle .primary"));
  await page.keyboard.press("Enter");
  await page.locator("#result:visible").waitFor();
  const save = page.getByRole("button", { name: "Save", exact: true });
  assert.ok(await save.evaluate((element) => element === document.activeElement), "the keyboard is where it goes on");
  assert.deepEqual(complaints, []);
  await close();
});

test("who wants no motion gets none", { timeout: 60_000 }, async () => {
  const { page, close } = await visit(browser, server, { reducedMotion: "reduce" });
  const moving = await page.evaluate(
    () =>
      [...document.querySelectorAll("*")].filter((element) => {
        const { animationName, transitionDuration } = getComputedStyle(element);
        return animationName !== "none" || transitionDuration.split(",").some((time) => parseFloat(time) > 0);
      }).length,
  );
  assert.equal(moving, 0);
  await close();
});
