/** What an exported model says of itself, and whether it still is what was measured at export. */

import { MAX_LEVELS } from "./budget.ts";
import { RidError } from "./errors.ts";
import { type Block, findMetadata } from "./onnx.ts";

const SCHEMA = 1;
const LONGEST = 1 << 20;

/** An input or output of the network. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
}

/** The part of the document that the page uses; further keys are ignored. */
export interface ModelMetadata {
  /** Name of the defender. */
  readonly preset: string;
  /** Bound of the perturbation in 8-bit levels. */
  readonly levels: number;
  /** Height and width of the tiles it was made for, in pixels. */
  readonly resolution: number;
  readonly precision: string;
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
  /** SHA-256 of the checkpoint's weights. */
  readonly weights: string;
  /** SHA-256 of the file outside the metadata block; empty until it is sealed. */
  readonly network: string;
  /** Why it must not be shipped; null if it may. */
  readonly unfit: string | null;
}

/**
 * Read and check a model file.
 *
 * @param file the whole .onnx file.
 * @throws RidError foreign, damaged, changed after export, or of a kind that this page cannot run.
 */
export async function readModel(file: Uint8Array<ArrayBuffer>): Promise<ModelMetadata> {
  const block = findMetadata(file);
  const metadata = parseMetadata(file.subarray(block.start, block.end));
  if (metadata.network === "") {
    throw new RidError("The model's export was never finished; export it again.");
  }
  if ((await networkDigest(file, block)) !== metadata.network) {
    throw new RidError(
      "The model file is damaged, or was changed after its export: its digest is not the one in " +
        "its metadata. Export it again.",
    );
  }
  checkTensors(metadata);
  return metadata;
}

/**
 * Parse the document.
 *
 * @throws RidError not JSON, another schema, or fields missing or of a wrong kind.
 */
export function parseMetadata(block: Uint8Array): ModelMetadata {
  let document: unknown;
  try {
    if (block.length > LONGEST) throw new Error("longer than ours ever is");
    document = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(block));
  } catch {
    throw new RidError("The model's metadata is damaged; export it again.");
  }
  const raw = record(document, "document");
  if (raw["schema"] !== SCHEMA) {
    throw new RidError(
      `The model's metadata has schema ${String(raw["schema"])}, this page reads ${SCHEMA}; ` +
        "rebuild the page or export the model again.",
    );
  }
  if (raw["format"] !== "onnx") throw new RidError("The model's metadata is of another format.");
  const levels = whole(raw, "levels");
  if (levels > MAX_LEVELS) throw incomplete("levels");
  return {
    preset: text(raw, "preset"),
    levels,
    resolution: whole(raw, "resolution"),
    precision: text(raw, "precision"),
    inputs: tensors(raw, "inputs"),
    outputs: tensors(raw, "outputs"),
    weights: text(raw, "weights"),
    network: text(raw, "network"),
    unfit: raw["unfit"] == null ? null : text(raw, "unfit"),
  };
}

/** SHA-256 of everything but the block, in hexadecimal. */
export async function networkDigest(file: Uint8Array<ArrayBuffer>, block: Block): Promise<string> {
  const rest = new Uint8Array(file.length - (block.end - block.start));
  rest.set(file.subarray(0, block.start));
  rest.set(file.subarray(block.end), block.start);
  return [...new Uint8Array(await crypto.subtle.digest("SHA-256", rest))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}

/** Refuse what this page does not feed: it gives and takes float32 of one size, colours first. */
function checkTensors(metadata: ModelMetadata): void {
  const side = metadata.resolution;
  for (const [name, list] of [
    ["image", metadata.inputs],
    ["delta", metadata.outputs],
  ] as const) {
    const tensor = list.find((info) => info.name === name);
    const shape = `1,3,${side},${side}`;
    if (!tensor) throw new RidError(`The model has no ${name}; export it again.`);
    if (tensor.dtype !== "float32" || tensor.shape.join() !== shape) {
      throw new RidError(
        `The model's ${name} is ${tensor.dtype} [${tensor.shape.join(", ")}]; this page runs ` +
          `models with float32 [${shape.replaceAll(",", ", ")}].`,
      );
    }
  }
}

function incomplete(key: string): RidError {
  return new RidError(`The model's metadata is incomplete (${key}); export it again.`);
}

function record(value: unknown, key: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw incomplete(key);
  return value as Record<string, unknown>;
}

function text(raw: Record<string, unknown>, key: string): string {
  const value = raw[key];
  if (typeof value !== "string") throw incomplete(key);
  return value;
}

function whole(raw: Record<string, unknown>, key: string): number {
  const value = raw[key];
  if (!Number.isInteger(value) || (value as number) < 1) throw incomplete(key);
  return value as number;
}

function tensors(raw: Record<string, unknown>, key: string): TensorInfo[] {
  const list = raw[key];
  if (!Array.isArray(list)) throw incomplete(key);
  return list.map((item) => {
    const info = record(item, key);
    const shape = info["shape"];
    if (!Array.isArray(shape) || !shape.every((n) => Number.isInteger(n))) throw incomplete(key);
    return { name: text(info, "name"), dtype: text(info, "dtype"), shape: shape as number[] };
  });
}
