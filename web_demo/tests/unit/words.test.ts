import { expect, test } from "vitest";

import { count, duration, fileSize, savedName } from "../../src/ui/words.ts";

test.each([
  ["portrait.png", "png", "portrait.png"],
  ["IMG_0001.JPG", "jpeg", "IMG_0001.JPG"],
  ["IMG_0001.jpeg", "jpeg", "IMG_0001.jpeg"],
  ["IMG_0001.JPG", "png", "IMG_0001.png"],
  ["on the beach.2.webp", "jpeg", "on the beach.2.jpg"],
  ["portrait", "png", "portrait.png"],
  [".png", "png", "photo.png"],
  ["v1.2 of me", "png", "v1.2 of me.png"],
] as const)("%s saved as %s", (name, format, saved) => {
  expect(savedName(name, format)).toBe(saved);
});

test("figures for people", () => {
  expect([duration(86.4), duration(1260)]).toEqual(["86 ms", "1.3 s"]);
  expect([fileSize(640_000), fileSize(12_340_000)]).toEqual(["640 KB", "12.3 MB"]);
  expect([count(1, "level"), count(8, "level")]).toEqual(["1 level", "8 levels"]);
});
