/** What the page and its worker say to each other. */

import type { Verdict } from "./core/budget.ts";
import type { Size } from "./core/tiling.ts";
import type { Kind } from "./core/sniff.ts";

/** A file to save as. */
export type Format = "png" | "jpeg";

/** A rectangle of the photo, in its pixels. */
export interface Region extends Size {
  readonly top: number;
  readonly left: number;
}

/** Original, protected at full strength, and the change between them around grey. */
export interface Views {
  readonly before: ImageBitmap;
  readonly after: ImageBitmap;
  readonly change: ImageBitmap;
}

/** What the page shows of the model. */
export interface ModelInfo {
  readonly preset: string;
  readonly levels: number;
  readonly precision: string;
  readonly side: number;
  /** First 12 digits of the weights' SHA-256. */
  readonly weights: string;
  /** Why it must not be shipped; null if it may. */
  readonly unfit: string | null;
  /** What runs it, with version. */
  readonly runtime: string;
  readonly threads: number;
}

/** Wall-clock time of each step, in milliseconds. */
export interface Timing {
  readonly decode: number;
  /** Mean of one tile in the network. */
  readonly network: number;
  readonly tiles: number;
  /** From the decoded photo to the protected one, the network included. */
  readonly protect: number;
}

/** An opened and protected photo. */
export interface Opened {
  /** Upright. */
  readonly size: Size;
  readonly kind: Kind;
  readonly transparent: boolean;
  readonly verdict: Verdict;
  readonly timing: Timing;
  readonly views: Views;
}

/** A file ready to be saved. */
export interface Saved {
  readonly blob: Blob;
  /** Of the pixels that went to the encoder. */
  readonly verdict: Verdict;
  readonly milliseconds: number;
}

/** What the page can ask for, with the answers. */
export interface Operations {
  load: { ask: { file: Uint8Array<ArrayBuffer> }; answer: ModelInfo };
  /** `longest`: of the views, in pixels. */
  open: { ask: { file: Blob; longest: number }; answer: Opened };
  crop: { ask: { region: Region }; answer: Views };
  /** Give the photo up, or the work on it. */
  close: { ask: Record<never, never>; answer: null };
  save: { ask: { strength: number; format: Format }; answer: Saved };
}

export type Operation = keyof Operations;

/** A request, tagged by its operation. */
export type Request = {
  [K in Operation]: { readonly id: number; readonly op: K; readonly ask: Operations[K]["ask"] };
}[Operation];

/** What comes back: any number of stages, then an answer or an error. */
export type Reply =
  | { readonly id: number; readonly kind: "stage"; readonly stage: string }
  | { readonly id: number; readonly kind: "answer"; readonly answer: unknown }
  | {
      readonly id: number;
      readonly kind: "error";
      readonly message: string;
      /** `words`: a sentence for people; `superseded`: a newer photo came; else a fault of ours. */
      readonly cause: "words" | "superseded" | "fault";
    };
