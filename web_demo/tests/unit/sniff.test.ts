import { expect, test } from "vitest";

import { sniff } from "../../src/core/sniff.ts";
import { goldenBytes } from "./golden.ts";

const bytes = (...parts: (string | number[])[]) =>
  Uint8Array.from(
    parts.flatMap((part) =>
      typeof part === "string" ? [...part].map((c) => c.charCodeAt(0)) : part,
    ),
  );

test.each([
  ["PNG", goldenBytes("portrait.png"), { height: 512, width: 512 }],
  ["GIF", bytes("GIF89a", [0x40, 0x01, 0xf0, 0x00]), { height: 240, width: 320 }],
  [
    "JPEG", // an EXIF segment, a fill byte, a progressive frame of 3024 x 4032
    bytes([0xff, 0xd8, 0xff, 0xe1, 0, 4, 1, 2, 0xff, 0xff, 0xc2, 0, 17, 8, 11, 208, 15, 192, 3]),
    { height: 3024, width: 4032 },
  ],
  [
    "WebP",
    bytes("RIFF", [0, 0, 0, 0], "WEBPVP8X", [10, 0, 0, 0, 0, 0, 0, 0, 0xff, 3, 0, 0xff, 1, 0]),
    { height: 512, width: 1024 },
  ],
  [
    "WebP",
    bytes("RIFF", [0, 0, 0, 0], "WEBPVP8 ", [0, 0, 0, 0, 0, 0, 0, 0x9d, 1, 0x2a, 0, 4, 0, 2]),
    { height: 512, width: 1024 },
  ],
  [
    "WebP",
    bytes("RIFF", [0, 0, 0, 0], "WEBPVP8L", [0, 0, 0, 0, 0x2f, 0xff, 0xc3, 0x7f, 0x00]),
    { height: 512, width: 1024 },
  ],
  ["HEIC", bytes([0, 0, 0, 24], "ftypheic"), null],
  ["AVIF", bytes([0, 0, 0, 24], "ftypavif"), null],
  ["unknown", bytes("hello, world"), null],
  ["unknown", bytes(), null],
])("%s", (kind, head, size) => {
  expect(sniff(head)).toEqual({ kind, size });
});

test("a file cut short in its header is of no known kind or size, and no crash", () => {
  const whole = goldenBytes("portrait.png");
  for (let length = 0; length < 24; length++) {
    expect(sniff(whole.subarray(0, length)).size).toBeNull();
  }
});
