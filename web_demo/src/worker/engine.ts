/** Run an exported model with ONNX Runtime's WebAssembly build. */

import * as ort from "onnxruntime-web/wasm";
import glueUrl from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import wasmUrl from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";

import { RidError } from "../core/errors.ts";
import { fromPlanar, toPlanar } from "../core/layout.ts";
import { type ModelMetadata, readModel } from "../core/metadata.ts";
import type { Defender } from "../core/protect.ts";
import { type Field, blankField } from "../core/raster.ts";

const MOST_THREADS = 4;

/** A loaded model. */
export class OnnxDefender implements Defender {
  readonly side: number;
  readonly levels: number;
  readonly runtime = `onnxruntime-web ${ort.env.versions.web ?? ""}`;
  readonly threads = ort.env.wasm.numThreads ?? 1;
  /** Milliseconds that each tile took, since the last {@link forget}. */
  readonly tileTimes: number[] = [];

  private constructor(
    readonly metadata: ModelMetadata,
    private readonly session: ort.InferenceSession,
  ) {
    this.side = metadata.resolution;
    this.levels = metadata.levels;
  }

  /**
   * Check a model and run it once on a grey tile.
   *
   * @param file the whole .onnx file.
   * @throws RidError damaged, foreign, or refused by the runtime.
   */
  static async load(file: Uint8Array<ArrayBuffer>): Promise<OnnxDefender> {
    const metadata = await readModel(file);
    // Threads need memory shared between workers, which browsers give isolated pages only.
    ort.env.wasm.numThreads = crossOriginIsolated
      ? Math.min(navigator.hardwareConcurrency, MOST_THREADS)
      : 1;
    ort.env.wasm.wasmPaths = { mjs: absolute(glueUrl), wasm: absolute(wasmUrl) };
    let session: ort.InferenceSession;
    try {
      session = await ort.InferenceSession.create(file, { executionProviders: ["wasm"] });
    } catch (error) {
      throw new RidError(`The model cannot be started (${brief(error)}).`);
    }
    const defender = new OnnxDefender(metadata, session);
    await defender.perturb(blankField(defender.side, defender.side));
    defender.forget();
    return defender;
  }

  /** Drop the times measured so far. */
  forget(): void {
    this.tileTimes.length = 0;
  }

  async perturb(tile: Field): Promise<Field> {
    const shape = [1, 3, this.side, this.side];
    const image = new ort.Tensor("float32", toPlanar(tile), shape);
    const begin = performance.now();
    let outputs: ort.InferenceSession.ReturnType;
    try {
      outputs = await this.session.run({ image }, ["delta"]);
    } catch (error) {
      throw new RidError(`The model failed on this photo (${brief(error)}).`);
    }
    this.tileTimes.push(performance.now() - begin);
    const delta = outputs["delta"]!;
    const field = fromPlanar(delta.data as Float32Array, this.side, this.side);
    delta.dispose();
    return field;
  }
}

function absolute(url: string): string {
  return new URL(url, import.meta.url).href;
}

function brief(error: unknown): string {
  return String(error instanceof Error ? error.message : error)
    .split("\n")[0]!
    .slice(0, 160);
}
