import { fileURLToPath } from "node:url";

import { defaultClientConditions } from "vite";
import { defineConfig } from "vitest/config";

import { CONTENT_POLICY, HEADERS } from "./src/headers.ts";
import { artefacts } from "./tools/artefacts.ts";
import { deploy } from "./tools/deploy.ts";
import { offline } from "./tools/offline.ts";

const root = fileURLToPath(new URL(".", import.meta.url));

export default defineConfig(({ mode }) => ({
  appType: "mpa", // what is missing is missing, not answered with the page
  base: "./", // works in any folder of any static host
  // The runtime starts its threads from a file of its own, not from the bundle that imports it.
  resolve: { conditions: ["onnxruntime-web-use-extern-wasm", ...defaultClientConditions] },
  plugins: [
    artefacts(root),
    offline(),
    deploy(),
    {
      name: "rid-policy",
      apply: "build",
      transformIndexHtml: () => [
        {
          tag: "meta",
          attrs: { "http-equiv": "Content-Security-Policy", content: CONTENT_POLICY },
          injectTo: "head-prepend",
        },
      ],
    },
  ],
  worker: { format: "es" },
  build: {
    outDir: mode === "deploy" ? "deploy" : "dist",
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: { index: "index.html", sw: "src/sw.ts" },
      output: {
        entryFileNames: ({ name }) => (name === "sw" ? "sw.js" : "assets/[name]-[hash].js"),
      },
    },
  },
  server: { headers: { ...HEADERS, "Content-Security-Policy": "" } },
  preview: { port: 4173, headers: HEADERS },
  test: {
    // Two cores, perhaps busy ones: one file after the other, and patience.
    fileParallelism: false,
    isolate: false,
    testTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: { name: "unit", include: ["tests/unit/*.test.ts"], environment: "node" },
      },
      {
        extends: true,
        test: {
          name: "e2e",
          include: ["tests/e2e/*.test.ts"],
          environment: "node",
          testTimeout: 600_000,
          hookTimeout: 600_000,
        },
      },
    ],
  },
}));
