import { expect, test } from "vitest";

import { starts, tiles, weights, workingSize } from "../../src/core/tiling.ts";
import { golden } from "./golden.ts";

interface Vectors {
  working_size: { height: number; width: number; short: number; working: [number, number] }[];
  starts: { length: number; tile: number; starts: number[] }[];
  weights: { length: number; tile: number; weights: number[][] }[];
}

const vectors = golden<Vectors>("tiling");

test.each(vectors.working_size)("working size of $height x $width, $short", (vector) => {
  const size = workingSize(vector.height, vector.width, vector.short);
  expect([size.height, size.width]).toEqual(vector.working);
});

test.each(vectors.starts)("starts along $length, $tile", (vector) => {
  expect(starts(vector.length, vector.tile)).toEqual(vector.starts);
});

test.each(vectors.weights)("weights along $length, $tile", (vector) => {
  const found = weights(vector.length, vector.tile).map((weight) => [...weight]);
  expect(found).toEqual(vector.weights.map((weight) => [...Float32Array.from(weight)]));
});

test.each([
  [512, 683],
  [960, 512],
  [1100, 1300],
])("weights of the tiles of %d x %d add up to exactly 1", (height, width) => {
  const sums = new Float32Array(height * width);
  for (const { top, left, down, across } of tiles(height, width)) {
    for (let y = 0; y < 512; y++) {
      for (let x = 0; x < 512; x++) {
        const at = (top + y) * width + left + x;
        sums[at] = sums[at]! + Math.fround(down[y]! * across[x]!);
      }
    }
  }
  expect(sums.every((sum) => sum === 1)).toBe(true);
});

test("a side shorter than a tile is refused", () => {
  expect(() => starts(511)).toThrow(/holds no tile/);
});
