/** Build step: take what the page says was measured from the repository's `docs/results`. */

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

import type { ModelMetadata } from "../src/core/metadata.ts";
import type { Attack, Condition, Look, Results } from "../src/results.ts";

/** Digits of a weights digest that the documents hold. */
const DIGITS = 16;

interface LookDocument {
  images: { count: number };
  large: number;
  weights: Record<string, string>;
  rows: Record<string, { mean: { jod: number; jod_enlarged: number }; phone_jod?: number | null }>;
}

interface AttackDocument {
  gate: { works: boolean };
  surrogate: string;
  settings: { method: string; steps: number; samples: number };
  protections: Record<string, { defender?: string; weights?: string; noise?: string }>;
  conditions: Record<
    string,
    { means: { recognised: { value: number; identities: number } } } | undefined
  >;
}

/**
 * What was measured of a model.
 *
 * @param folder `docs/results`; a document that is not there was not measured.
 * @param picture path of a picture of the trial inside the page, or null.
 */
export function readResults(
  folder: string,
  model: Pick<ModelMetadata, "preset" | "weights">,
  picture: string | null,
): Results {
  const look = read<LookDocument>(join(folder, "look.json"));
  const attack = read<AttackDocument>(join(folder, "personalization.json"));
  const found = attack && attackOf(attack, model);
  return {
    look: look && lookOf(look, model),
    attack: found,
    picture: found && picture,
  };
}

function read<T>(file: string): T | null {
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as T) : null;
}

/** Null where other weights were measured: how visible a pattern is changes with every training. */
function lookOf(
  document: LookDocument,
  { preset, weights }: Pick<ModelMetadata, "preset" | "weights">,
): Look | null {
  const row = document.rows[preset];
  if (!row || document.weights[preset] !== weights.slice(0, DIGITS)) return null;
  return {
    portraits: document.images.count,
    jod: row.mean.jod,
    enlarged: row.mean.jod_enlarged,
    large: row.phone_jod ?? null,
  };
}

/** Null where the attack failed even on photos as they are, or this defender was not tried. */
function attackOf(
  document: AttackDocument,
  { preset, weights }: Pick<ModelMetadata, "preset" | "weights">,
): Attack | null {
  const entries = Object.entries(document.protections);
  const defended = entries.find(([, { defender }]) => defender === preset);
  const noise = entries.find(([, protection]) => protection.noise === "random signs");
  const clean = document.conditions["clean"]?.means.recognised;
  if (!document.gate.works || !defended || !clean) return null;
  const conditions: Condition[] = [];
  let people = clean.identities;
  for (const [name, key] of [
    ["clean", "clean"],
    ["protected", defended[0]],
    ["noise", noise?.[0]],
  ] as const) {
    const recognised = key === undefined ? undefined : document.conditions[key]?.means.recognised;
    if (!recognised) continue;
    conditions.push({ name, recognised: recognised.value });
    people = Math.min(people, recognised.identities);
  }
  if (!conditions.some(({ name }) => name === "protected")) return null;
  return {
    people,
    pictures: document.settings.samples,
    model: document.surrogate,
    method: document.settings.method,
    steps: document.settings.steps,
    conditions,
    sameWeights: defended[1].weights === weights.slice(0, DIGITS),
  };
}
