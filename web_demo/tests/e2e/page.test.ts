/** The page itself: without a network, with bad input, with a keyboard, in every size and colour. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it, test } from "vitest";

import { compare, makePhotos } from "./python.ts";
import {
  RESULTS,
  type Site,
  facts,
  figure,
  launch,
  open,
  processorTime,
  ready,
  save,
  serve,
  serveDeployed,
  upload,
  visit,
} from "./site.ts";

const PHOTOS = join(RESULTS, "photos");
const PORTRAIT = fileURLToPath(new URL("../../../tests/golden/portrait.png", import.meta.url));

let site: Site;
let browser: Browser;
let page: Page;

beforeAll(async () => {
  makePhotos(PHOTOS);
  site = await serve();
  browser = await launch("--use-fake-device-for-media-stream");
  page = await open(browser, site);
});

afterAll(async () => {
  await browser?.close();
  await site?.stop();
});

const said = async (on = page) => {
  await on.locator("#alert").waitFor();
  return on.locator("#alert-text").innerText();
};

describe("bad input is said in words, and the page goes on", () => {
  test.each([
    ["text.jpg", "not a photo that the browser can open"],
    ["empty.png", "This file is empty"],
    ["cut.jpg", "This JPEG file is damaged or cut short"],
    ["huge.png", "108 megapixels); at most 51"],
    ["pixel.png", "1 × 1 pixels, which is too small"],
    ["strip.png", "64 times as long as wide"],
    ["phone.heic", "HEIC photo"],
  ])("%s", async (name, words) => {
    await page.locator("#file").setInputFiles(join(PHOTOS, name));
    expect(await said()).toContain(words);
    expect(await page.locator("#start").isVisible()).toBe(true);
    await page.locator("#alert-close").click();
    expect(await page.locator("#alert").isVisible()).toBe(false);
  });

  it("takes a good photo after all of these", async () => {
    await upload(page, PORTRAIT);
    expect((await facts(page))["Change"]).toMatch(/^At most [1-8] of 255/);
  });
});

describe("a bad model is said in words", () => {
  const good = () => Uint8Array.from(readFileSync(join(PHOTOS, "../../dist/model/rid.onnx")));

  afterEach(() => site.replaced.clear());

  test.each<[string, () => Uint8Array | null, string]>([
    ["missing", () => null, "The model is missing on this server (404)"],
    ["a web page", () => new TextEncoder().encode("<!doctype html>"), "no ONNX file"],
    ["cut short", () => good().subarray(0, 100_000), "is damaged (truncated)"],
    [
      "changed in one bit",
      () => {
        const file = good();
        file[file.length >> 1]! ^= 1;
        return file;
      },
      "its digest is not the one in its metadata",
    ],
  ])("%s", async (_, model, words) => {
    site.replaced.set("/model/rid.onnx", model());
    const fresh = await visit(browser, site);
    expect(await said(fresh)).toContain(words);
    expect(await fresh.locator("#model").innerText()).toBe("No model");
    await fresh.locator("#file").setInputFiles(PORTRAIT);
    await fresh.locator("#busy").waitFor({ state: "hidden" });
    expect(await said(fresh)).toContain(words);
    await fresh.context().close();
  });
});

/** Latency of one tile and processor time of one photo, over several uploads. */
async function measure(on: Page, name: string): Promise<void> {
  const time: string[] = [];
  const processor: number[] = [];
  for (let i = 0; i < 5; i++) {
    const begin = await processorTime(browser);
    await upload(on, PORTRAIT);
    processor.push((await processorTime(browser)) - begin);
    time.push((await facts(on))["Time"]!);
  }
  figure(name, {
    runtime: (await facts(on))["Runs on"],
    time,
    processorMilliseconds: processor,
  });
}

describe("any static host", () => {
  it("works without a network after the first visit, and with threads", async () => {
    const plain = await serveDeployed();
    const visitor = await open(browser, plain);
    expect(await visitor.evaluate(() => crossOriginIsolated)).toBe(false);
    await measure(visitor, "portrait.png, not isolated");
    await visitor.waitForFunction(async () => {
      const registration = await navigator.serviceWorker.ready;
      return registration.active?.state === "activated";
    });
    await plain.stop();
    await visitor.context().setOffline(true);
    await visitor.reload();
    await ready(visitor);
    expect(await visitor.evaluate(() => crossOriginIsolated)).toBe(true);
    await measure(visitor, "portrait.png, isolated");
    const found = compare(PORTRAIT, (await save(visitor)).path);
    expect(found.result).toEqual([512, 512]);
    expect(found.max).toBeLessThanOrEqual(8);
    await visitor.goto(`${plain.url}licences.txt`);
    expect(await visitor.locator("body").innerText()).toContain("Microsoft");
    await visitor.context().close();
  });

  it("says when it could not be kept for the time without a network", async () => {
    const plain = await serveDeployed();
    plain.replaced.set("/licences.txt", null);
    const visitor = await open(browser, plain);
    await expect.poll(() => visitor.locator("#offline").innerText()).toContain("Could not be kept");
    await upload(visitor, PORTRAIT);
    await visitor.context().close();
    await plain.stop();
  });

  it("lets nothing out", async () => {
    const refused = await page.evaluate(() =>
      fetch("http://127.0.0.1:9/").then(
        () => "sent",
        (error: Error) => error.message,
      ),
    );
    const policy = await page.locator("meta[http-equiv]").getAttribute("content");
    expect(refused).toMatch(/Content Security Policy|Failed to fetch/);
    expect(policy).toContain("default-src 'self'");
  });
});

describe("a photo without a face is protected all the same, and that is said", () => {
  test.each([
    ["no detector", "undefined", "This browser cannot look for a face"],
    ["one that fails", "class { detect() { return Promise.reject(Error()) } }", "This browser can"],
    ["no face", "class { async detect() { return [] } }", "No face was found"],
    ["a face", "class { async detect() { return [{ boundingBox: new DOMRect() }] } }", "The saved"],
  ])("%s", async (_, detector, words) => {
    const visitor = await visit(browser, site, {}, `globalThis.FaceDetector = ${detector}`);
    await ready(visitor);
    await upload(visitor, PORTRAIT);
    expect(await visitor.locator("#notes").innerText()).toMatch(new RegExp(`^${words}`));
    expect((await facts(visitor))["Change"]).toMatch(/^At most [1-8] of 255/);
    await visitor.context().close();
  });
});

describe("keyboard and screen reader", () => {
  const value = () => page.locator("#divide").getAttribute("aria-valuenow");

  it("moves the divide", async () => {
    await upload(page, PORTRAIT);
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("divide");
    await page.keyboard.press("ArrowRight");
    expect(await value()).toBe("52");
    await page.keyboard.press("Home");
    expect(await value()).toBe("0");
    await page.keyboard.press("End");
    await page.keyboard.press("PageDown");
    expect(await value()).toBe("90");
    expect(await page.locator("#divide").getAttribute("aria-valuetext")).toBe(
      "90 % original, 10 % the protected photo",
    );
  });

  it("reaches every control in order", async () => {
    const order = [];
    for (let i = 0; i < 8; i++) {
      await page.keyboard.press("Tab");
      order.push(
        await page.evaluate(() => {
          const focused = document.activeElement as HTMLInputElement;
          return focused.id || focused.name;
        }),
      );
    }
    expect(order).toEqual(
      expect.arrayContaining([
        "mode",
        "zoom",
        "original",
        "strength",
        "format",
        "download",
        "another",
      ]),
    );
  });

  it("names everything that can be used", async () => {
    const unnamed = await page.evaluate(() =>
      [...document.querySelectorAll<HTMLElement>("button, input:not([hidden]), [role=slider]")]
        .filter((part) => {
          const labels = (part as HTMLInputElement).labels;
          const text = part.getAttribute("aria-label") ?? labels?.[0]?.textContent ?? "";
          return !(text + part.textContent).trim();
        })
        .map((part) => part.outerHTML),
    );
    expect(unnamed).toEqual([]);
    const tree = await page.locator("main").ariaSnapshot();
    expect(tree).toContain("slider");
    expect(tree).toContain("Divide between original and protected");
  });

  it("shows pixels as they are, and moves over them", async () => {
    await upload(page, join(PHOTOS, "larger.png"));
    await page.getByRole("radio", { name: "Close-up" }).check({ force: true });
    const width = () => page.locator("#before").evaluate((c: HTMLCanvasElement) => c.width);
    await expect.poll(width).toBeLessThan(1280);
    const corner = () =>
      page
        .locator("#before")
        .evaluate((c: HTMLCanvasElement) => [...c.getContext("2d")!.getImageData(0, 0, 8, 8).data]);
    const before = await corner();
    await page.locator("#stage").focus();
    await page.keyboard.press("ArrowRight");
    await expect.poll(corner).not.toEqual(before);
  });
});

describe("the camera", () => {
  it("takes a photo", async () => {
    const visitor = await open(browser, site);
    await visitor.context().grantPermissions(["camera"]);
    await visitor.locator("#take").click();
    await visitor.locator("#shutter").click();
    await visitor.locator("#result").waitFor();
    expect((await save(visitor)).name).toBe("photo.protected.png");
    await visitor.context().close();
  });

  it("says that it was not allowed", async () => {
    await page.reload();
    await ready(page);
    await page.locator("#take").click();
    expect(await said()).toContain("not allowed");
  });
});

test("a photo can be dropped, and given up", async () => {
  await page.reload();
  await ready(page);
  const bytes = [...readFileSync(PORTRAIT)];
  const transfer = await page.evaluateHandle((data) => {
    const list = new DataTransfer();
    list.items.add(new File([Uint8Array.from(data)], "dropped.png", { type: "image/png" }));
    return list;
  }, bytes);
  await page.dispatchEvent("body", "drop", { dataTransfer: transfer });
  await page.locator("#result").waitFor();
  expect((await save(page)).name).toBe("dropped.protected.png");
  await page.locator("#file").setInputFiles(join(PHOTOS, "48mp.jpg"));
  await page.locator("#cancel").click();
  expect(await page.locator("#start").isVisible()).toBe(true);
  await upload(page, PORTRAIT);
  expect((await facts(page))["Photo"]).toBe("512 × 512 pixels.");
});

describe.each([
  ["phone", 390, 844],
  ["desktop", 1440, 900],
])("on a %s", (device, width, height) => {
  it.each(["light", "dark"] as const)("in %s colours nothing is cut off", async (colorScheme) => {
    const visitor = await open(browser, site, { viewport: { width, height }, colorScheme });
    const shoot = async (state: string) => {
      const path = join(RESULTS, `${state}-${device}-${colorScheme}.png`);
      await visitor.screenshot({ path, fullPage: true });
      const overflow = () => document.documentElement.scrollWidth - innerWidth;
      expect(await visitor.evaluate(overflow)).toBeLessThanOrEqual(0);
    };
    await shoot("start");
    await upload(visitor, PORTRAIT);
    await shoot("result");
    await visitor.getByText("Change × 16", { exact: true }).first().click();
    await shoot("change");
    await visitor.context().close();
  });
});
