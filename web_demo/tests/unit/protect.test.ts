import { describe, expect, it, test } from "vitest";

import {
  type Defender,
  addPerturbation,
  checkSize,
  workingPerturbation,
} from "../../src/core/protect.ts";
import { type Field, blankField } from "../../src/core/raster.ts";
import { type Nested, fieldOf, golden, largestDifference, pixelsOf } from "./golden.ts";

interface Case {
  tile: number;
  levels: number;
  strength: number;
  image: Nested;
  working_unit: Nested;
  protected: Nested;
}

/** The network of the vectors: a formula. */
class Formula implements Defender {
  readonly levels = 8;

  constructor(readonly side: number) {}

  async perturb(tile: Field): Promise<Field> {
    const unit = blankField(tile.height, tile.width);
    for (let i = 0; i < unit.data.length; i++) {
      const [pixel, channel] = [Math.floor(i / 3), i % 3];
      const odd = (Math.floor(pixel / tile.width) + (pixel % tile.width) + channel) % 2 === 1;
      const value = 4 * tile.data[i]! - 2 + (odd ? 0.5 : -0.5);
      unit.data[i] = Math.min(Math.max(value, -1), 1);
    }
    return unit;
  }
}

const rest = async () => {};

describe("a whole photo", () => {
  const cases = golden<{ protect: Case[] }>("photo").protect.map((vector) => ({
    vector,
    name: `${vector.image.length} x ${vector.image[0]!.length}, strength ${vector.strength}`,
  }));

  test.each(cases)("$name", async ({ vector }) => {
    const image = pixelsOf(vector.image);
    const unit = await workingPerturbation(image, new Formula(vector.tile), rest);
    expect(largestDifference(unit.data, fieldOf(vector.working_unit).data)).toBeLessThan(1e-5);
    const result = await addPerturbation(image, unit, vector, rest);
    expect([...result.data]).toEqual([...pixelsOf(vector.protected).data]);
    expect(largestDifference(image.data, result.data)).toBeLessThanOrEqual(vector.levels);
  });

  it("refuses a network that returns NaN", async () => {
    const broken: Defender = {
      side: 16,
      levels: 8,
      perturb: async () => ({ ...blankField(16, 16), data: new Float32Array(768).fill(NaN) }),
    };
    const image = pixelsOf(cases[0]!.vector.image);
    await expect(workingPerturbation(image, broken, rest)).rejects.toThrow(/no numbers/);
  });

  it("stops where it is told to", async () => {
    const stop = async () => {
      throw new Error("stop");
    };
    const image = pixelsOf(cases[0]!.vector.image);
    await expect(workingPerturbation(image, new Formula(16), stop)).rejects.toThrow("stop");
  });
});

test.each([
  [1, 1, /too small/],
  [63, 4000, /too small/],
  [12_000, 9_000, /108 megapixels\); at most 51/],
  [64, 4097, /64 times/],
])("%d x %d is refused", (height, width, words) => {
  expect(() => checkSize(height, width)).toThrow(words);
});

test("what a phone takes is not refused", () => {
  for (const [height, width] of [
    [64, 64],
    [3024, 4032],
    [6000, 8000],
  ] as const) {
    checkSize(height, width);
  }
});
