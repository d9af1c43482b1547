/** The page's elements, by id. */

/**
 * An element of `index.html`.
 *
 * @throws Error there is none of that kind under the id: a fault of the page itself.
 */
export function element<T extends HTMLElement>(id: string, kind: abstract new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`index.html has no ${kind.name} #${id}`);
  return found;
}

/** Call `use` with the value of a group of radio buttons whenever it changes. */
export function onChoice(name: string, use: (value: string) => void): void {
  for (const radio of radios(name)) radio.addEventListener("change", () => use(radio.value));
}

/** The chosen value of a group of radio buttons. */
export function choice(name: string): string {
  return radios(name).find((radio) => radio.checked)?.value ?? "";
}

/** Choose a value of a group of radio buttons. */
export function choose(name: string, value: string): void {
  for (const radio of radios(name)) radio.checked = radio.value === value;
}

function radios(name: string): HTMLInputElement[] {
  return [...document.querySelectorAll<HTMLInputElement>(`input[name="${name}"]`)];
}
