/** A button that works while it is held, or from one short press to the next. */

/** Shortest time that counts as holding, in milliseconds. */
const HELD = 500;

/**
 * Follow a button, by pointer, keyboard and screen reader, and a key that does the same anywhere.
 *
 * @param key a letter, in lower case.
 * @param show called with whether it is on.
 * @returns turns it off.
 */
export function followHold(
  button: HTMLButtonElement,
  key: string,
  show: (on: boolean) => void,
): () => void {
  let on = false;
  /** When it was pressed, and whether it was on before; null while it is not pressed. */
  let pressed: { readonly at: number; readonly wasOn: boolean } | null = null;
  const set = (value: boolean) => {
    if (on === value) return;
    on = value;
    button.setAttribute("aria-pressed", String(on));
    show(on);
  };
  const press = ({ timeStamp }: Event) => {
    pressed ??= { at: timeStamp, wasOn: on };
    set(true);
  };
  const release = ({ timeStamp }: Event) => {
    if (!pressed) return;
    const held = timeStamp - pressed.at > HELD;
    if (held || pressed.wasOn) set(false);
    pressed = null;
  };
  button.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    button.setPointerCapture(event.pointerId);
    press(event);
  });
  for (const end of ["pointerup", "pointercancel"] as const) button.addEventListener(end, release);
  button.addEventListener("contextmenu", (event) => event.preventDefault()); // a long touch
  // Screen readers click without a pointer or a key; those of the keyboard are prevented below.
  button.addEventListener("click", (event) => {
    if (event.detail === 0) set(!on);
  });
  const isOurs = (event: KeyboardEvent) =>
    event.key.toLowerCase() === key || (event.target === button && /^( |Enter)$/.test(event.key));
  addEventListener("keydown", (event) => {
    if (!isOurs(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (button.closest("[hidden], [inert]")) return;
    event.preventDefault();
    if (!event.repeat) press(event);
  });
  addEventListener("keyup", (event) => {
    if (!isOurs(event)) return;
    event.preventDefault();
    release(event);
  });
  addEventListener("blur", release);
  return () => {
    pressed = null;
    set(false);
  };
}
