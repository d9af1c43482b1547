/** The built page on a server of this machine, and a browser on it. */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { cpus } from "node:os";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";

import {
  type Browser,
  type BrowserContextOptions,
  type Download,
  type Page,
  chromium,
} from "playwright-core";

import { HEADERS } from "../../src/headers.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** What `npm run build` made. */
export const DIST = join(root, "dist");
/** What `npm run deploy` made. */
export const DEPLOY = join(root, "deploy");

/** What the tests write: downloads, screenshots, figures. */
export const RESULTS = join(root, "test-results");

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".css": "text/css",
  ".txt": "text/plain; charset=utf-8",
  ".wasm": "application/wasm",
  ".svg": "image/svg+xml",
  ".webmanifest": "application/manifest+json",
};

/** Longest wait for the page, in milliseconds: generous, since the machine may be busy. */
const PATIENCE = 540_000;

/** A server of the page. */
export interface Site {
  readonly url: string;
  /** Paths that are answered with other bytes, or with 404 where null. */
  readonly replaced: Map<string, Uint8Array | null>;
  stop(): Promise<void>;
}

/** Serve what `npm run build` made, with our headers, as the preview server does. */
export function serve(): Promise<Site> {
  return serveFolder(DIST, "/", HEADERS);
}

/** Serve what `npm run deploy` made, as any static host does: in some folder, no headers of ours. */
export function serveDeployed(): Promise<Site> {
  return serveFolder(DEPLOY, "/some/where/", {});
}

async function serveFolder(
  folder: string,
  under: string,
  headers: Readonly<Record<string, string>>,
): Promise<Site> {
  if (!existsSync(join(folder, "index.html"))) {
    throw new Error(`${folder} is not there; run: npm run build && npm run deploy`);
  }
  const replaced = new Map<string, Uint8Array | null>();
  const server: Server = createServer((request, response) => {
    const path = new URL(request.url!, "http://localhost").pathname;
    const name = path === under ? "/index.html" : path.slice(under.length - 1);
    const other = replaced.get(name);
    const file = join(folder, name);
    const found = path.startsWith(under) && other !== null;
    if (!found || (other === undefined && !existsSync(file))) {
      response.writeHead(404).end("not found");
      return;
    }
    response.setHeaders(new Map(Object.entries(headers)));
    response.setHeader("Content-Type", TYPES[extname(name)] ?? "application/octet-stream");
    response.end(other ?? readFileSync(file));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${under}`,
    replaced,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Start Debian's chromium, or the one that `CHROMIUM` names. */
export function launch(...flags: string[]): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", ...flags],
    timeout: 120_000,
  });
}

/**
 * Go to the page as somebody new.
 *
 * @param script run in the page before its own.
 */
export async function visit(
  browser: Browser,
  site: Site,
  options: BrowserContextOptions = {},
  script = "",
): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  if (script) await page.addInitScript(script);
  await page.goto(site.url);
  return page;
}

/** Go to the page and wait for its model. */
export async function open(
  browser: Browser,
  site: Site,
  options: BrowserContextOptions = {},
): Promise<Page> {
  const page = await visit(browser, site, options);
  await ready(page);
  return page;
}

/** Wait until the model is loaded. */
export async function ready(page: Page): Promise<void> {
  await page.locator('#model[data-state="ready"]').waitFor();
}

/** Choose a file and wait until it is protected. */
export async function upload(page: Page, file: string): Promise<void> {
  await page.locator("#file").setInputFiles(file);
  await page.locator("#busy").waitFor({ state: "hidden" });
  await page.locator("#result").waitFor();
}

/** Press Download; gives the file's name and where it was put. */
export async function save(page: Page): Promise<{ name: string; path: string }> {
  const [download] = await Promise.all([
    page.waitForEvent("download") as Promise<Download>,
    page.locator("#download").click(),
  ]);
  const name = download.suggestedFilename();
  const path = join(RESULTS, `saved-${name}`);
  await download.saveAs(path);
  return { name, path };
}

/** What the page says of a photo, by term. */
export async function facts(page: Page): Promise<Record<string, string>> {
  const rows = await page.locator("#facts div").all();
  const pairs = rows.map(async (row) => [
    await row.locator("dt").textContent(),
    await row.locator("dd").textContent(), // the panel may be closed
  ]);
  return Object.fromEntries(await Promise.all(pairs)) as Record<string, string>;
}

/** Processor time of the pages so far, in milliseconds: what a busy machine does not change much. */
export async function processorTime(browser: Browser): Promise<number> {
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  await session.detach();
  const pages = processInfo.filter(({ type }) => type === "renderer");
  return Math.round(1000 * pages.reduce((sum, { cpuTime }) => sum + cpuTime, 0));
}

/** Keep a figure in test-results/figures.json, with what produced it. */
export function figure(name: string, value: unknown): void {
  mkdirSync(RESULTS, { recursive: true });
  const file = join(RESULTS, "figures.json");
  const known = existsSync(file)
    ? (JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>)
    : {};
  const machine = `${cpus()[0]!.model.trim()}, ${cpus().length} cores`;
  writeFileSync(file, `${JSON.stringify({ ...known, machine, [name]: value }, null, 2)}\n`);
  console.log(`${name}: ${JSON.stringify(value)}`);
}
