/** What a first visit is to show: claims that were measured, the original at a touch, the face. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it, test } from "vitest";

import { preferOriginal, type Results } from "../../src/results.ts";
import { makePhotos } from "./python.ts";
import {
  DIST,
  RESULTS,
  type Site,
  facts,
  launch,
  open,
  ready,
  serve,
  upload,
  visit,
} from "./site.ts";

const PORTRAIT = fileURLToPath(new URL("../../../tests/golden/portrait.png", import.meta.url));
const PHOTOS = join(RESULTS, "photos");
const MEASURED = JSON.parse(readFileSync(join(DIST, "results/results.json"), "utf8")) as Results;
const TRIED: Results = {
  look: { portraits: 7, jod: 9.9, enlarged: 9, large: null },
  attack: {
    people: 20,
    pictures: 16,
    model: "face-ldm",
    method: "lora",
    steps: 100,
    conditions: [
      { name: "clean", recognised: 0.784 },
      { name: "protected", recognised: 0.25 },
    ],
    sameWeights: false,
  },
  picture: "results/attack.jpg",
};

let site: Site;
let browser: Browser;
let page: Page;

beforeAll(async () => {
  makePhotos(PHOTOS);
  site = await serve();
  browser = await launch();
  page = await open(browser, site);
});

afterEach(() => site.replaced.clear());

afterAll(async () => {
  await browser?.close();
  await site?.stop();
});

/** The page as somebody new sees it whose model has other figures. */
async function openWith(results: Results | null): Promise<Page> {
  const text = results === null ? null : new TextEncoder().encode(JSON.stringify(results));
  site.replaced.set("/results/results.json", text);
  site.replaced.set("/results/attack.jpg", Uint8Array.from(readFileSync(PORTRAIT)));
  return open(browser, site);
}

describe("what is claimed was measured", () => {
  it("says how visible it is, in people, as in docs/results", async () => {
    const line = page.locator("#measured");
    expect(await line.isVisible()).toBe(MEASURED.look !== null);
    if (MEASURED.look)
      expect(await line.innerText()).toContain(`${preferOriginal(MEASURED.look.jod)}`);
    await upload(page, PORTRAIT);
    expect((await facts(page))["How visible"]).toContain(
      MEASURED.look ? `${MEASURED.look.jod.toFixed(2)} JOD` : "Not measured",
    );
  });

  it("claims nothing that was not", async () => {
    const visitor = await openWith(null);
    expect(await visitor.locator("#measured").isVisible()).toBe(false);
    expect(await visitor.locator("#attack").isVisible()).toBe(false);
    const text = await visitor.locator("main").innerText();
    expect(text).not.toMatch(/invisible|hardly|barely|faint|imperceptible|cannot be seen/i);
    await upload(visitor, PORTRAIT);
    expect((await facts(visitor))["How visible"]).toContain("Not measured");
    await visitor.context().close();
  });

  it("shows what an attacker gets", async () => {
    const shown = await page.locator("#attack-bars dd").allInnerTexts();
    const shares = MEASURED.attack?.conditions.map(({ recognised }) => recognised) ?? [];
    expect(shown).toEqual(shares.map((share) => String(Math.round(100 * share))));
    expect(await page.locator("#attack-figure").isVisible()).toBe(MEASURED.picture !== null);
  });

  it("shows another trial, its picture, and that it was of other weights", async () => {
    const visitor = await openWith(TRIED);
    expect(await visitor.locator("#measured").innerText()).toContain("53 of 100 people");
    expect(await visitor.locator("#attack-bars dd").allInnerTexts()).toEqual(["78", "25"]);
    const note = await visitor.locator("#attack-note").innerText();
    expect(note).toMatch(/^20 people, 16 pictures of each; LoRA with 100 steps on face-ldm/);
    expect(note).toContain("other weights");
    const picture = visitor.locator("#attack-figure img");
    await picture.scrollIntoViewIfNeeded();
    const width = () => picture.evaluate((img: HTMLImageElement) => img.naturalWidth);
    await expect.poll(width).toBe(512);
    await visitor.context().close();
  });
});

describe("the original at a touch", () => {
  const button = () => page.locator("#original");
  const seen = async () => ({
    pressed: await button().getAttribute("aria-pressed"),
    tag: await page.locator("#tag-after").innerText(),
    picture: (await page.locator("#layers").screenshot()).toString("base64"),
  });
  let protectedPhoto: Awaited<ReturnType<typeof seen>>;
  let original: Awaited<ReturnType<typeof seen>>;

  beforeAll(async () => {
    await upload(page, PORTRAIT);
    await button().click();
    original = await seen();
    await button().click();
    protectedPhoto = await seen();
  });

  it("flips the whole picture, and says which one it is", () => {
    expect(original).toMatchObject({ pressed: "true", tag: "Original" });
    expect(protectedPhoto).toMatchObject({ pressed: "false", tag: "Protected" });
    expect(original.picture).not.toBe(protectedPhoto.picture);
  });

  it("is there while the button is held", async () => {
    await button().hover();
    await page.mouse.down();
    await page.waitForTimeout(600);
    expect(await seen()).toEqual(original);
    await page.mouse.up();
    expect((await seen()).tag).toBe("Protected");
  });

  it.each([
    ["Space on the button", "Space", "#original"],
    ["Enter on the button", "Enter", "#original"],
    ["O anywhere", "o", "#divide"],
  ])("%s: held, or pressed once and once more", async (_, key, focused) => {
    await page.locator(focused).focus();
    await page.keyboard.down(key);
    await page.waitForTimeout(600);
    expect((await seen()).pressed).toBe("true");
    await page.keyboard.up(key);
    expect((await seen()).pressed).toBe("false");
    await page.keyboard.press(key);
    expect((await seen()).pressed).toBe("true");
    await page.keyboard.press(key);
    expect((await seen()).pressed).toBe("false");
  });

  it("answers to a screen reader's click, and is off for the next photo", async () => {
    await button().evaluate((element: HTMLButtonElement) => element.click());
    expect((await seen()).tag).toBe("Original");
    await upload(page, PORTRAIT);
    expect(await seen()).toMatchObject({ pressed: "false", tag: "Protected" });
  });

  it("does nothing while there is no photo", async () => {
    const visitor = await open(browser, site);
    await visitor.keyboard.press("o");
    expect(await visitor.locator("#original").getAttribute("aria-pressed")).toBe("false");
    await visitor.context().close();
  });
});

describe("the close-up", () => {
  /** Where the middle of what is shown lies in the photo, as shares: by the colours of a gradient. */
  async function middle(detector: string): Promise<[number, number]> {
    const visitor = await visit(browser, site, {}, `globalThis.FaceDetector = ${detector}`);
    await ready(visitor);
    await upload(visitor, join(PHOTOS, "gradient.png"));
    await visitor.getByRole("radio", { name: "Close-up" }).check({ force: true });
    const canvas = visitor.locator("#before");
    const width = () => canvas.evaluate((c: HTMLCanvasElement) => c.width);
    await expect.poll(width).toBeLessThanOrEqual(500);
    const found = await canvas.evaluate((c: HTMLCanvasElement) => [
      ...c.getContext("2d")!.getImageData(c.width / 2, c.height / 2, 1, 1).data,
    ]);
    await visitor.context().close();
    return [found[0]! / 255, found[1]! / 255];
  }

  it("opens on the largest face", async () => {
    const boxes = "[[0, 0, 20, 20], [600, 200, 200, 200]]";
    const [x, y] = await middle(
      `class { async detect(picture) { return ${boxes}.map((box) => ` +
        "({ boundingBox: new DOMRect(...box.map((v) => (v * picture.width) / 1000)) })) } }",
    );
    expect(x).toBeCloseTo(0.7, 1);
    expect(y).toBeCloseTo(0.3, 1);
  });

  it("opens on the middle where nobody can tell", async () => {
    const [x, y] = await middle("undefined");
    expect(x).toBeCloseTo(0.5, 1);
    expect(y).toBeCloseTo(0.5, 1);
  });

  it("is not called what the strength is called", async () => {
    const strength = await page.locator("#strength-out").innerText();
    expect(strength).toBe("100 %");
    expect(await page.locator(".tools").innerText()).not.toContain("%");
  });
});

test("figures are under Details, in sentences", async () => {
  await upload(page, PORTRAIT);
  const details = page.locator("#details");
  expect(await details.locator("dl").isVisible()).toBe(false);
  expect(await page.locator(".panel").innerText()).not.toMatch(/JOD|PSNR|dB|SHA/);
  await details.locator("summary").click();
  expect(await details.locator("dl").isVisible()).toBe(true);
  for (const [term, words] of Object.entries(await facts(page))) {
    expect(words, term).toMatch(/\.$/);
  }
});

describe("the model is fetched at once", () => {
  it("one time, beside the scripts", async () => {
    const entries = await page.evaluate(() =>
      performance
        .getEntriesByType("resource")
        .filter(({ name }) => name.endsWith("model/rid.onnx"))
        .map((entry) => (entry as PerformanceResourceTiming).initiatorType),
    );
    expect(entries).toEqual(["link"]);
  });

  it("and says how much of it is here", async () => {
    const visitor = await visit(
      browser,
      site,
      {},
      `const real = fetch;
       globalThis.fetch = async (url) => {
         const response = await real(url);
         if (!String(url).endsWith(".onnx")) return response;
         const bytes = new Uint8Array(await response.arrayBuffer());
         const half = Math.ceil(bytes.length / 2);
         const body = new ReadableStream({
           start(controller) {
             controller.enqueue(bytes.slice(0, half));
             globalThis.finish = () => {
               controller.enqueue(bytes.slice(half));
               controller.close();
             };
           },
         });
         return new Response(body, { headers: { "Content-Length": bytes.length } });
       };`,
    );
    const chip = visitor.locator("#model");
    await expect.poll(() => chip.innerText()).toBe("Loading the model, 50 %");
    await visitor.evaluate(() => (globalThis as unknown as { finish(): void }).finish());
    await ready(visitor);
    await visitor.context().close();
  });
});
