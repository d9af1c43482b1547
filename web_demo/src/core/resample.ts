/**
 * Scaling by the triangle filter, specified to the last rounding (`rid_core/image/tiling.py`): weights in
 * float64 stored as float32, sums in float32 over ascending taps. `Math.fround` is what makes
 * JavaScript's doubles round like float32; engines compile it to one instruction.
 */

import type { Size } from "./tiling.ts";
import { COLOURS, type Field, type Raster, blankField } from "./raster.ts";

const STRIP = 64;
const { fround } = Math;

/** The filter from `n` to `m` samples: `count` taps for each of `m` outputs, padded with weight 0. */
export interface Taps {
  readonly count: number;
  /** [m * count], each the number of a sample. */
  readonly index: Int32Array;
  /** [m * count], float32; those of an output add up to 1. */
  readonly weight: Float32Array;
}

/** Rows of a larger image, from `top` on. */
export interface Strip {
  readonly top: number;
  readonly rows: Field;
}

type Source = Raster<Uint8Array | Float32Array>;

/** The triangle filter from `n` to `m` samples. */
export function taps(n: number, m: number): Taps {
  const scale = n / m;
  const support = Math.max(scale, 1);
  const rows: { low: number; weights: number[] }[] = [];
  let count = 1;
  for (let i = 0; i < m; i++) {
    const centre = (i + 0.5) * scale;
    const low = Math.max(Math.floor(centre - support + 0.5), 0);
    const high = Math.min(Math.floor(centre + support + 0.5), n);
    const weights: number[] = [];
    let sum = 0;
    for (let j = low; j < high; j++) {
      const weight = Math.max(1 - Math.abs(j + 0.5 - centre) / support, 0);
      weights.push(weight);
      sum += weight;
      if (weight > 0) count = Math.max(count, j - low + 1);
    }
    rows.push({ low, weights: weights.map((weight) => weight / sum) });
  }
  const index = new Int32Array(m * count);
  const weight = new Float32Array(m * count);
  rows.forEach(({ low, weights }, i) => {
    for (let k = 0; k < count; k++) {
      index[i * count + k] = Math.min(low + k, n - 1);
      weight[i * count + k] = weights[k] ?? 0;
    }
  });
  return { count, index, weight };
}

/**
 * Scale an image to a size, from top to bottom, a strip of rows at a time, in the units of the
 * image. A height that shrinks is done before the width, one that grows after it.
 */
export function* resampleStrips(image: Source, { height, width }: Size): Generator<Strip> {
  const across = taps(image.width, width);
  const down = taps(image.height, height);
  const shrinks = height < image.height;
  const source = shrinks ? image : filterColumns(image, across, width);
  for (let top = 0; top < height; top += STRIP) {
    const rows = filterRows(source, down, top, Math.min(top + STRIP, height));
    yield { top, rows: shrinks ? filterColumns(rows, across, width) : rows };
  }
}

/** Scale an image to a size, as a whole. */
export function resample(image: Source, size: Size): Field {
  const result = blankField(size.height, size.width);
  for (const { top, rows } of resampleStrips(image, size)) {
    result.data.set(rows.data, top * size.width * COLOURS);
  }
  return result;
}

/**
 * Make up for what enlarging and scaling down again takes from a perturbation:
 * `(5 x[i] - x[i - 1] - x[i + 1]) / 3` along columns, then along rows, edges repeated, then clipped
 * to [-1, 1].
 */
export function sharpen(unit: Field): Field {
  const { height, width } = unit;
  const row = width * COLOURS;
  const upright = blankField(height, width);
  for (let y = 0; y < height; y++) {
    const above = Math.max(y - 1, 0) * row;
    const below = Math.min(y + 1, height - 1) * row;
    for (let x = 0; x < row; x++) {
      upright.data[y * row + x] = sharper(
        unit.data[y * row + x]!,
        unit.data[above + x]!,
        unit.data[below + x]!,
      );
    }
  }
  const result = blankField(height, width);
  for (let at = 0; at < height * row; at += row) {
    for (let x = 0; x < row; x++) {
      const before = x < COLOURS ? x : x - COLOURS;
      const after = x + COLOURS < row ? x + COLOURS : x;
      const value = sharper(
        upright.data[at + x]!,
        upright.data[at + before]!,
        upright.data[at + after]!,
      );
      result.data[at + x] = Math.min(Math.max(value, -1), 1);
    }
  }
  return result;
}

function sharper(value: number, before: number, after: number): number {
  return fround(fround(fround(fround(5 * value) - before) - after) / 3);
}

/** Rows `top` to `bottom` of the image scaled along its height. */
function filterRows(image: Source, down: Taps, top: number, bottom: number): Field {
  const row = image.width * COLOURS;
  const result = blankField(bottom - top, image.width);
  const [from, to] = [image.data, result.data];
  for (let i = top; i < bottom; i++) {
    const at = (i - top) * row;
    for (let k = 0; k < down.count; k++) {
      const weight = down.weight[i * down.count + k]!;
      if (weight === 0) continue;
      const source = down.index[i * down.count + k]! * row;
      for (let x = 0; x < row; x++) {
        to[at + x] = fround(to[at + x]! + fround(weight * from[source + x]!));
      }
    }
  }
  return result;
}

/** The image scaled along its width. */
function filterColumns(image: Source, across: Taps, width: number): Field {
  const result = blankField(image.height, width);
  const [from, to] = [image.data, result.data];
  const { count, index, weight } = across;
  for (let y = 0; y < image.height; y++) {
    const source = y * image.width * COLOURS;
    let at = y * width * COLOURS;
    for (let x = 0; x < width; x++, at += COLOURS) {
      let red = 0;
      let green = 0;
      let blue = 0;
      for (let k = x * count; k < (x + 1) * count; k++) {
        const w = weight[k]!;
        const pixel = source + index[k]! * COLOURS;
        red = fround(red + fround(w * from[pixel]!));
        green = fround(green + fround(w * from[pixel + 1]!));
        blue = fround(blue + fround(w * from[pixel + 2]!));
      }
      to[at] = red;
      to[at + 1] = green;
      to[at + 2] = blue;
    }
  }
  return result;
}
