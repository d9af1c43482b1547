/**
 * Write PNG files without a canvas, so that the bytes in the file are the levels that were checked:
 * canvases multiply colours with opacity, and some browsers blur what is read from them.
 *
 * Source: the PNG specification, third edition. Compression is the browser's own.
 */

import type { Pixels } from "./raster.ts";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const TRUECOLOUR = 2;
const TRUECOLOUR_ALPHA = 6;
const PAETH = 4;
const STRIP = 128;

/**
 * Encode a picture, lossless, 8 bits, marked as sRGB.
 *
 * @param alpha one value a pixel, 255 opaque; null: the file has no opacity.
 * @param pulse called between strips of rows; see `Pulse`.
 */
export async function encodePng(
  pixels: Pixels,
  alpha: Uint8Array | null,
  pulse: () => Promise<void>,
): Promise<Blob> {
  const { height, width } = pixels;
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8);
  header.setUint8(9, alpha ? TRUECOLOUR_ALPHA : TRUECOLOUR);
  const compressor = new CompressionStream("deflate");
  const compressed = collect(compressor.readable);
  const writer = compressor.writable.getWriter();
  for (let top = 0; top < height; top += STRIP) {
    await writer.write(filteredRows(pixels, alpha, top, Math.min(top + STRIP, height)));
    await pulse();
  }
  await writer.close();
  const parts = (await compressed).map((data) => chunk("IDAT", data));
  return new Blob(
    [
      new Uint8Array(SIGNATURE),
      chunk("IHDR", new Uint8Array(header.buffer)),
      chunk("sRGB", new Uint8Array([0])),
      ...parts,
      chunk("IEND", new Uint8Array()),
    ],
    { type: "image/png" },
  );
}

/** Rows `top` to `bottom` as the compressor wants them: a filter's number, then the differences. */
function filteredRows(
  pixels: Pixels,
  alpha: Uint8Array | null,
  top: number,
  bottom: number,
): Uint8Array<ArrayBuffer> {
  const step = alpha ? 4 : 3;
  const row = pixels.width * step;
  const out = new Uint8Array((bottom - top) * (row + 1));
  const lines = [new Uint8Array(row + step), new Uint8Array(row + step)];
  let [above, line] = [lines[0]!, lines[1]!];
  // A margin of one black pixel on the left and one black row at the top, as the filter has it.
  if (top > 0) copyLine(pixels, alpha, top - 1, above.subarray(step));
  for (let y = top, to = 0; y < bottom; y++) {
    copyLine(pixels, alpha, y, line.subarray(step));
    out[to++] = PAETH;
    for (let i = step; i < row + step; i++) {
      const [left, up, corner] = [line[i - step]!, above[i]!, above[i - step]!];
      const [dLeft, dUp] = [Math.abs(up - corner), Math.abs(left - corner)];
      const dCorner = Math.abs(left + up - 2 * corner);
      const nearest = dLeft <= dUp && dLeft <= dCorner ? left : dUp <= dCorner ? up : corner;
      out[to++] = line[i]! - nearest;
    }
    [above, line] = [line, above];
  }
  return out;
}

function copyLine(pixels: Pixels, alpha: Uint8Array | null, y: number, line: Uint8Array): void {
  const { width } = pixels;
  const colours = pixels.data.subarray(y * width * 3, (y + 1) * width * 3);
  if (!alpha) {
    line.set(colours);
    return;
  }
  for (let x = 0; x < width; x++) {
    line[4 * x] = colours[3 * x]!;
    line[4 * x + 1] = colours[3 * x + 1]!;
    line[4 * x + 2] = colours[3 * x + 2]!;
    line[4 * x + 3] = alpha[y * width + x]!;
  }
}

async function collect(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
): Promise<Uint8Array<ArrayBuffer>[]> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  const reader = stream.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    chunks.push(part.value);
  }
  return chunks;
}

function chunk(name: string, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = name.charCodeAt(i);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value >>> 0;
});

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) {
    crc = CRC_TABLE[(crc ^ bytes[i]!) & 0xff]! ^ (crc >>> 8);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
