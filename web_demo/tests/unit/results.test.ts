import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

import { preferOriginal } from "../../src/results.ts";
import { lookInWords } from "../../src/ui/words.ts";
import { readResults } from "../../tools/results.ts";

const FOLDER = fileURLToPath(new URL("../../../docs/results/", import.meta.url));

const document = (name: string) =>
  JSON.parse(readFileSync(join(FOLDER, name), "utf8")) as Record<string, any>;

const look = document("look.json");
const attack = document("personalization.json");
const preset = "rid-s";
const measured = { preset, weights: `${look["weights"][preset]}${"0".repeat(48)}` };

/** A copy of the two documents, the second one changed. */
function changed(change: (document: Record<string, any>) => void): string {
  const folder = mkdtempSync(join(tmpdir(), "rid-results-"));
  const copy = structuredClone(attack);
  change(copy);
  writeFileSync(join(folder, "look.json"), JSON.stringify(look));
  writeFileSync(join(folder, "personalization.json"), JSON.stringify(copy));
  return folder;
}

test("the figures are those of docs/results", () => {
  const results = readResults(FOLDER, measured, "results/attack.jpg");
  const { mean, phone_jod } = look["rows"][preset];
  expect(results.look).toEqual({
    portraits: look["images"].count,
    jod: mean.jod,
    enlarged: mean.jod_enlarged,
    large: phone_jod,
  });
  const share = (name: string) => attack["conditions"][name].means.recognised.value;
  expect(results.attack!.conditions).toEqual([
    { name: "clean", recognised: share("clean") },
    { name: "protected", recognised: share("rid-s") },
    { name: "noise", recognised: share("signs") },
  ]);
  expect(results.picture).toBe("results/attack.jpg");
});

test("nothing is claimed of the look of other weights, and the trial is said to be of others", () => {
  const results = readResults(FOLDER, { preset, weights: "0".repeat(64) }, null);
  expect(results.look).toBeNull();
  expect(results.attack!.sameWeights).toBe(false);
  expect(readResults(FOLDER, { ...measured, preset: "mine" }, null)).toEqual({
    look: null,
    attack: null,
    picture: null,
  });
});

test.each<[string, (document: Record<string, any>) => void]>([
  ["whose attack fails on photos as they are", (copy) => (copy["gate"].works = false)],
  ["without photos as they are", (copy) => delete copy["conditions"].clean],
  ["without protected photos", (copy) => delete copy["conditions"]["rid-s"]],
])("a trial %s shows nothing, and no picture", (_, change) => {
  const results = readResults(changed(change), measured, "results/attack.jpg");
  expect(results.attack).toBeNull();
  expect(results.picture).toBeNull();
});

test("a trial counts the people whom every condition has, and may lack noise", () => {
  const folder = changed((copy) => {
    copy["conditions"]["rid-s"].means.recognised.identities = 1;
    delete copy["conditions"].signs;
  });
  const found = readResults(folder, measured, null).attack!;
  expect(found.people).toBe(1);
  expect(found.conditions.map(({ name }) => name)).toEqual(["clean", "protected"]);
});

test("no documents, no figures", () => {
  const results = readResults(mkdtempSync(join(tmpdir(), "rid-none-")), measured, null);
  expect(results).toEqual({ look: null, attack: null, picture: null });
});

test("JOD in people", () => {
  expect([10, 9, 8].map(preferOriginal)).toEqual([50, 75, 90]);
  const said = { portraits: 16, jod: 9.9, enlarged: 9 };
  expect(lookInWords({ ...said, large: 9 })).toContain("53 to 75 of 100 people");
  expect(lookInWords({ ...said, large: null })).toContain(", 53 of 100 people");
});
