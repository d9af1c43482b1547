/** What an attacker's model made of photos, as bars. */

import type { Condition, Results } from "../results.ts";
import { element } from "./dom.ts";

/** Fewer people than this are said to be few. */
const SMALL = 10;

/** Show the panel, where the trial was made. */
export function showAttack({ attack, picture }: Results, preset: string): void {
  element("attack", HTMLElement).hidden = attack === null;
  if (!attack) return;
  const labels: Record<Condition["name"], string> = {
    clean: "Photos as they are",
    protected: `The same, protected by ${preset}`,
    noise: "The same, with random noise that is as visible",
  };
  const rows = attack.conditions.map(({ name, recognised }) => {
    const percent = Math.round(100 * recognised);
    const [row, dt, dd] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
    row!.dataset["condition"] = name;
    row!.style.setProperty("--share", `${percent}%`);
    dt!.textContent = labels[name];
    dd!.textContent = String(percent);
    row!.append(dt!, dd!);
    return row!;
  });
  element("attack-bars", HTMLDListElement).replaceChildren(...rows);
  const notes = [
    `${attack.people < SMALL ? "A small trial: " : ""}${attack.people} people, ${attack.pictures} pictures of each; ${methodName(attack.method)} ` +
      `with ${attack.steps} steps on ${attack.model}. Other models may do better or worse.`,
  ];
  if (!attack.sameWeights) notes.push(`Measured with other weights of ${preset} than this page’s.`);
  element("attack-note", HTMLParagraphElement).textContent = notes.join(" ");
  const figure = element("attack-figure", HTMLElement);
  figure.hidden = picture === null;
  if (picture) figure.querySelector("img")!.src = picture;
}

function methodName(method: string): string {
  const names: Record<string, string> = {
    dreambooth: "DreamBooth",
    lora: "LoRA",
    "textual-inversion": "Textual Inversion",
  };
  return names[method] ?? method;
}
