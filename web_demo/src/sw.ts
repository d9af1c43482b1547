/// <reference lib="webworker" />
/** The service worker: keeps the whole page, model included, so that it works without a network. */

import { HEADERS } from "./headers.ts";

declare const self: ServiceWorkerGlobalScope;

/** Filled in by the build (tools/offline.ts): every file of the page, and a digest of them all. */
declare const __PAGE__: { readonly version: string; readonly files: readonly string[] };

const page = __PAGE__;
const cacheName = `rid-${page.version}`;

self.addEventListener("install", (event) => {
  event.waitUntil(
    caches.open(cacheName).then((cache) =>
      // Asked for again, so that no stale copy of a file without a digest in its name gets in.
      cache.addAll(page.files.map((file) => new Request(file, { cache: "no-cache" }))),
    ),
  );
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    caches
      .keys()
      .then((names) => names.filter((name) => name !== cacheName))
      .then((old) => Promise.all(old.map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const ours = new URL(request.url).origin === self.location.origin;
  if (request.method === "GET" && ours) event.respondWith(answer(request));
});

async function answer(request: Request): Promise<Response> {
  const cache = await caches.open(cacheName);
  const path = new URL(request.url).pathname;
  const key = path.endsWith("/index.html") ? "./" : request;
  const response = (await cache.match(key, { ignoreSearch: true })) ?? (await fetch(request));
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  const { status, statusText } = response;
  const empty = status === 204 || status === 304;
  return new Response(empty ? null : response.body, { status, statusText, headers });
}
