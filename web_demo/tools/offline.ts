/** Build step: tell the service worker which files make the page. */

import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Plugin } from "vite";

const WORKER = "sw.js";

/** Fills in `__PAGE__` of `src/sw.ts`; a page of other bytes gets another version. */
export function offline(): Plugin {
  let publicFolder = "";
  return {
    name: "rid-offline",
    apply: "build",
    configResolved(config) {
      publicFolder = config.publicDir;
    },
    generateBundle: {
      order: "post",
      handler(_, bundle) {
        const worker = bundle[WORKER];
        if (worker?.type !== "chunk" || !worker.code.includes("__PAGE__")) {
          throw new Error(`the build made no ${WORKER} with a place for its files`);
        }
        const contents = new Map<string, string | Uint8Array>();
        for (const [name, file] of Object.entries(bundle)) {
          contents.set(name, file.type === "chunk" ? file.code : file.source);
        }
        for (const name of readdirSync(publicFolder)) {
          contents.set(name, readFileSync(join(publicFolder, name)));
        }
        const digest = createHash("sha256");
        const names = [...contents.keys()].sort();
        for (const name of names) digest.update(`${name}\0`).update(contents.get(name)!);
        const files = names
          .filter((name) => name !== WORKER)
          .map((name) => (name === "index.html" ? "./" : name));
        const page = JSON.stringify({ version: digest.digest("hex").slice(0, 16), files });
        worker.code = worker.code.replace("__PAGE__", page);
      },
    },
  };
}
