/** The worker: everything that takes time happens here, so that the page never freezes. */

import { RidError } from "../core/errors.ts";
import { verifyWithin } from "../core/budget.ts";
import { crop } from "../core/layout.ts";
import { addPerturbation, workingPerturbation } from "../core/protect.ts";
import type { Field, Pixels } from "../core/raster.ts";
import type { ModelInfo, Opened, Operations, Reply, Request, Saved, Views } from "../protocol.ts";
import { type Photo, decodePhoto } from "./decode.ts";
import { encode, exactViews, fittedViews } from "./encode.ts";
import { OnnxDefender } from "./engine.ts";

/** A newer photo came, or none is open any more. */
class Superseded extends Error {}

interface Work {
  readonly photo: Photo;
  readonly unit: Field;
  /** At full strength. */
  readonly result: Pixels;
}

let defender: OnnxDefender | null = null;
let work: Work | null = null;
let newestOpen = 0;

const channel = new MessageChannel();
const waiting: (() => void)[] = [];
channel.port1.onmessage = () => waiting.shift()?.();

/** Let messages in, then stop if this photo is not wanted any more. */
async function yieldTo(open: number): Promise<void> {
  await new Promise<void>((resolve) => {
    waiting.push(resolve);
    channel.port2.postMessage(null);
  });
  if (open !== newestOpen) throw new Superseded();
}

function current(): { defender: OnnxDefender; work: Work } {
  if (!defender || !work) throw new Superseded();
  return { defender, work };
}

const operations: {
  [K in keyof Operations]: (
    ask: Operations[K]["ask"],
    stage: (text: string) => void,
  ) => Promise<Operations[K]["answer"]>;
} = {
  async load({ file }): Promise<ModelInfo> {
    defender = await OnnxDefender.load(file);
    const { preset, levels, precision, weights, unfit } = defender.metadata;
    return {
      preset,
      levels,
      precision,
      unfit,
      weights: weights.slice(0, 12),
      side: defender.side,
      runtime: defender.runtime,
      threads: defender.threads,
    };
  },

  async open({ file, longest }, stage): Promise<Opened> {
    const open = ++newestOpen;
    const pulse = () => yieldTo(open);
    work = null;
    if (!defender) throw new RidError("There is no model to protect the photo with.");
    stage("Opening the photo");
    const begin = performance.now();
    const photo = await decodePhoto(file, pulse);
    const decoded = performance.now();
    stage("Computing the protection");
    defender.forget();
    const unit = await workingPerturbation(photo.pixels, defender, pulse);
    const tileTimes = [...defender.tileTimes];
    stage("Adding it at full size");
    const budget = { levels: defender.levels, strength: 1 };
    const result = await addPerturbation(photo.pixels, unit, budget, pulse);
    const done = performance.now();
    stage("Checking the result");
    const verdict = verifyWithin(photo.pixels, result, budget.levels);
    await pulse();
    const views = await fittedViews(photo.pixels, result, longest);
    await pulse();
    work = { photo, unit, result };
    const { height, width } = photo.pixels;
    return {
      size: { height, width },
      kind: photo.kind,
      transparent: photo.alpha !== null,
      verdict,
      views,
      timing: {
        decode: decoded - begin,
        network: tileTimes.reduce((sum, time) => sum + time, 0) / tileTimes.length,
        tiles: tileTimes.length,
        protect: done - decoded,
      },
    };
  },

  async crop({ region }): Promise<Views> {
    const { photo, result } = current().work;
    const { top, left, height, width } = region;
    return exactViews(
      crop(photo.pixels, top, left, height, width),
      crop(result, top, left, height, width),
    );
  },

  async close(): Promise<null> {
    newestOpen++;
    work = null;
    return null;
  },

  async save({ strength, format }, stage): Promise<Saved> {
    const { work, defender } = current();
    const { photo, unit } = work;
    const open = newestOpen;
    const pulse = () => yieldTo(open);
    const begin = performance.now();
    const budget = { levels: defender.levels, strength };
    stage("Adding the protection");
    const result =
      strength === 1 ? work.result : await addPerturbation(photo.pixels, unit, budget, pulse);
    const verdict = verifyWithin(photo.pixels, result, budget.levels);
    await pulse();
    stage(`Writing the ${format === "png" ? "PNG" : "JPEG"} file`);
    const blob = await encode(result, photo.alpha, format, pulse);
    return { blob, verdict, milliseconds: performance.now() - begin };
  },
};

function say(reply: Reply, transfer: Transferable[] = []): void {
  postMessage(reply, { transfer });
}

function bitmaps(answer: unknown): ImageBitmap[] {
  const found: unknown[] = Object.values(answer ?? {});
  const views = (answer as Partial<Opened> | null)?.views;
  if (views) found.push(...Object.values(views));
  return found.filter((value): value is ImageBitmap => value instanceof ImageBitmap);
}

async function handle(request: Request): Promise<void> {
  const { id, op } = request;
  const run = operations[op] as (ask: unknown, stage: (text: string) => void) => Promise<unknown>;
  try {
    const answer = await run(request.ask, (stage) => say({ id, kind: "stage", stage }));
    say({ id, kind: "answer", answer }, bitmaps(answer));
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const cause =
      error instanceof RidError ? "words" : error instanceof Superseded ? "superseded" : "fault";
    if (cause === "fault") console.error(error);
    say({ id, kind: "error", message, cause });
  }
}

onmessage = (event: MessageEvent<Request>) => void handle(event.data);
