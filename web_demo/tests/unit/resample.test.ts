import { describe, expect, it, test } from "vitest";

import { resample, resampleStrips, sharpen, taps } from "../../src/core/resample.ts";
import { type Nested, fieldOf, golden, largestDifference, pixelsOf } from "./golden.ts";

interface Vectors {
  taps: { from: number; to: number; index: number[][]; weight: number[][] }[];
  resample: { image: Nested; size: [number, number]; result: Nested }[];
  sharpen: { unit: Nested; result: Nested }[];
}

const vectors = golden<Vectors>("resample");

test.each(vectors.taps)("taps from $from to $to", (vector) => {
  const found = taps(vector.from, vector.to);
  const weight = Float32Array.from(vector.weight.flat());
  expect(found.count).toBe(vector.weight[0]!.length);
  expect([...found.weight]).toEqual([...weight]);
  vector.index.flat().forEach((index, i) => {
    if (weight[i]! > 0) expect(found.index[i]).toBe(index);
  });
});

describe("resample", () => {
  test.each(vectors.resample)("to $size", ({ image, size: [height, width], result }) => {
    const found = resample(pixelsOf(image), { height, width });
    expect(largestDifference(found.data, fieldOf(result).data)).toBeLessThan(1e-4);
  });

  it("gives the same in strips", () => {
    const image = fieldOf(vectors.resample[0]!.image);
    const size = { height: 150, width: 33 };
    const whole = resample(image, size);
    let rows = 0;
    for (const strip of resampleStrips(image, size)) {
      const from = strip.top * size.width * 3;
      const part = whole.data.subarray(from, from + strip.rows.data.length);
      expect(largestDifference(part, strip.rows.data)).toBe(0);
      rows += strip.rows.height;
    }
    expect(rows).toBe(size.height);
  });
});

test.each(vectors.sharpen)("sharpen", ({ unit, result }) => {
  const found = sharpen(fieldOf(unit));
  expect(largestDifference(found.data, fieldOf(result).data)).toBeLessThan(1e-6);
});
