/** Pixels to files and to pictures on the screen. */

import { amplifiedChange, toLevels } from "../core/budget.ts";
import { RidError } from "../core/errors.ts";
import { toRgba } from "../core/layout.ts";
import type { Pulse } from "../core/protect.ts";
import { encodePng } from "../core/png.ts";
import type { Pixels } from "../core/raster.ts";
import { resample } from "../core/resample.ts";
import type { Format, Views } from "../protocol.ts";

/** How much the change is enlarged to be seen. */
export const AMPLIFICATION = 16;
/** Below 1, Chromium halves the resolution of colours, which blurs the perturbation in them. */
const JPEG_QUALITY = 1;

/**
 * Encode a photo.
 *
 * @throws RidError JPEG asked for a transparent or too large picture.
 */
export async function encode(
  pixels: Pixels,
  alpha: Uint8Array | null,
  format: Format,
  pulse: Pulse,
): Promise<Blob> {
  if (format === "png") return encodePng(pixels, alpha, pulse);
  if (alpha) throw new RidError("JPEG cannot hold transparency; save as PNG.");
  const canvas = new OffscreenCanvas(pixels.width, pixels.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new RidError("This photo is too large for a JPEG here; save as PNG.");
  context.putImageData(new ImageData(toRgba(pixels, null), pixels.width, pixels.height), 0, 0);
  return canvas.convertToBlob({ type: "image/jpeg", quality: JPEG_QUALITY });
}

/** The three pictures of a whole photo, at most `longest` pixels long. */
export async function fittedViews(
  original: Pixels,
  result: Pixels,
  longest: number,
): Promise<Views> {
  const scale = Math.min(longest / Math.max(original.height, original.width), 1);
  const size = {
    height: Math.max(Math.round(original.height * scale), 1),
    width: Math.max(Math.round(original.width * scale), 1),
  };
  return scale < 1
    ? exactViews(toLevels(resample(original, size)), toLevels(resample(result, size)))
    : exactViews(original, result);
}

/** The three pictures of pixels as they are. */
export async function exactViews(original: Pixels, result: Pixels): Promise<Views> {
  const change = amplifiedChange(original, result, AMPLIFICATION);
  const [before, after, amplified] = await Promise.all(
    [original, result, change].map((image) =>
      createImageBitmap(new ImageData(toRgba(image, null), image.width, image.height)),
    ),
  );
  return { before: before!, after: after!, change: amplified! };
}
