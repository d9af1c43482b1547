import { describe, expect, it, test } from "vitest";

import {
  amplifiedChange,
  applyBudget,
  checkBudget,
  toLevels,
  verify,
  verifyWithin,
} from "../../src/core/budget.ts";
import type { Pixels } from "../../src/core/raster.ts";
import { golden } from "./golden.ts";

interface Case {
  name: string;
  levels: number;
  strength: number;
  image: number[];
  unit: number[];
  protected: number[];
}

const line = (...data: number[]): Pixels => ({
  height: 1,
  width: data.length / 3,
  data: Uint8Array.from(data),
});

describe("applyBudget", () => {
  test.each(golden<{ apply_uint8: Case[] }>("budget").apply_uint8)("$name", (vector) => {
    const out = new Uint8Array(vector.image.length);
    applyBudget(Uint8Array.from(vector.image), Float32Array.from(vector.unit), vector, out);
    expect([...out]).toEqual(vector.protected);
  });

  it("refuses NaN", () => {
    const [image, unit] = [new Uint8Array(3), Float32Array.of(0, NaN, 1)];
    expect(() => applyBudget(image, unit, { levels: 8, strength: 1 }, image)).toThrow(/no numbers/);
  });
});

test.each([
  [0, 1],
  [256, 1],
  [1.5, 1],
  [8, 0],
  [8, 1.01],
  [8, NaN],
])("no bound: %d levels at strength %d", (levels, strength) => {
  expect(() => checkBudget({ levels, strength })).toThrow(/levels|strength/);
});

describe("verify", () => {
  it("measures the change", () => {
    const verdict = verify(line(0, 10, 20), line(3, 10, 16));
    expect(verdict.maxLevels).toBe(4);
    expect(verdict.changed).toBeCloseTo(2 / 3);
  });

  it("calls equal images equal", () => {
    expect(verify(line(1, 2, 3), line(1, 2, 3))).toEqual({ maxLevels: 0, changed: 0 });
  });

  it("lets nothing over the bound out", () => {
    expect(() => verifyWithin(line(0, 0, 0), line(0, 9, 0), 8)).toThrow(/9 levels, more than 8/);
    expect(verifyWithin(line(0, 0, 0), line(0, 8, 0), 8).maxLevels).toBe(8);
  });
});

test("the amplified change is grey where nothing changed, and saturates", () => {
  const change = amplifiedChange(line(5, 5, 5), line(5, 13, 0), 16);
  expect([...change.data]).toEqual([128, 255, 48]);
});

test("levels are rounded to even and clipped", () => {
  const field = { height: 1, width: 2, data: Float32Array.of(0.5, 1.5, 2.5, -3, 300, 7.49) };
  expect([...toLevels(field).data]).toEqual([0, 2, 2, 0, 255, 7]);
});
