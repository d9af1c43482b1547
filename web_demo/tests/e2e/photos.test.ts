/** Real photos through the real page, judged by Pillow and by rid-protect with the same model. */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";

import { compare, compareGolden, makePhotos, ridProtect } from "./python.ts";
import {
  RESULTS,
  type Site,
  facts,
  figure,
  launch,
  open,
  processorTime,
  save,
  serve,
  upload,
} from "./site.ts";

const PHOTOS = join(RESULTS, "photos");
const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const PORTRAIT = join(ROOT, "tests/golden/portrait.png");
const ASTRONAUT = join(ROOT, "rid_core/assets/portraits/astronaut.jpg");
const LEVELS = 8;

let site: Site;
let browser: Browser;
let page: Page;
const foreign: string[] = [];

beforeAll(async () => {
  makePhotos(PHOTOS);
  site = await serve();
  browser = await launch();
  page = await open(browser, site);
  page.context().on("request", (request) => {
    if (!request.url().startsWith(site.url) && !/^(blob|data):/.test(request.url())) {
      foreign.push(request.url());
    }
  });
});

afterAll(async () => {
  await browser?.close();
  await site?.stop();
});

describe.each([
  ["portrait.png", PORTRAIT],
  ["astronaut.jpg", ASTRONAUT],
  ["larger.png", join(PHOTOS, "larger.png")],
  ["smaller.png", join(PHOTOS, "smaller.png")],
  ["grey.png", join(PHOTOS, "grey.png")],
  ["lossless.webp", join(PHOTOS, "lossless.webp")],
  ["12 megapixels.jpg", join(PHOTOS, "12 megapixels.jpg")],
])("%s", (name, source) => {
  let saved: { name: string; path: string };

  beforeAll(async () => {
    const begin = await processorTime(browser);
    await upload(page, source);
    const processorMilliseconds = (await processorTime(browser)) - begin;
    figure(name, { processorMilliseconds, ...(await facts(page)) });
    saved = await save(page);
  });

  it("keeps its name and size, and stays within the bound", () => {
    const found = compare(source, saved.path);
    expect(saved.name).toBe(name.replace(/\.\w+$/, ".protected.png"));
    expect(found.result).toEqual(found.original);
    expect(found.max).toBeLessThanOrEqual(LEVELS);
    expect(found.max).toBeGreaterThan(0);
    expect(found.exif).toBe(0);
  });

  it("is what rid-protect makes of it, at most one level apart", () => {
    const target = join(RESULTS, `python-${saved.name}`);
    ridProtect(source, target);
    const apart = compare(target, saved.path);
    figure(`${name} against rid-protect`, { max: apart.max, differing: apart.changed });
    expect(apart.max).toBeLessThanOrEqual(1);
    expect(apart.changed).toBeLessThan(0.001);
  });
});

test("the golden portrait is what the bundled defender makes of it", async (context) => {
  await upload(page, PORTRAIT);
  const found = compareGolden((await save(page)).path);
  if (!found.applies) {
    context.skip("tests/golden/model.json is about other weights than this page's model");
  }
  expect(found.max).toBeLessThanOrEqual(1);
});

test("less strength is what rid-protect makes with less strength", async () => {
  const source = join(PHOTOS, "larger.png");
  await upload(page, source);
  await page.locator("#strength").fill("50");
  expect(await page.locator("#strength-out").innerText()).toBe("50 %");
  const { path } = await save(page);
  const target = join(RESULTS, "python-half.png");
  ridProtect(source, target, 0.5);
  expect(compare(source, path).max).toBeLessThanOrEqual(LEVELS / 2);
  expect(compare(target, path).max).toBeLessThanOrEqual(1);
});

test("wide-gamut colours become sRGB, within the bound of those", async () => {
  const source = join(PHOTOS, "wide gamut.png");
  await upload(page, source);
  expect(await page.locator("#notes").innerText()).toContain("sRGB colours");
  const { path } = await save(page);
  const rounding = 2; // the browser's colour arithmetic and littleCMS's differ
  expect(compare(join(PHOTOS, "wide gamut as sRGB.png"), path).max).toBeLessThanOrEqual(
    LEVELS + rounding,
  );
  expect(compare(source, path).max).toBeGreaterThan(LEVELS + rounding);
});

test("transparency is kept", async () => {
  const source = join(PHOTOS, "transparent.png");
  await upload(page, source);
  expect(await page.locator("#jpeg").isDisabled()).toBe(true);
  expect(await page.locator("#notes").innerText()).toContain("see-through");
  const found = compare(source, (await save(page)).path);
  expect(found).toMatchObject({ alpha: true, same_alpha: true });
  expect(found.max).toBeLessThanOrEqual(LEVELS); // where opaque
});

test("JPEG has the size, and a name of its own", async () => {
  await upload(page, ASTRONAUT);
  await page.locator("#jpeg").check();
  const { name, path } = await save(page);
  const found = compare(ASTRONAUT, path);
  expect(name).toBe("astronaut.protected.jpg");
  expect(found.result).toEqual([512, 512]);
  figure("JPEG, largest change after its own error", found.max);
});

test("48 megapixels do not freeze the page", async () => {
  const source = join(PHOTOS, "48mp.jpg");
  await page.evaluate(() => {
    const record = { longest: 0 };
    let last = performance.now();
    setInterval(() => {
      const now = performance.now();
      record.longest = Math.max(record.longest, now - last);
      last = now;
    }, 50);
    (globalThis as unknown as { record: typeof record }).record = record;
  });
  const begin = Date.now();
  const processor = await processorTime(browser);
  await upload(page, source);
  const milliseconds = Date.now() - begin;
  const processorMilliseconds = (await processorTime(browser)) - processor;
  const { path } = await save(page);
  const record = await page.evaluate(
    () => (globalThis as unknown as { record: { longest: number } }).record,
  );
  figure("48 megapixels", {
    milliseconds,
    processorMilliseconds,
    ...record,
    facts: await facts(page),
  });
  figure("48 megapixels, saving", await page.locator("#saved").innerText());
  const found = compare(source, path);
  expect(found.result).toEqual([6000, 8000]);
  expect(found.max).toBeLessThanOrEqual(LEVELS);
  expect(record.longest).toBeLessThan(milliseconds / 4);
});

test("nothing was asked of another server", () => {
  expect(foreign).toEqual([]);
});
