import { beforeAll, describe, expect, it, test } from "vitest";

import { networkDigest, parseMetadata, readModel } from "../../src/core/metadata.ts";
import { findMetadata } from "../../src/core/onnx.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);

function varint(value: number): number[] {
  const bytes = [];
  for (; value > 0x7f; value = Math.floor(value / 128)) bytes.push((value % 128) | 0x80);
  return [...bytes, value];
}

const message = (number: number, body: Iterable<number>): number[] => {
  const bytes = [...body];
  return [...varint(number * 8 + 2), ...varint(bytes.length), ...bytes];
};

const entry = (key: string, value: string) =>
  message(14, [...message(1, utf8(key)), ...message(2, utf8(value))]);

/** As little of an ONNX file as the reader needs: version, graph, metadata. */
function onnx(...entries: number[][]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from([0x08, 10, ...message(7, new Uint8Array(300)), ...entries.flat()]);
}

const tensor = (name: string) => ({
  name,
  dtype: "float32",
  shape: [1, 3, 512, 512],
  low: -1,
  high: 1,
});

const document = {
  schema: 1,
  format: "onnx",
  preset: "rid-s",
  levels: 8,
  resolution: 512,
  precision: "fp32",
  weights: "ab".repeat(32),
  network: "",
  inputs: [tensor("image")],
  outputs: [tensor("protected"), tensor("delta")],
};

/** A file with a document, sealed with the right digest unless told otherwise. */
async function sealed(change: object = {}): Promise<Uint8Array<ArrayBuffer>> {
  const write = (network: string) =>
    onnx(entry("RID_METADATA", JSON.stringify({ ...document, network, ...change })));
  const draft = write("0".repeat(64));
  return write(await networkDigest(draft, findMetadata(draft)));
}

describe("findMetadata", () => {
  it("finds our entry among others", () => {
    const file = onnx(entry("author", "someone"), entry("RID_METADATA", "{}"));
    const { start, end } = findMetadata(file);
    expect(new TextDecoder().decode(file.subarray(start, end))).toBe("{}");
  });

  test.each([
    ["a page instead of a model", utf8("<!doctype html>"), /no ONNX file/],
    ["nothing", new Uint8Array(), /no ONNX file/],
    ["a foreign model", onnx(entry("author", "someone")), /not one of ours/],
    ["two entries", onnx(entry("RID_METADATA", ""), entry("RID_METADATA", "")), /twice/],
    ["a file cut short", onnx(entry("RID_METADATA", "{}")).subarray(0, 200), /truncated/],
    ["an endless number", Uint8Array.from([8, ...Array<number>(20).fill(255)]), /truncated/],
    ["no protobuf", Uint8Array.from([8, 1, 0x0f]), /not protobuf/],
    ["a length beyond the file", Uint8Array.from([8, 1, 58, 255, 255, 255, 255, 127]), /truncated/],
  ])("refuses %s", (_, file, words) => {
    expect(() => findMetadata(file)).toThrow(words);
  });
});

describe("readModel", () => {
  let file: Uint8Array<ArrayBuffer>;
  beforeAll(async () => {
    file = await sealed();
  });

  it("reads what the page needs", async () => {
    expect(await readModel(file)).toMatchObject({ preset: "rid-s", levels: 8, unfit: null });
  });

  it("notices one changed bit", async () => {
    const changed = file.slice();
    changed[100]! ^= 1;
    await expect(readModel(changed)).rejects.toThrow(/digest is not the one/);
  });

  test.each([
    ["never sealed", { network: "" }, /never finished/],
    ["8-bit input", { inputs: [{ ...tensor("image"), dtype: "uint8" }] }, /image is uint8/],
    ["no delta", { outputs: [tensor("protected")] }, /has no delta/],
    ["another size", { resolution: 256 }, /image is float32 \[1, 3, 512, 512\]/],
  ])("refuses a model with %s", async (_, change, words) => {
    await expect(sealed(change).then(readModel)).rejects.toThrow(words);
  });
});

describe("parseMetadata", () => {
  const parse = (value: object) => parseMetadata(utf8(JSON.stringify(value)));

  it("takes the padding", () => {
    expect(parseMetadata(utf8(`${JSON.stringify(document)}     `)).preset).toBe("rid-s");
  });

  test.each([
    [{ ...document, schema: 2 }, /schema 2/],
    [{ ...document, format: "tflite" }, /another format/],
    [{ ...document, levels: 0 }, /incomplete \(levels\)/],
    [{ ...document, levels: 1000 }, /incomplete \(levels\)/],
    [{ ...document, preset: 3 }, /incomplete \(preset\)/],
    [{ ...document, inputs: [{ name: "image" }] }, /incomplete/],
    [[], /incomplete \(document\)/],
  ])("refuses %o", (value, words) => {
    expect(() => parse(value)).toThrow(words);
  });

  it("refuses what is no JSON", () => {
    expect(() => parseMetadata(utf8("{"))).toThrow(/damaged/);
    expect(() => parseMetadata(Uint8Array.of(0xff, 0xfe))).toThrow(/damaged/);
  });
});
