/** The bound on a perturbation, in 8-bit levels of the saved image: the one place where it lives. */

import { RidError } from "./errors.ts";
import type { Field, Pixels } from "./raster.ts";

/** Largest bound that makes sense. */
export const MAX_LEVELS = 255;

/** A bound. */
export interface Budget {
  /** Largest change of any colour value, 1 to 255. */
  readonly levels: number;
  /** Share of it that is used, in (0, 1]. */
  readonly strength: number;
}

/** What {@link verify} found. */
export interface Verdict {
  /** Largest change of a colour value, in levels. */
  readonly maxLevels: number;
  /** Share of the colour values that changed, 0 to 1. */
  readonly changed: number;
}

// Adding it to a float32 leaves no room for fractions; the hardware rounds halves to even.
const NO_FRACTIONS = 1.5 * 2 ** 23;

/**
 * Refuse what is no bound.
 *
 * @throws RidError levels or strength out of range.
 */
export function checkBudget(budget: Budget): void {
  const { levels, strength } = budget;
  if (!Number.isInteger(levels) || levels < 1 || levels > MAX_LEVELS) {
    throw new RidError(`A bound is a whole number of 1 to ${MAX_LEVELS} levels, not ${levels}.`);
  }
  if (!(strength > 0 && strength <= 1)) {
    throw new RidError(`A strength is above 0 and at most 1, not ${strength}.`);
  }
}

/**
 * Add a unit perturbation to 8-bit colours: `clamp(x + round(clamp(unit, -1, 1) * s), 0, 255)` with
 * `s = float32(levels * strength)`; halves are rounded to the even neighbour.
 *
 * @param colours levels, any layout.
 * @param unit perturbation in the same layout; values outside [-1, 1] are clipped.
 * @param out where the protected levels go.
 * @throws RidError a bound out of range, or NaN in `unit`.
 */
export function applyBudget(
  colours: Uint8Array,
  unit: Float32Array,
  budget: Budget,
  out: Uint8Array,
): void {
  checkBudget(budget);
  const scale = Math.fround(budget.levels * budget.strength);
  let sound = true;
  for (let i = 0; i < colours.length; i++) {
    const clipped = Math.min(Math.max(unit[i]!, -1), 1);
    sound &&= clipped === clipped;
    const step = Math.fround(Math.fround(clipped * scale) + NO_FRACTIONS) - NO_FRACTIONS;
    out[i] = Math.min(Math.max(colours[i]! + step, 0), 255);
  }
  if (!sound) {
    throw new RidError("The model returned values that are no numbers; export it again.");
  }
}

/** The largest and the average change between two images of one size. */
export function verify(original: Pixels, protectedPixels: Pixels): Verdict {
  const a = original.data;
  const b = protectedPixels.data;
  let maxLevels = 0;
  let changed = 0;
  for (let i = 0; i < a.length; i++) {
    const change = Math.abs(a[i]! - b[i]!);
    if (change > maxLevels) maxLevels = change;
    if (change > 0) changed++;
  }
  return { maxLevels, changed: changed / a.length };
}

/**
 * Hold a result against its bound before it may leave.
 *
 * @throws RidError a value changed by more than `levels`.
 */
export function verifyWithin(original: Pixels, result: Pixels, levels: number): Verdict {
  const verdict = verify(original, result);
  if (verdict.maxLevels > levels) {
    throw new RidError(
      `A colour value would change by ${verdict.maxLevels} levels, more than ${levels}; not saved.`,
    );
  }
  return verdict;
}

/** The change around grey, enlarged: `128 + (result - original) * factor`, in levels. */
export function amplifiedChange(original: Pixels, result: Pixels, factor: number): Pixels {
  const change: Pixels = { ...original, data: new Uint8Array(original.data.length) };
  for (let i = 0; i < change.data.length; i++) {
    const value = 128 + (result.data[i]! - original.data[i]!) * factor;
    change.data[i] = Math.min(Math.max(value, 0), 255);
  }
  return change;
}

/** Round a field in levels to pixels, halves to the even neighbour. */
export function toLevels(field: Field): Pixels {
  const pixels: Pixels = { ...field, data: new Uint8Array(field.data.length) };
  for (let i = 0; i < field.data.length; i++) {
    const value = Math.fround(field.data[i]! + NO_FRACTIONS) - NO_FRACTIONS;
    pixels.data[i] = Math.min(Math.max(value, 0), 255);
  }
  return pixels;
}
