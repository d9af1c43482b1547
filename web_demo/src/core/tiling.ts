/**
 * Geometry of photos that are not 512 x 512: the size to predict at, the tiles that cover it and
 * how they are blended. `docs/large-photos.md` has the formulae; `tests/golden` has the answers.
 */

import { RidError } from "./errors.ts";

const FEATHER_SHARE = 8;

/** Height and width in pixels. */
export interface Size {
  readonly height: number;
  readonly width: number;
}

/** Size at the working scale: the short side becomes `short`. */
export function workingSize(height: number, width: number, short = 512): Size {
  const side = Math.min(height, width);
  const scale = (length: number) => Math.floor((2 * length * short + side) / (2 * side));
  return { height: scale(height), width: scale(width) };
}

/**
 * First pixel of each tile along a side of `length` pixels.
 *
 * @throws RidError the side is shorter than a tile.
 */
export function starts(length: number, tile = 512): number[] {
  if (length < tile) throw new RidError(`A side of ${length} pixels holds no tile of ${tile}.`);
  if (length === tile) return [0];
  const feather = Math.floor(tile / FEATHER_SHARE);
  const count = Math.ceil((length - feather) / (tile - feather));
  return Array.from({ length: count }, (_, k) => Math.floor((k * (length - tile)) / (count - 1)));
}

/**
 * Blending weights along a side, `tile` float32 values in [0, 1] per tile. Laid out at
 * {@link starts} they add up to 1 at every pixel.
 */
export function weights(length: number, tile = 512): Float32Array[] {
  const first = starts(length, tile);
  const feather = Math.floor(tile / FEATHER_SHARE);
  const result = first.map(() => new Float32Array(tile).fill(1));
  for (let k = 0; k + 1 < first.length; k++) {
    const ramp = Math.floor((first[k]! + tile + first[k + 1]! - feather) / 2);
    const rise = (x: number) => Math.fround(Math.min(Math.max((x - ramp + 0.5) / feather, 0), 1));
    const left = result[k]!;
    const right = result[k + 1]!;
    for (let i = 0; i < tile; i++) {
      left[i] = left[i]! * Math.fround(1 - rise(first[k]! + i));
      right[i] = right[i]! * rise(first[k + 1]! + i);
    }
  }
  return result;
}

/** One tile of a tiling, and its share of the blend along each side. */
export interface Tile {
  readonly top: number;
  readonly left: number;
  /** Weights of its rows, float32; a pixel's weight is that of its row times that of its column. */
  readonly down: Float32Array;
  /** Weights of its columns. */
  readonly across: Float32Array;
}

/** Tiles of `tile` x `tile` pixels that cover an image, row by row from the top left. */
export function tiles(height: number, width: number, tile = 512): Tile[] {
  const [tops, lefts] = [starts(height, tile), starts(width, tile)];
  const [downs, acrosses] = [weights(height, tile), weights(width, tile)];
  return tops.flatMap((top, i) =>
    lefts.map((left, j) => ({ top, left, down: downs[i]!, across: acrosses[j]! })),
  );
}
