/** Look for a face with the browser's own detector (Shape Detection), where it has one. */

/** A point of a photo, as shares of its width and height. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** The part of the browser's detector that is used here; not in TypeScript's library. */
interface Detector {
  detect(picture: ImageBitmap): Promise<readonly { readonly boundingBox: DOMRectReadOnly }[]>;
}

declare const FaceDetector: { new (options: { fastMode: boolean }): Detector } | undefined;

/**
 * The middles of the faces that the browser sees, the largest first. Only ever a hint: photos are
 * protected with and without one.
 *
 * @returns null where nobody can tell: most browsers have no detector, or one that does not work.
 */
export async function findFaces(picture: ImageBitmap): Promise<readonly Point[] | null> {
  if (typeof FaceDetector === "undefined") return null;
  try {
    const found = await new FaceDetector({ fastMode: true }).detect(picture);
    return found
      .map(({ boundingBox }) => boundingBox)
      .sort((a, b) => b.width * b.height - a.width * a.height)
      .map((box) => ({
        x: (box.x + box.width / 2) / picture.width,
        y: (box.y + box.height / 2) / picture.height,
      }));
  } catch {
    return null;
  }
}
