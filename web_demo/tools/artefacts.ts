/** Build step: copy what is made elsewhere in the repository into the page. */

import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Plugin } from "vite";

import { type ModelMetadata, readModel } from "../src/core/metadata.ts";
import { RESULTS_FILE } from "../src/results.ts";
import { readResults } from "./results.ts";

/** A file of the page that is not in its sources. */
interface Artefact {
  /** Path inside the page. */
  readonly name: string;
  readonly type: string;
  readonly read: () => Promise<Uint8Array<ArrayBuffer> | string>;
}

/** Where the exported model is looked for if `RID_MODEL` does not say. */
const DEFAULT_MODEL = "../dist/rid-s.onnx";
const SAMPLE = "../rid_core/assets/portraits/astronaut.jpg";
const RESULTS = "../docs/results";
/** A picture of the trial, if there is one to show: photos as they are above, protected below. */
const ATTACK_PICTURE = "../docs/images/attack.jpg";
const MODEL = "model/rid.onnx";
/** Texts by title; ONNX Runtime's package names its licence but does not hold the text. */
const LICENCES = {
  "ONNX Runtime Web (MIT)": "tools/mit-onnxruntime.txt",
  "Inter (SIL Open Font License 1.1)": "node_modules/@fontsource-variable/inter/LICENSE",
  "RID: this page and the model (Apache-2.0)": "../LICENSE",
};

/**
 * The exported model (`RID_MODEL`, or what `make export` wrote), what was measured of it, a sample
 * portrait, and the licences of what is bundled.
 *
 * @param root folder of the page's sources.
 */
export function artefacts(root: string): Plugin {
  const from = (path: string) => resolve(root, path);
  const model = () => readExport(from(process.env["RID_MODEL"] ?? DEFAULT_MODEL));
  let building = false;
  const picture = existsSync(from(ATTACK_PICTURE)) ? "results/attack.jpg" : null;
  const list: Artefact[] = [
    { name: MODEL, type: "application/octet-stream", read: async () => (await model()).file },
    {
      name: RESULTS_FILE,
      type: "application/json",
      read: async () =>
        JSON.stringify(readResults(from(RESULTS), (await model()).metadata, picture)),
    },
    {
      name: "sample/astronaut.jpg",
      type: "image/jpeg",
      read: async () => Uint8Array.from(readFileSync(from(SAMPLE))),
    },
    { name: "licences.txt", type: "text/plain; charset=utf-8", read: async () => licences(from) },
  ];
  if (picture) {
    list.push({
      name: picture,
      type: "image/jpeg",
      read: async () => Uint8Array.from(readFileSync(from(ATTACK_PICTURE))),
    });
  }
  return {
    name: "rid-artefacts",
    configResolved({ command }) {
      building = command === "build";
    },
    // Fetched beside the scripts, not after them; the page asks for it as soon as it runs.
    transformIndexHtml: () => [
      { tag: "link", attrs: { rel: "preload", href: `./${MODEL}`, as: "fetch", crossorigin: "" } },
    ],
    // Before anything is written: without a model, what an earlier build made stays.
    async buildStart() {
      if (building) await model();
    },
    async generateBundle() {
      for (const { name, read } of list) {
        this.emitFile({ type: "asset", fileName: name, source: await read() });
      }
    },
    configureServer(server) {
      server.middlewares.use((request, response, next) => {
        const path = request.url?.split("?")[0]?.slice(1);
        const artefact = list.find(({ name }) => name === path);
        if (!artefact) return next();
        artefact.read().then(
          (data) => response.setHeader("Content-Type", artefact.type).end(data),
          (error: unknown) => next(error),
        );
      });
    },
  };
}

async function readExport(
  path: string,
): Promise<{ file: Uint8Array<ArrayBuffer>; metadata: ModelMetadata }> {
  if (!existsSync(path)) {
    throw new Error(`no model at ${path}; run "make export" first, or set RID_MODEL to an .onnx`);
  }
  const file = Uint8Array.from(readFileSync(path));
  const metadata = await readModel(file);
  if (metadata.unfit !== null && !process.env["RID_ALLOW_UNFIT"]) {
    throw new Error(`${path} must not be shipped: ${metadata.unfit}; RID_ALLOW_UNFIT=1 to try it`);
  }
  return { file, metadata };
}

function licences(from: (path: string) => string): string {
  return Object.entries(LICENCES)
    .map(([title, path]) => `${title}\n\n${readFileSync(from(path), "utf8").trim()}\n`)
    .join(`\n${"-".repeat(80)}\n\n`);
}
