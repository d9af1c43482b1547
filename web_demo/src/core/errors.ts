/** Something that the person at the screen can act on; its message is a sentence to show. */
export class RidError extends Error {
  override readonly name = "RidError";
}
