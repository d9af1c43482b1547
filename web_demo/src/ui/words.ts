/** Figures as people read them. */

import type { Format, ModelInfo, Opened } from "../protocol.ts";
import { type Look, preferOriginal } from "../results.ts";

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

/**
 * What is said of an opened photo: a term, and a sentence or two.
 *
 * @param look null where it was not measured of these weights.
 */
export function photoFacts(photo: Opened, model: ModelInfo, look: Look | null): [string, string][] {
  const { size, timing, verdict } = photo;
  const network =
    timing.tiles === 1
      ? duration(timing.network)
      : `${duration(timing.network)} for each of ${timing.tiles} tiles`;
  const adding = duration(timing.protect - timing.network * timing.tiles);
  return [
    ["Photo", `${size.width} × ${size.height} pixels.`],
    [
      "Change",
      `At most ${verdict.maxLevels} of 255 levels in any colour value; the model’s bound is ` +
        `${model.levels}. ${Math.round(verdict.changed * 100)} of 100 values changed.`,
    ],
    ["How visible", look ? lookFact(look) : "Not measured with these weights."],
    [
      "Time",
      `Opening the file took ${duration(timing.decode)}, the network ${network}, scaling and ` +
        `adding ${adding}.`,
    ],
    ["Runs on", `${model.runtime}, ${count(model.threads, "thread").replace(" ", NO_BREAK)}.`],
    ["Model", `${model.preset} in ${model.precision}, weights ${model.weights}.`],
  ];
}

/** How visible the protection is, for somebody who has not seen it yet. */
export function lookInWords(look: Look): string {
  const people = lookPeople(look);
  return (
    `How visible is it? By a model of human vision, ${people} of 100 people who see both on a ` +
    "phone would prefer the original; 50 would be a guess. Enlarged, more of it is seen."
  );
}

/** The same with its source. */
function lookFact(look: Look): string {
  const large = look.large === null ? "" : ` ${look.large.toFixed(2)} for large photos,`;
  return (
    `At full strength and on a phone, ${lookPeople(look)} of 100 people would prefer the ` +
    `original, ${preferOriginal(look.enlarged)} of 100 if it is enlarged twice; 50 would be a ` +
    `guess. Predicted by ColorVideoVDP on ${look.portraits} portraits: ` +
    `${look.jod.toFixed(2)} JOD of 10,${large} ${look.enlarged.toFixed(2)} enlarged.`
  );
}

/** From portraits to large photos: 54, or 54 to 64. */
function lookPeople(look: Look): string {
  const people = [look.jod, look.large ?? look.jod].map(preferOriginal).sort((a, b) => a - b);
  return [...new Set(people)].join(" to ");
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
