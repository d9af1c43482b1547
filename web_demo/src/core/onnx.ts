/**
 * Find RID's metadata in an ONNX file with nothing but the file's bytes.
 *
 * Protobuf's wire format and ModelProto's field numbers; no offset is followed out of the file.
 */

import { RidError } from "./errors.ts";

const KEY = "RID_METADATA";
const GRAPH = 7;
const METADATA = 14;
const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** Bytes `start` to `end` (exclusive) of the file. */
export interface Block {
  readonly start: number;
  readonly end: number;
}

interface Entry extends Block {
  readonly number: number;
}

class DamagedError extends Error {}

/**
 * Where the metadata lies.
 *
 * @throws RidError no ONNX file, a damaged one, or one without our metadata.
 */
export function findMetadata(file: Uint8Array): Block {
  // ONNX has no magic number. Its first field is the version (1, a varint), and its graph a message.
  if (file[0] !== 0x08) throw new RidError("The model file is no ONNX file.");
  const found: Block[] = [];
  let graph = false;
  try {
    for (const field of fields(file, { start: 0, end: file.length })) {
      graph ||= field.number === GRAPH;
      if (field.number === METADATA) found.push(...ourValue(file, field));
    }
  } catch (error) {
    if (!(error instanceof DamagedError)) throw error;
    throw new RidError(`The model file is damaged (${error.message}); copy or export it again.`);
  }
  if (!graph) throw new RidError("The model file is no ONNX file.");
  if (found.length > 1) throw new RidError("The model file carries RID metadata twice.");
  if (!found[0]) {
    throw new RidError(
      "The model is an ONNX file, but not one of ours (it carries no RID metadata); " +
        "export with rid-export.",
    );
  }
  return found[0];
}

/** The value of a key-value message if its key is ours. */
function ourValue(file: Uint8Array, message: Block): Block[] {
  const parts = new Map([...fields(file, message)].map((field) => [field.number, field]));
  const [key, value] = [parts.get(1), parts.get(2)];
  if (!key || !value) return [];
  const name = String.fromCharCode(...file.subarray(key.start, Math.min(key.end, key.start + 64)));
  return name === KEY ? [value] : [];
}

/** Every field of a message, with the place of its value. */
function* fields(file: Uint8Array, message: Block): Generator<Entry> {
  let at = message.start;
  while (at < message.end) {
    const [key, start] = varint(file, at, message.end);
    const number = Math.floor(key / 8);
    let block: Block;
    switch (key % 8) {
      case VARINT:
        block = { start, end: varint(file, start, message.end)[1] };
        break;
      case BYTES: {
        const [length, first] = varint(file, start, message.end);
        block = { start: first, end: first + length };
        break;
      }
      case FIXED64:
        block = { start, end: start + 8 };
        break;
      case FIXED32:
        block = { start, end: start + 4 };
        break;
      default:
        throw new DamagedError("not protobuf");
    }
    if (block.end > message.end || number === 0) throw new DamagedError("truncated");
    yield { number, ...block };
    at = block.end;
  }
}

/** A number and the place after it; beyond 2^53 it is inexact, and larger than any file. */
function varint(file: Uint8Array, at: number, end: number): [number, number] {
  let value = 0;
  for (let shift = 0; at < end && shift < 64; shift += 7) {
    const byte = file[at++]!;
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return [value, at];
  }
  throw new DamagedError("truncated");
}
