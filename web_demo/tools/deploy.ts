/** Build step of `npm run deploy`: what some hosts want beside the page, and what none may need. */

import type { Plugin } from "vite";

import { HEADERS } from "../src/headers.ts";

/** Every reference in the page that would only work at the root of a host. */
const FROM_ROOT = /(?:src|href|content)="\/[^"]*"|url\(\/[^)]*\)/g;

/**
 * Adds `_headers`, which Netlify and Cloudflare Pages read (threads on the first visit), and
 * `.nojekyll`, without which GitHub Pages leaves files out; fails where the page is bound to the
 * root of its host.
 */
export function deploy(): Plugin {
  return {
    name: "rid-deploy",
    apply: (_, { mode }) => mode === "deploy",
    generateBundle: {
      order: "post",
      handler(_, bundle) {
        for (const file of Object.values(bundle)) {
          if (file.type !== "asset" || !/\.(html|css|webmanifest)$/.test(file.fileName)) continue;
          const found = String(file.source).match(FROM_ROOT);
          if (found)
            throw new Error(`${file.fileName} works at the root only: ${found.join(", ")}`);
        }
        const headers = Object.entries(HEADERS).map(([name, value]) => `  ${name}: ${value}\n`);
        this.emitFile({
          type: "asset",
          fileName: "_headers",
          source: `/*\n${headers.join("")}`,
        });
        this.emitFile({ type: "asset", fileName: ".nojekyll", source: "" });
      },
    },
  };
}
