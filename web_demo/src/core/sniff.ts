/**
 * What kind of picture a file is, by content, and how large it claims to be: read before anything
 * is decoded, so that a small file cannot ask for gigabytes.
 */

import type { Size } from "./tiling.ts";

/** Names of kinds for people. */
export type Kind = "JPEG" | "PNG" | "WebP" | "GIF" | "AVIF" | "HEIC" | "unknown";

/** What the first bytes say. */
export interface Sniffed {
  readonly kind: Kind;
  /** As stored, before any orientation; null where this reader does not know the format. */
  readonly size: Size | null;
}

/** Bytes from the start of a file that are enough for {@link sniff}: JPEGs carry much before. */
export const SNIFF_BYTES = 1 << 20;

/** Look at the first bytes of a file. */
export function sniff(head: Uint8Array): Sniffed {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const tag = (at: number, length = 4) => String.fromCharCode(...head.subarray(at, at + length));
  try {
    if (head[0] === 0xff && head[1] === 0xd8) return { kind: "JPEG", size: jpegSize(view) };
    if (tag(1, 3) === "PNG") {
      return { kind: "PNG", size: { width: view.getUint32(16), height: view.getUint32(20) } };
    }
    if (tag(0, 3) === "GIF") {
      return {
        kind: "GIF",
        size: { width: view.getUint16(6, true), height: view.getUint16(8, true) },
      };
    }
    if (tag(0) === "RIFF" && tag(8) === "WEBP") {
      return { kind: "WebP", size: webpSize(view, tag(12)) };
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // cut short: the decoder will say so
  }
  if (tag(4) === "ftyp") {
    if (["heic", "heix", "heim", "mif1", "msf1"].includes(tag(8))) {
      return { kind: "HEIC", size: null };
    }
    if (["avif", "avis"].includes(tag(8))) return { kind: "AVIF", size: null };
  }
  return { kind: "unknown", size: null };
}

/** Of the first frame header; segments before it are skipped by their length. */
function jpegSize(view: DataView): Size | null {
  let at = 2;
  while (at + 9 <= view.byteLength) {
    if (view.getUint8(at) !== 0xff) return null;
    const marker = view.getUint8(at + 1);
    if (marker === 0xff) {
      at++; // fill byte
      continue;
    }
    // C0 to CF are frame headers, but for tables (C4, CC) and a reserved one (C8).
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      return { height: view.getUint16(at + 5), width: view.getUint16(at + 7) };
    }
    at += 2 + view.getUint16(at + 2);
  }
  return null;
}

/** Extended files state their canvas, simple ones their frame: lossy (VP8) or lossless (VP8L). */
function webpSize(view: DataView, chunk: string): Size | null {
  const u24 = (at: number) => view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
  if (chunk === "VP8X") return { width: u24(24) + 1, height: u24(27) + 1 };
  if (chunk === "VP8 ") {
    return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
  }
  if (chunk === "VP8L") {
    const bits = view.getUint32(21, true);
    return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
  }
  return null;
}
