import { inflateSync } from "node:zlib";
import { expect, test } from "vitest";

import { encodePng } from "../../src/core/png.ts";
import type { Pixels } from "../../src/core/raster.ts";
import { sniff } from "../../src/core/sniff.ts";

/** Values of an 8-bit PNG: what a decoder gives, written from the specification's own formulae. */
function decode(file: Uint8Array): { width: number; height: number; values: number[] } {
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const data: Uint8Array[] = [];
  let [width, height, channels] = [0, 0, 0];
  for (let at = 8; at < file.length;) {
    const length = view.getUint32(at);
    const name = String.fromCharCode(...file.subarray(at + 4, at + 8));
    const body = file.subarray(at + 8, at + 8 + length);
    if (name === "IHDR") {
      [width, height] = [view.getUint32(at + 8), view.getUint32(at + 12)];
      channels = body[9] === 6 ? 4 : 3;
    }
    if (name === "IDAT") data.push(body);
    at += 12 + length;
  }
  const raw = inflateSync(Buffer.concat(data));
  const row = width * channels;
  const values: number[] = [];
  for (let y = 0; y < height; y++) {
    if (raw[y * (row + 1)] !== 4) throw new Error(`row ${y} has another filter than Paeth`);
    for (let x = 0; x < row; x++) {
      const a = x < channels ? 0 : values[y * row + x - channels]!;
      const b = y === 0 ? 0 : values[(y - 1) * row + x]!;
      const c = x < channels || y === 0 ? 0 : values[(y - 1) * row + x - channels]!;
      const p = a + b - c;
      const [pa, pb, pc] = [Math.abs(p - a), Math.abs(p - b), Math.abs(p - c)];
      const predicted = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
      values.push((raw[y * (row + 1) + 1 + x]! + predicted) % 256);
    }
  }
  return { width, height, values };
}

function noise(height: number, width: number): Pixels {
  let state = 1;
  const data = Uint8Array.from({ length: height * width * 3 }, () => {
    state = (state * 48271) % 2147483647;
    return state % 256;
  });
  return { height, width, data };
}

const rest = async () => {};

test.each([
  [1, 1],
  [7, 5],
  [300, 11], // several strips of rows
])("%d x %d comes back as it was", async (height, width) => {
  const pixels = noise(height, width);
  const blob = await encodePng(pixels, null, rest);
  const file = new Uint8Array(await blob.arrayBuffer());
  expect(blob.type).toBe("image/png");
  expect(sniff(file)).toEqual({ kind: "PNG", size: { height, width } });
  expect(decode(file)).toEqual({ height, width, values: [...pixels.data] });
});

test("colours under full transparency are kept", async () => {
  const pixels = noise(2, 3);
  const alpha = Uint8Array.of(0, 1, 2, 128, 254, 255);
  const file = new Uint8Array(await (await encodePng(pixels, alpha, rest)).arrayBuffer());
  const { values } = decode(file);
  expect(values.filter((_, i) => i % 4 === 3)).toEqual([...alpha]);
  expect(values.filter((_, i) => i % 4 !== 3)).toEqual([...pixels.data]);
});
