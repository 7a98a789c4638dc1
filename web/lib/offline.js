// The page without a connection: the service worker keeps its files, and tells when there is a newer page.

/** Whether a service worker sees what this page asks for; the first visit's comes too late for that. */
const seen = Boolean(navigator.serviceWorker?.controller);

/** Have a file kept too that is only kept once it was asked for. */
export async function keepToo(path) {
  const { serviceWorker } = navigator;
  if (!serviceWorker || seen) return;
  const { active } = await serviceWorker.ready;
  active.postMessage({ keep: path });
}

/**
 * Have the page's files kept. `renewed(act)` is called when another version is there; `act` brings the page to it. Where there are no
 * service workers the page needs its server, and that is all.
 */
export async function keepForOffline(renewed) {
  const { serviceWorker } = navigator;
  if (!serviceWorker) return;
  const before = serviceWorker.controller;
  let wanted = false;
  const takeOver = (worker) => () => {
    wanted = true;
    worker.postMessage("take over");
  };
  serviceWorker.addEventListener("controllerchange", () => {
    if (wanted) location.reload();
    // Another tab went over to the newer page: this one has parts of the older.
    else if (before) renewed(() => location.reload());
  });
  try {
    const address = new URL("../../sw.js", import.meta.url);
    const registration = await serviceWorker.register(address, { updateViaCache: "none" });
    const announce = (worker) => {
      if (worker.state === "installed" && serviceWorker.controller) renewed(takeOver(worker));
    };
    const watch = (worker) => worker?.addEventListener("statechange", () => announce(worker));
    registration.addEventListener("updatefound", () => watch(registration.installing));
    watch(registration.installing);
    if (registration.waiting) announce(registration.waiting);
  } catch {
    // Forbidden, or a server without sw.js: nothing else depends on it.
  }
}
