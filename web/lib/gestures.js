// Pointers, wheel and pinch on a view, as zooming, panning and dragging in device pixels.

/** How much a notch of the wheel zooms. */
const WHEEL = 0.0015;

/**
 * Listen on `element`. `zoom(px, py, factor)` and `pan(dx, dy)` say what to do; `drag.start(point, event)` may take a drag
 * with one pointer for itself by answering true, then hears `drag.move(point)` and `drag.end(point)`.
 */
export function gestures(element, { zoom, pan, drag }) {
  const pointers = new Map();
  let taken = false;

  const at = (event) => {
    const box = element.getBoundingClientRect();
    return { x: (event.clientX - box.left) * devicePixelRatio, y: (event.clientY - box.top) * devicePixelRatio };
  };
  const pair = () => {
    const [a, b] = [...pointers.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, distance: Math.hypot(a.x - b.x, a.y - b.y) };
  };

  element.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const { x, y } = at(event);
      // Lines and pages, as some mice have it, in pixels. A pinch on a touchpad is a wheel with Ctrl, and finer.
      const delta = event.deltaY * (event.deltaMode === 0 ? 1 : event.deltaMode === 1 ? 16 : 400);
      zoom(x, y, Math.exp(-delta * WHEEL * (event.ctrlKey ? 5 : 1)));
    },
    { passive: false },
  );

  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const point = at(event);
    pointers.set(event.pointerId, point);
    element.setPointerCapture(event.pointerId);
    if (pointers.size === 1) taken = drag.start(point, event);
  });

  element.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const point = at(event);
    if (pointers.size === 1) {
      if (taken) drag.move(point);
      else pan(point.x - before.x, point.y - before.y);
      pointers.set(event.pointerId, point);
      return;
    }
    const old = pair();
    pointers.set(event.pointerId, point);
    const now = pair();
    pan(now.x - old.x, now.y - old.y);
    if (old.distance > 0) zoom(now.x, now.y, now.distance / old.distance);
  });

  const end = (event) => {
    const point = pointers.get(event.pointerId);
    if (!point) return;
    pointers.delete(event.pointerId);
    if (pointers.size === 0 && taken) {
      taken = false;
      drag.end(point);
    }
  };
  element.addEventListener("pointerup", end);
  element.addEventListener("pointercancel", end);
}
