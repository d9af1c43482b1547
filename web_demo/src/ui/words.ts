/** Figures as people read them. */

import type { Verdict } from "../core/budget.ts";
import type { Format, ModelInfo, Opened } from "../protocol.ts";

/** Keeps a figure and its unit on one line. */
const NO_BREAK = "\u00a0";

/** A time: 86 ms, 1.3 s. */
export function duration(milliseconds: number): string {
  return milliseconds < 1000
    ? `${Math.round(milliseconds)}${NO_BREAK}ms`
    : `${(milliseconds / 1000).toFixed(1)}${NO_BREAK}s`;
}

/** The size of a file: 640 KB, 12.3 MB. */
export function fileSize(bytes: number): string {
  return bytes < 1e6
    ? `${Math.round(bytes / 1e3)}${NO_BREAK}KB`
    : `${(bytes / 1e6).toFixed(1)}${NO_BREAK}MB`;
}

/** A count with its noun: 1 level, 8 levels. */
export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}

/** What was measured of a change. */
export function changeFacts(verdict: Verdict, levels: number): [string, string][] {
  const psnr = Number.isFinite(verdict.psnr) ? `${verdict.psnr.toFixed(1)} dB` : "no change";
  return [
    ["Largest change", `${verdict.maxLevels} of 255 (bound ${levels})`],
    ["Values changed", `${Math.round(verdict.changed * 100)} %`],
    ["PSNR", psnr],
  ];
}

/** What is said of an opened photo. */
export function photoFacts(photo: Opened, model: ModelInfo): [string, string][] {
  const { timing } = photo;
  const tiles = timing.tiles === 1 ? "" : ` × ${timing.tiles} tiles`;
  return [
    ["Size", `${photo.size.width} × ${photo.size.height}`],
    ...changeFacts(photo.verdict, model.levels),
    ["Opening the file", duration(timing.decode)],
    ["Network", `${duration(timing.network)}${tiles}`],
    ["Scaling and adding", duration(timing.protect - timing.network * timing.tiles)],
    ["Runtime", `${model.runtime}, ${count(model.threads, "thread").replace(" ", NO_BREAK)}`],
    ["Model", `${model.preset} ${model.precision}, ${model.weights}`],
  ];
}

/**
 * What is worth knowing of this photo, and what was not kept.
 *
 * @param face whether one was found; null if nobody looked.
 */
export function photoNotes(
  photo: Pick<Opened, "kind" | "transparent">,
  face: boolean | null,
): string {
  const notes = [
    ...(face === false ? ["No face was found. The photo is protected all the same."] : []),
    ...(face === null
      ? ["This browser cannot look for a face: with or without one, the photo is protected."]
      : []),
    "The saved file has sRGB colours and no camera data.",
  ];
  if (photo.kind === "GIF") notes.push("Of an animation only the first picture is kept.");
  if (photo.transparent) {
    notes.push("In see-through parts, the browser has rounded the colours a little.");
  }
  return notes.join(" ");
}

/** The photo's name, marked as `rid-protect` marks it: no copy takes the original's name. */
export function savedName(original: string, format: Format): string {
  const stem = original.replace(/\.[^./\\]{1,5}$/, "") || "photo";
  return `${stem}.protected.${format === "png" ? "png" : "jpg"}`;
}
