// Numbers as people read them.

/** `1.4 MB`; decimal, as file managers have it. */
export function bytes(count) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${unit === 0 || count >= 100 ? Math.round(count) : count.toFixed(1)} ${units[unit]}`;
}

/** `1 h 5 min`, `3 min 20 s`, `12 s`, as the program says it. */
export function duration(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor(whole / 60) % 60} min`;
}

/** `902 × 600`. */
export const size = ({ width, height }) => `${width} × ${height}`;

/** `tile_width` to `Tile width`. */
export const words = (name) => name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");

/** `photo.large.jpg` to `photo.large`. */
export const stem = (name) => name.replace(/\.[^./\\]+$/, "") || name;
