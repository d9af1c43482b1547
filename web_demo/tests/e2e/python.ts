/** The Python side of the repository, as the judge of what the browser made. */

import { execFileSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL(".", import.meta.url));
const PYTHON = process.env["RID_PYTHON"] ?? join(FOLDER, "../../../.venv/bin/python");

/** The exported model inside the page that is tested. */
export const MODEL = join(FOLDER, "../../dist/model/rid.onnx");

/** What `reference.py compare` says of two files. */
export interface Comparison {
  original: [number, number];
  result: [number, number];
  alpha: boolean;
  exif: number;
  max: number;
  changed: number;
  same_alpha?: boolean;
}

/** Write the photos to upload. */
export function makePhotos(folder: string): void {
  reference("photos", folder);
}

/** Two files, decoded by Pillow. */
export function compare(original: string, result: string): Comparison {
  return JSON.parse(reference("compare", original, result)) as Comparison;
}

/** A protected portrait.png against `tests/golden/model.json`. */
export function compareGolden(result: string): { applies: boolean; max: number } {
  return JSON.parse(reference("golden", MODEL, result)) as { applies: boolean; max: number };
}

/** `rid-protect` with the model of the page. */
export function ridProtect(source: string, target: string, strength = 1): void {
  const program = join(dirname(PYTHON), "rid-protect");
  const options = ["--model", MODEL, "--strength", String(strength), "--overwrite"];
  execFileSync(program, [source, "-o", target, ...options], { stdio: "pipe" });
}

function reference(...words: string[]): string {
  return execFileSync(PYTHON, [join(FOLDER, "reference.py"), ...words], { encoding: "utf8" });
}
