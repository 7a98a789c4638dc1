// Which part of a picture a view shows: arithmetic only. Lengths of the view are device pixels.

/** Device pixels per picture pixel, at most. */
const MOST = 32;

export class Viewport {
  picture = { width: 1, height: 1 };
  view = { width: 1, height: 1 };
  /** Device pixels per picture pixel. */
  zoom = 1;
  /** The point of the picture in the middle of the view. */
  x = 0.5;
  y = 0.5;

  /** The zoom at which the whole picture is seen. */
  get fitting() {
    return Math.min(this.view.width / this.picture.width, this.view.height / this.picture.height);
  }

  get least() {
    return Math.min(this.fitting, 1);
  }

  /** Whether all of the picture is seen. */
  get whole() {
    return this.zoom <= this.fitting * 1.0001;
  }

  fit() {
    this.zoom = this.fitting;
    this.clamp();
  }

  /** Zoom by `factor`; what is under the view's point (px, py) stays there. */
  zoomAt(px, py, factor) {
    const point = this.toPicture(px, py);
    this.zoom = Math.min(Math.max(this.zoom * factor, this.least), MOST);
    this.x = point.x - (px - this.view.width / 2) / this.zoom;
    this.y = point.y - (py - this.view.height / 2) / this.zoom;
    this.clamp();
  }

  /** Set the zoom; the middle stays. */
  zoomTo(zoom) {
    this.zoomAt(this.view.width / 2, this.view.height / 2, zoom / this.zoom);
  }

  /** Move the picture by device pixels. */
  pan(dx, dy) {
    this.x -= dx / this.zoom;
    this.y -= dy / this.zoom;
    this.clamp();
  }

  /** Nothing beyond the picture's ends, and a picture smaller than the view in its middle. */
  clamp() {
    this.zoom = Math.min(Math.max(this.zoom, this.least), MOST);
    const axis = (at, length, seen) =>
      length <= seen ? length / 2 : Math.min(Math.max(at, seen / 2), length - seen / 2);
    this.x = axis(this.x, this.picture.width, this.view.width / this.zoom);
    this.y = axis(this.y, this.picture.height, this.view.height / this.zoom);
  }

  toPicture(px, py) {
    return { x: this.x + (px - this.view.width / 2) / this.zoom, y: this.y + (py - this.view.height / 2) / this.zoom };
  }

  toView(x, y) {
    return { x: (x - this.x) * this.zoom + this.view.width / 2, y: (y - this.y) * this.zoom + this.view.height / 2 };
  }

  /** The part of the picture that is seen. */
  get visible() {
    const start = this.toPicture(0, 0);
    const end = this.toPicture(this.view.width, this.view.height);
    const x = Math.max(0, start.x);
    const y = Math.max(0, start.y);
    return { x, y, width: Math.min(this.picture.width, end.x) - x, height: Math.min(this.picture.height, end.y) - y };
  }
}
