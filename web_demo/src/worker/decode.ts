/** Files to upright 8-bit sRGB pixels, by the browser's own decoders. */

import { RidError } from "../core/errors.ts";
import { takeColours } from "../core/layout.ts";
import { type Pulse, checkSize } from "../core/protect.ts";
import { COLOURS, type Pixels, blankPixels } from "../core/raster.ts";
import { type Kind, SNIFF_BYTES, sniff } from "../core/sniff.ts";

const STRIP = 256;

/** A decoded photo. */
export interface Photo {
  readonly pixels: Pixels;
  /** One value a pixel, 255 opaque; null where all are. */
  readonly alpha: Uint8Array<ArrayBuffer> | null;
  readonly kind: Kind;
}

/**
 * Read a photo; its orientation is applied.
 *
 * @throws RidError no picture, damaged, too small or too large.
 */
export async function decodePhoto(file: Blob, pulse: Pulse): Promise<Photo> {
  if (file.size === 0) throw new RidError("This file is empty.");
  const { kind, size } = sniff(new Uint8Array(await file.slice(0, SNIFF_BYTES).arrayBuffer()));
  if (size && size.height > 0 && size.width > 0) checkSize(size.height, size.width);
  refuseNoisyCanvas();
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new RidError(unreadable(kind));
  }
  try {
    checkSize(bitmap.height, bitmap.width);
    return { ...(await readPixels(bitmap, pulse)), kind };
  } finally {
    bitmap.close();
  }
}

function unreadable(kind: Kind): string {
  switch (kind) {
    case "unknown":
      return "This is not a photo that the browser can open. Choose a JPEG, PNG, WebP or AVIF file.";
    case "HEIC":
      return (
        "This is a HEIC photo, which only Safari opens. Save it as JPEG first " +
        "(on an iPhone: Settings, Camera, Formats, Most Compatible)."
      );
    default:
      return `This ${kind} file is damaged or cut short; the browser cannot open it.`;
  }
}

/** In strips: a canvas as large as the photo is more than some phones allow. */
async function readPixels(
  bitmap: ImageBitmap,
  pulse: Pulse,
): Promise<Pick<Photo, "pixels" | "alpha">> {
  const { height, width } = bitmap;
  const pixels = blankPixels(height, width);
  let alpha: Uint8Array<ArrayBuffer> | null = null;
  const context = canvas(width, Math.min(STRIP, height));
  for (let top = 0; top < height; top += STRIP) {
    const rows = Math.min(STRIP, height - top);
    context.drawImage(bitmap, 0, top, width, rows, 0, 0, width, rows);
    const rgba = context.getImageData(0, 0, width, rows).data;
    takeColours(rgba, pixels.data, top * width * COLOURS);
    for (let i = 3; i < rgba.length; i += 4) {
      if (rgba[i] === 255) continue;
      alpha ??= new Uint8Array(height * width).fill(255);
      alpha[top * width + (i >> 2)] = rgba[i]!;
    }
    await pulse();
  }
  return { pixels, alpha };
}

function canvas(width: number, height: number): OffscreenCanvasRenderingContext2D {
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new RidError("Not enough memory for a photo of this size.");
  context.globalCompositeOperation = "copy";
  context.imageSmoothingEnabled = false;
  return context;
}

/**
 * Some browsers change what is read from a canvas, against fingerprinting. Nothing can be promised
 * about a photo that was read so.
 *
 * @throws RidError what was drawn is not what is read.
 */
function refuseNoisyCanvas(): void {
  const side = 32;
  const context = canvas(side, side);
  const drawn = new ImageData(side, side);
  for (let i = 0; i < drawn.data.length; i++) drawn.data[i] = i % 4 === 3 ? 255 : (i * 37) % 256;
  context.putImageData(drawn, 0, 0);
  const read = context.getImageData(0, 0, side, side).data;
  if (read.some((value, i) => value !== drawn.data[i])) {
    throw new RidError(
      "This browser changes the pixels that pages read, as a protection against fingerprinting, " +
        "so the bound cannot be promised. Allow canvas access for this page and reload it.",
    );
  }
}
