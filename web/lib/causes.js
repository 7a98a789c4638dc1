// Why there is no GPU to compute on, and what the user can do about it.

/** What this browser is, as far as the advice depends on it. */
export function surroundings(navigator = globalThis.navigator, location = globalThis.location) {
  const agent = navigator.userAgent ?? "";
  const firefox = /Firefox\//.test(agent);
  const chromium = /Chrom(e|ium)\//.test(agent);
  return {
    linux: /Linux/.test(agent) && !/Android/.test(agent),
    android: /Android/.test(agent),
    apple: /Mac OS X|iPhone|iPad/.test(agent),
    firefox,
    chromium,
    safari: !chromium && !firefox && /Safari\//.test(agent),
    address: location?.href ?? "",
  };
}

const UPDATE = {
  chromium: "Update the browser: Chrome and Edge have WebGPU since version 113, on Android since 121.",
  firefox:
    "Update Firefox: it has WebGPU since version 141 on Windows and 145 on Macs. On Linux it is behind “dom.webgpu.enabled” in about:config.",
  safari: "Update the system: Safari has WebGPU since version 26.",
  other: "Take a current Chrome, Edge, Firefox or Safari.",
};

function update(about) {
  if (about.chromium) return UPDATE.chromium;
  if (about.firefox) return UPDATE.firefox;
  return about.safari ? UPDATE.safari : UPDATE.other;
}

const LINUX_FLAG =
  "On Linux, Chrome keeps WebGPU behind a flag on many systems: open chrome://flags/#enable-unsafe-webgpu, choose “Enabled”, and start the browser again.";
const DRIVER = "Update the graphics driver; on Linux, install Vulkan's (mesa-vulkan-drivers, or the maker's).";
const ACCELERATION = "Look whether the browser's settings have “Use graphics acceleration when available” turned on.";

/** `{ title, what, todo }` for the answer `adapter` of the engine, or null if there is a real GPU. */
export function explain(adapter, about) {
  if (adapter.ok && !adapter.software) return null;
  if (adapter.ok) {
    return {
      title: "Only a software GPU",
      what: `${adapter.name || "This adapter"} imitates a GPU on the processor, which is much slower than using the processor itself.`,
      todo: [ACCELERATION, ...(about.linux ? [LINUX_FLAG] : []), DRIVER],
    };
  }
  switch (adapter.cause) {
    case "insecure":
      return {
        title: "No GPU: this address is not secure",
        what: `Browsers give WebGPU only to pages that come over https or from this very machine, and not to ${about.address}.`,
        todo: ["Open the page by its https:// address, or as http://localhost/ on the machine that serves it."],
      };
    case "no-webgpu":
      return {
        title: "No GPU: this browser has no WebGPU",
        what: "The page computes on the GPU by WebGPU, which this browser does not have, or has turned off.",
        todo: [update(about), ...(about.linux && about.chromium ? [LINUX_FLAG] : [])],
      };
    case "no-adapter":
      return {
        title: "No GPU: the browser offers none",
        what: "The browser has WebGPU but found no GPU for it, or does not trust its driver.",
        todo: [ACCELERATION, ...(about.linux && about.chromium ? [LINUX_FLAG] : []), DRIVER],
      };
    default:
      return {
        title: "No GPU: it could not be started",
        what: "The browser found a GPU, but the GPU refused to work for this page.",
        todo: ["Close other programs and pages that use the GPU, and reload this page.", DRIVER],
      };
  }
}
