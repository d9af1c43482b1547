/** The vectors that every language is held against, read from where they are. */

import { readFileSync } from "node:fs";

import type { Field, Pixels } from "../../src/core/raster.ts";

const FOLDER = new URL("../../../tests/golden/", import.meta.url);

type Nested = number[][][];

/** A JSON file of `tests/golden`. */
export function golden<T>(name: string): T {
  const document = JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), "utf8")) as {
    schema: number;
  };
  if (document.schema !== 1) throw new Error(`${name}.json has schema ${document.schema}`);
  return document as T;
}

/** Bytes of a file of `tests/golden`. */
export function goldenBytes(name: string): Uint8Array {
  return readFileSync(new URL(name, FOLDER));
}

/** `[row][column][colour]` levels to pixels. */
export function pixelsOf(image: Nested): Pixels {
  return { ...sizeOf(image), data: Uint8Array.from(image.flat(2)) };
}

/** `[row][column][colour]` decimals to float32. */
export function fieldOf(image: Nested): Field {
  return { ...sizeOf(image), data: Float32Array.from(image.flat(2)) };
}

function sizeOf(image: Nested) {
  return { height: image.length, width: image[0]!.length };
}

/** Largest difference of two arrays of one length. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`${a.length} values against ${b.length}`);
  let largest = 0;
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs(a[i]! - b[i]!));
  return largest;
}

export type { Nested };
