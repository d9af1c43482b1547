/** Look for a face with the browser's own detector (Shape Detection), where it has one. */

/** The part of the browser's detector that is used here; not in TypeScript's library. */
interface Detector {
  detect(picture: ImageBitmap): Promise<readonly unknown[]>;
}

declare const FaceDetector: { new (options: { fastMode: boolean }): Detector } | undefined;

/**
 * Whether the browser sees a face. Only ever a hint: photos are protected with and without one.
 *
 * @returns null where nobody can tell: most browsers have no detector, or one that does not work.
 */
export async function hasFace(picture: ImageBitmap): Promise<boolean | null> {
  if (typeof FaceDetector === "undefined") return null;
  try {
    const found = await new FaceDetector({ fastMode: true }).detect(picture);
    return found.length > 0;
  } catch {
    return null;
  }
}
