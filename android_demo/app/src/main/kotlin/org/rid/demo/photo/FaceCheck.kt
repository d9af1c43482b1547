package org.rid.demo.photo

import android.graphics.Bitmap
import android.graphics.Canvas
import android.media.FaceDetector

/**
 * Whether Android's own small detector sees a face. It misses many and needs no network or library;
 * the answer is only ever a hint: photos without a face are protected all the same.
 */
fun hasFace(picture: Bitmap): Boolean {
    val width = picture.width and 1.inv() // the detector takes even widths only
    if (width < 2) return false
    val copy = Bitmap.createBitmap(width, picture.height, Bitmap.Config.RGB_565)
    Canvas(copy).drawBitmap(picture, 0f, 0f, null)
    val found = FaceDetector(width, picture.height, 1).findFaces(copy, arrayOfNulls(1))
    copy.recycle()
    return found > 0
}
