import { expect, test } from "vitest";

import { crop, fromPlanar, takeColours, toPlanar, toRgba } from "../../src/core/layout.ts";
import type { Pixels } from "../../src/core/raster.ts";

const image: Pixels = { height: 2, width: 2, data: Uint8Array.from({ length: 12 }, (_, i) => i) };

test("planes and back", () => {
  const field = { ...image, data: Float32Array.from(image.data) };
  const planar = toPlanar(field);
  expect([...planar]).toEqual([0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]);
  expect(fromPlanar(planar, 2, 2)).toEqual(field);
});

test("canvas pixels and back", () => {
  const rgba = toRgba(image, Uint8Array.of(255, 128, 0, 1));
  expect([...rgba.subarray(0, 8)]).toEqual([0, 1, 2, 255, 3, 4, 5, 128]);
  const colours = new Uint8Array(15);
  takeColours(rgba, colours, 3);
  expect([...colours.subarray(3)]).toEqual([...image.data]);
  expect(toRgba(image, null).filter((_, i) => i % 4 === 3)).toEqual(
    new Uint8ClampedArray(4).fill(255),
  );
});

test("a part of an image", () => {
  expect([...crop(image, 1, 0, 1, 2).data]).toEqual([6, 7, 8, 9, 10, 11]);
  expect([...crop(image, 0, 1, 2, 1).data]).toEqual([3, 4, 5, 9, 10, 11]);
});
