/**
 * An image in memory: `data[(row * width + column) * 3 + colour]`, rows from the top, colours red,
 * green, blue.
 */
export interface Raster<T extends Uint8Array | Float32Array> {
  readonly height: number;
  readonly width: number;
  readonly data: T;
}

/** Colour values in levels, 0 to 255. */
export type Pixels = Raster<Uint8Array<ArrayBuffer>>;

/** Float32 values: colours in [0, 1] or in levels, or a unit perturbation in [-1, 1]. */
export type Field = Raster<Float32Array<ArrayBuffer>>;

/** Colour values of a pixel. */
export const COLOURS = 3;

/** Pixels of this size, all black. */
export function blankPixels(height: number, width: number): Pixels {
  return { height, width, data: new Uint8Array(height * width * COLOURS) };
}

/** A field of this size, all zero. */
export function blankField(height: number, width: number): Field {
  return { height, width, data: new Float32Array(height * width * COLOURS) };
}
