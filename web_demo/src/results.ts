/** What was measured of the page's model: written by the build (tools/results.ts), read by the page. */

/** How visible the protection is, by ColorVideoVDP. JOD: 10 is no visible difference. */
export interface Look {
  readonly portraits: number;
  /** Mean of portraits that fill a phone's width. */
  readonly jod: number;
  /** The same, enlarged twice. */
  readonly enlarged: number;
  /** Mean of large photos, fitted to a phone's screen; null if none was measured. */
  readonly large: number | null;
}

/** What an attacker's model made of one kind of photos. */
export interface Condition {
  readonly name: "clean" | "protected" | "noise";
  /** Share of the pictures that a face recogniser takes for the person, 0 to 1. */
  readonly recognised: number;
}

/** A trial of personalization. */
export interface Attack {
  /** How many people were tried under every condition. */
  readonly people: number;
  /** Pictures made of each. */
  readonly pictures: number;
  /** Name of the model that was fine-tuned. */
  readonly model: string;
  readonly method: string;
  readonly steps: number;
  readonly conditions: readonly Condition[];
  /** Whether the trial used the very weights of this page's model. */
  readonly sameWeights: boolean;
}

/** Everything that was measured; null where nothing was. */
export interface Results {
  readonly look: Look | null;
  readonly attack: Attack | null;
  /** Path of a picture of the trial inside the page. */
  readonly picture: string | null;
}

/** Where the page finds them. */
export const RESULTS_FILE = "results/results.json";

/**
 * Of 100 people who are shown both pictures, how many take the original for the better one, from
 * the definition of JOD: one less, and three of four do. 50 is a guess.
 */
export function preferOriginal(jod: number): number {
  return Math.round(100 / (1 + 3 ** (jod - 10)));
}
