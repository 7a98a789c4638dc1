// Where the engine's tiles lie, for showing them on the picture: the twin of crates/tile's grid.

/** Starts of tiles along one axis, and their length. */
function axis(length, tile, overlap) {
  if (length <= tile) return { tile: length, starts: [0] };
  const count = Math.ceil((length - tile) / (tile - overlap)) + 1;
  const spread = Math.floor((count * tile - length) / (count - 1));
  const stride = tile - spread;
  return { tile, starts: Array.from({ length: count }, (_, i) => Math.min(i * stride, length - tile)) };
}

/** Tiles of `tile` that overlap by `overlap` at least, row by row, as `{ x, y, width, height }`. */
export function grid(area, tile, overlap) {
  const columns = axis(area.width, tile.width, overlap);
  const rows = axis(area.height, tile.height, overlap);
  return rows.starts.flatMap((y) => columns.starts.map((x) => ({ x, y, width: columns.tile, height: rows.tile })));
}

/** Pixels of a latent. */
const FACTOR = 8;
/** Side of an enlarger's tile in its input, and what VAE tiles overlap by, as the engine has them; see `tilesOf`. */
const ENLARGER_TILE = 192;
const VAE_OVERLAP = 8;

const scaled = (tiles, factor, { width, height }) =>
  tiles.map((tile) => {
    const x = tile.x * factor.x;
    const y = tile.y * factor.y;
    return {
      x,
      y,
      width: Math.min(tile.width * factor.x, width - x),
      height: Math.min(tile.height * factor.y, height - y),
    };
  });

/**
 * The tiles of a phase in pixels of the stage's result, or null where the page cannot know them: tiles that move at each
 * step, circular pictures, a region (which runs only some). Whatever it would get wrong shows in the count.
 */
export function tilesOf({ phase, total, from, to, settings, evaluations = 1 }) {
  if (settings.seamless && settings.seamless !== "none") return null;
  const latents = { width: Math.ceil(to.width / FACTOR), height: Math.ceil(to.height / FACTOR) };
  let tiles;
  let expected = total;
  if (phase === "enlarge") {
    const factor = { x: to.width / from.width, y: to.height / from.height };
    tiles = scaled(grid(from, { width: ENLARGER_TILE, height: ENLARGER_TILE }, 0), factor, to);
  } else if (phase === "diffuse") {
    if (settings.tile_jitter) return null;
    const tile = { width: settings.tile_width, height: settings.tile_height };
    tiles = scaled(grid(latents, tile, settings.tile_overlap), { x: FACTOR, y: FACTOR }, to);
    expected = total / evaluations;
  } else {
    const side = Math.max(Math.floor(settings.vae_tile / FACTOR), 2 * VAE_OVERLAP);
    tiles = scaled(grid(latents, { width: side, height: side }, VAE_OVERLAP), { x: FACTOR, y: FACTOR }, to);
  }
  return tiles.length === expected ? tiles : null;
}
