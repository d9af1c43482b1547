/** Protect a photo of any size: the path of `rid_core.protection`, step by step. */

import { type Budget, applyBudget } from "./budget.ts";
import { RidError } from "./errors.ts";
import { COLOURS, type Field, type Pixels, blankField, blankPixels } from "./raster.ts";
import { resampleStrips, sharpen } from "./resample.ts";
import { tiles, workingSize } from "./tiling.ts";

/** Smallest height and width of a photo, in pixels. */
export const MIN_SIDE = 64;
/** Largest photo, in pixels. */
export const MAX_PIXELS = 51_000_000;
/** Longest side over shortest. */
export const MAX_ASPECT = 64;

/** A network, whatever runs it. */
export interface Defender {
  /** Height and width of the tiles it takes, in pixels. */
  readonly side: number;
  /** Bound it was trained for, in levels. */
  readonly levels: number;
  /** Unit perturbation in [-1, 1] of a tile with colours in [0, 1]. */
  perturb(tile: Field): Promise<Field>;
}

/** Called between strips and tiles; lets others run, and throws to stop the work. */
export type Pulse = () => Promise<void>;

/**
 * Refuse a photo by its size.
 *
 * @throws RidError too small, too large, or too long for its width.
 */
export function checkSize(height: number, width: number): void {
  const size = `${width} × ${height}`;
  if (height * width > MAX_PIXELS) {
    const megapixels = Math.round((height * width) / 1e6);
    throw new RidError(
      `This photo has ${size} pixels (${megapixels} megapixels); at most ` +
        `${MAX_PIXELS / 1e6} megapixels are opened. Scale it down first.`,
    );
  }
  if (Math.min(height, width) < MIN_SIDE) {
    throw new RidError(
      `This picture has ${size} pixels, which is too small to protect; it needs ` +
        `${MIN_SIDE} × ${MIN_SIDE} or more.`,
    );
  }
  if (Math.max(height, width) > MAX_ASPECT * Math.min(height, width)) {
    throw new RidError(`${size} is more than ${MAX_ASPECT} times as long as wide; cut it first.`);
  }
}

/**
 * Predict the unit perturbation of a photo at the scale at which attackers train.
 *
 * @param pixels upright, any size.
 * @returns a field in [-1, 1] whose short side is the defender's.
 * @throws RidError the defender returned something else than a perturbation.
 */
export async function workingPerturbation(
  pixels: Pixels,
  defender: Defender,
  pulse: Pulse,
): Promise<Field> {
  const view = await workingView(pixels, defender.side, pulse);
  const { height, width } = view;
  const unit = blankField(height, width);
  for (const tile of tiles(height, width, defender.side)) {
    const part = await defender.perturb(cropTile(view, tile.top, tile.left, defender.side));
    for (let y = 0; y < part.height; y++) {
      let at = ((tile.top + y) * width + tile.left) * COLOURS;
      let from = y * part.width * COLOURS;
      for (let x = 0; x < part.width; x++) {
        const weight = Math.fround(tile.down[y]! * tile.across[x]!);
        for (let colour = 0; colour < COLOURS; colour++, at++, from++) {
          unit.data[at] = unit.data[at]! + Math.fround(weight * part.data[from]!);
        }
      }
    }
    await pulse();
  }
  for (let i = 0; i < unit.data.length; i++) {
    const value = unit.data[i]!;
    if (!Number.isFinite(value)) {
      throw new RidError("The model returned values that are no numbers; export it again.");
    }
    unit.data[i] = Math.min(Math.max(value, -1), 1);
  }
  return unit;
}

/**
 * Enlarge a unit perturbation to the photo and add it.
 *
 * @param unit of {@link workingPerturbation}.
 * @returns pixels of the photo's size; no value differs by more than `budget.levels`.
 */
export async function addPerturbation(
  pixels: Pixels,
  unit: Field,
  budget: Budget,
  pulse: Pulse,
): Promise<Pixels> {
  const grows = Math.min(pixels.height, pixels.width) > Math.min(unit.height, unit.width);
  const result = blankPixels(pixels.height, pixels.width);
  for (const { top, rows } of resampleStrips(grows ? sharpen(unit) : unit, pixels)) {
    const from = top * pixels.width * COLOURS;
    const to = from + rows.data.length;
    applyBudget(pixels.data.subarray(from, to), rows.data, budget, result.data.subarray(from, to));
    await pulse();
  }
  return result;
}

/** The photo at the working scale, colours in [0, 1]. */
async function workingView(pixels: Pixels, side: number, pulse: Pulse): Promise<Field> {
  const size = workingSize(pixels.height, pixels.width, side);
  const view = blankField(size.height, size.width);
  for (const { top, rows } of resampleStrips(pixels, size)) {
    const at = top * size.width * COLOURS;
    for (let i = 0; i < rows.data.length; i++) {
      view.data[at + i] = Math.min(Math.max(rows.data[i]! / 255, 0), 1);
    }
    await pulse();
  }
  return view;
}

function cropTile(view: Field, top: number, left: number, side: number): Field {
  const tile = blankField(side, side);
  for (let row = 0; row < side; row++) {
    const from = ((top + row) * view.width + left) * COLOURS;
    tile.data.set(view.data.subarray(from, from + side * COLOURS), row * side * COLOURS);
  }
  return tile;
}
