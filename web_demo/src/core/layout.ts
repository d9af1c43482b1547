/** The same values in the order that a canvas, a network or a file wants them. */

import { COLOURS, type Field, type Pixels, blankField, blankPixels } from "./raster.ts";

/** `[row][column][colour]` to the `[colour][row][column]` of an NCHW tensor. */
export function toPlanar(image: Field): Float32Array<ArrayBuffer> {
  const area = image.height * image.width;
  const planar = new Float32Array(area * COLOURS);
  for (let colour = 0; colour < COLOURS; colour++) {
    for (let i = 0; i < area; i++) planar[colour * area + i] = image.data[i * COLOURS + colour]!;
  }
  return planar;
}

/** The reverse of {@link toPlanar}. */
export function fromPlanar(planar: Float32Array, height: number, width: number): Field {
  const area = height * width;
  const image = blankField(height, width);
  for (let colour = 0; colour < COLOURS; colour++) {
    for (let i = 0; i < area; i++) image.data[i * COLOURS + colour] = planar[colour * area + i]!;
  }
  return image;
}

/**
 * Take the colours of a canvas's pixels.
 *
 * @param rgba values of whole rows, four a pixel.
 * @param colours where they go, three a pixel.
 * @param at the first of them.
 */
export function takeColours(rgba: Uint8ClampedArray, colours: Uint8Array, at: number): void {
  for (let from = 0, to = at; from < rgba.length; from += 4, to += COLOURS) {
    colours[to] = rgba[from]!;
    colours[to + 1] = rgba[from + 1]!;
    colours[to + 2] = rgba[from + 2]!;
  }
}

/**
 * Interleave colours with their opacity, as canvases and PNG files want them.
 *
 * @param alpha one value a pixel, 255 opaque; null: opaque everywhere.
 */
export function toRgba(image: Pixels, alpha: Uint8Array | null): Uint8ClampedArray<ArrayBuffer> {
  const area = image.height * image.width;
  const rgba = new Uint8ClampedArray(area * 4);
  for (let i = 0; i < area; i++) {
    rgba[4 * i] = image.data[3 * i]!;
    rgba[4 * i + 1] = image.data[3 * i + 1]!;
    rgba[4 * i + 2] = image.data[3 * i + 2]!;
    rgba[4 * i + 3] = alpha === null ? 255 : alpha[i]!;
  }
  return rgba;
}

/** A part of an image; it must lie inside. */
export function crop(
  image: Pixels,
  top: number,
  left: number,
  height: number,
  width: number,
): Pixels {
  const part = blankPixels(height, width);
  for (let row = 0; row < height; row++) {
    const from = ((top + row) * image.width + left) * COLOURS;
    part.data.set(image.data.subarray(from, from + width * COLOURS), row * width * COLOURS);
  }
  return part;
}
