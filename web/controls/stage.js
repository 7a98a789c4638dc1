// Where the picture is: the view, its toolbar, and what is laid over it.
import { h, show } from "../lib/dom.js";
import { BitmapSource, ResultSource } from "../lib/sources.js";
import { bytes, size } from "../lib/text.js";
import { tilesOf } from "../lib/tiles.js";
import { Previews, clipTo, drawRegion, drawTiles } from "./overlay.js";
import { Region } from "./region.js";
import "./two-up.js";

const rectangle = ([x, y, width, height]) => ({ x, y, width, height });

/** Tells by `back` that the user leaves the result for the picture. */
export class Stage {
  #container;
  #state;
  #view = document.createElement("two-up");
  #title = h("p", { class: "picture-name" });
  #zoom = h("output", { class: "zoom", "aria-label": "Zoom" });
  #try;
  #back;
  #another;
  #regionBox = h("div", { class: "region", hidden: true });
  #region;
  #tiles = null;
  #previews = new Previews();

  /** `another` is a button that opens another picture. */
  constructor(container, state, another) {
    this.#container = container;
    this.#state = state;
    this.#another = another;
    const button = (text, label, onclick) =>
      h("button", { type: "button", class: "tool", "aria-label": label, title: label, onclick }, text);
    this.#try = h(
      "button",
      { type: "button", class: "tool", "aria-pressed": "false", onclick: () => this.#toggleRegion() },
      "Try a region first",
    );
    this.#back = h(
      "button",
      { type: "button", class: "tool", hidden: true, onclick: () => container.dispatchEvent(new Event("back")) },
      "Back to the picture",
    );
    this.#region = new Region(this.#regionBox, state);
    container.append(
      h("div", { class: "stage-head" }, this.#title, h("div", { class: "row" }, this.#try, this.#back, another)),
      this.#view,
      h(
        "div",
        { class: "toolbar", role: "group", "aria-label": "View" },
        button("−", "Zoom out", () => this.#view.zoomBy(1 / 1.5)),
        this.#zoom,
        button("+", "Zoom in", () => this.#view.zoomBy(1.5)),
        button("Fit", "Fit the whole picture", () => this.#view.fit()),
        button("1:1", "1:1, one pixel for one of the screen", () => this.#view.actualSize()),
      ),
      this.#regionBox,
    );
    this.#view.addEventListener("view", () => {
      this.#zoom.textContent = `${Math.round(this.#view.viewport.zoom * 100)} %`;
    });
    this.#view.addEventListener("region", ({ detail }) => this.#region.dragged(detail.rect, detail.done));
    this.#regionBox.addEventListener("close", () => this.#toggleRegion());
    state.addEventListener("region", () => this.#view.redraw());
  }

  /** The picture alone, to be looked at and to choose a region of. */
  showPicture() {
    const { picture } = this.#state;
    this.#title.replaceChildren(h("strong", {}, picture.name), ` ${size(picture)} · ${bytes(picture.bytes)}`);
    this.#view.overlay = (context, viewport) => this.#drawRegion(context, viewport);
    this.#view.show({ before: new BitmapSource(picture), label: `Your picture, ${picture.name}` });
    show(this.#try, true);
    show(this.#another, true);
    show(this.#back, false);
    this.#arm(this.#state.region !== null);
  }

  /** The picture while it is worked on. */
  showRun() {
    this.showPicture();
    this.#arm(false);
    show(this.#try, false);
    show(this.#another, false);
    this.#tiles = null;
    this.#previews.begin(this.#state.picture);
    this.#view.overlay = (context, viewport) => {
      this.#drawPreviews(context, viewport);
      this.#drawRegion(context, viewport);
      if (this.#tiles) drawTiles(context, viewport, this.#tiles.places, this.#tiles.current);
    };
  }

  /** Take notice of a tile: `progress` as of now. */
  tile(progress, settings) {
    const { picture } = this.#state;
    const to = { width: progress.width, height: progress.height };
    if (!to.width || !progress.tile) return;
    const from = progress.from ?? picture;
    const evaluations = progress.phase === "diffuse" ? progress.tile.total / progress.tile.each : 1;
    const places = tilesOf({ phase: progress.phase, total: progress.tile.total, from, to, settings, evaluations });
    const [x, y] = [picture.width / to.width, picture.height / to.height];
    this.#tiles = places && {
      current: progress.tile.index,
      places: places.map((tile) => ({ x: tile.x * x, y: tile.y * y, width: tile.width * x, height: tile.height * y })),
    };
    this.#view.redraw();
  }

  /** A tile as it looks now; it lies at its `x` and `y` in the stage's result, or at its row and column of the tiles. */
  async preview(preview, progress, settings) {
    const { picture } = this.#state;
    const to = { width: progress.width, height: progress.height };
    let { x, y } = preview;
    if (x === undefined) {
      const total = preview.rows * preview.columns;
      const places = tilesOf({ phase: "diffuse", total, from: picture, to, settings });
      if (!places) return;
      ({ x, y } = places[(preview.row - 1) * preview.columns + preview.column - 1]);
    }
    const [sx, sy] = [picture.width / to.width, picture.height / to.height];
    // A preview may have fewer pixels than the part it stands for.
    const [w, h] = [preview.covers?.[0] ?? preview.width, preview.covers?.[1] ?? preview.height];
    await this.#previews.add(preview, { x: x * sx, y: y * sy, width: w * sx, height: h * sy });
    this.#view.redraw();
  }

  /** Before and after; `ask` fetches pixels of the result. */
  showResult(result, region, ask) {
    const { picture } = this.#state;
    this.#previews.end();
    this.#tiles = null;
    this.#view.overlay = null;
    const part = region && rectangle(region);
    const after = new ResultSource(result, ask, () => this.#view.redraw());
    const label = `Before and after: ${picture.name}, enlarged to ${size(result)} pixels`;
    this.#view.show({ before: new BitmapSource(picture, part ?? undefined), after, label });
    this.#title.replaceChildren(
      h("strong", {}, picture.name),
      ` ${size(part ?? picture)} → ${size(result)}${part ? " (a region)" : ""}`,
    );
    this.#arm(false);
    show(this.#try, false);
    show(this.#another, true);
    show(this.#back, true);
  }

  #drawRegion(context, viewport) {
    if (this.#state.region) drawRegion(context, viewport, rectangle(this.#state.region));
  }

  /** What is outside a region is not made, whatever its tiles look like. */
  #drawPreviews(context, viewport) {
    const { region } = this.#state;
    context.save();
    if (region) clipTo(context, viewport, rectangle(region));
    this.#previews.draw(context, viewport);
    context.restore();
  }

  #toggleRegion() {
    const open = this.#try.getAttribute("aria-pressed") !== "true";
    this.#arm(open);
    if (!open) this.#state.setRegion(null);
    else this.#container.scrollIntoView({ block: "nearest" });
  }

  #arm(open) {
    this.#try.setAttribute("aria-pressed", String(open));
    this.#view.mode = open ? "region" : "look";
    this.#region.open = open;
  }
}
