import { expect, test } from "vitest";

import { count, duration, fileSize, photoNotes, savedName } from "../../src/ui/words.ts";

test.each([
  ["portrait.png", "png", "portrait.protected.png"],
  ["IMG_0001.JPG", "jpeg", "IMG_0001.protected.jpg"],
  ["IMG_0001.jpeg", "jpeg", "IMG_0001.protected.jpg"],
  ["IMG_0001.JPG", "png", "IMG_0001.protected.png"],
  ["on the beach.2.webp", "jpeg", "on the beach.2.protected.jpg"],
  ["portrait", "png", "portrait.protected.png"],
  [".png", "png", "photo.protected.png"],
  ["v1.2 of me", "png", "v1.2 of me.protected.png"],
] as const)("%s saved as %s", (name, format, saved) => {
  expect(savedName(name, format)).toBe(saved);
});

test("what is said of a photo", () => {
  const photo = { kind: "JPEG", transparent: false } as const;
  expect(photoNotes(photo, true)).toBe("The saved file has sRGB colours and no camera data.");
  expect(photoNotes(photo, false)).toMatch(
    /^No face was found. The photo is protected all the same/,
  );
  expect(photoNotes(photo, null)).toMatch(/^This browser cannot look for a face/);
  expect(photoNotes({ kind: "GIF", transparent: true }, true)).toMatch(
    /first picture.*see-through/,
  );
});

test("figures for people", () => {
  expect([duration(86.4), duration(1260)]).toEqual(["86\u00a0ms", "1.3\u00a0s"]);
  expect([fileSize(640_000), fileSize(12_340_000)]).toEqual(["640\u00a0KB", "12.3\u00a0MB"]);
  expect([count(1, "level"), count(8, "level")]).toEqual(["1 level", "8 levels"]);
});
