package org.rid.demo.protect

import android.graphics.Bitmap
import android.net.Uri
import org.rid.core.FloatImage
import org.rid.core.Verdict
import org.rid.demo.photo.PhotoInfo

/** What is worth a line on the screen; none of it keeps a photo from being protected. */
enum class Note { NO_FACE, SMALL, REDUCED, COLOURS_CONVERTED, TRANSPARENT, BECOMES_JPEG }

/**
 * A photo whose perturbation has been predicted: everything that does not depend on the strength.
 *
 * @property unit at the working scale, in [-1, 1].
 * @property before the unprotected photo at the size of a screen.
 * @property reduction of each side at which it is saved; above 1 only for want of memory.
 * @property engine what computed, for people.
 * @property fallback why nothing faster did; null if the first choice worked.
 * @property decodeSeconds from the file to pixels.
 * @property networkSeconds from pixels to the perturbation, all tiles.
 */
class Prepared(
    val info: PhotoInfo,
    val unit: FloatImage,
    val before: Bitmap,
    val levels: Int,
    val reduction: Int,
    val notes: Set<Note>,
    val engine: String,
    val fallback: String?,
    val decodeSeconds: Double,
    val networkSeconds: Double,
)

/**
 * The picture on the screen at one strength.
 *
 * @property after protected.
 * @property change amplified around grey.
 */
class Rendered(val after: Bitmap, val change: Bitmap, val verdict: Verdict)

/**
 * A photo in the gallery.
 *
 * @property uri its address, for showing and sharing.
 * @property verdict what changed at full size, before encoding.
 */
class Saved(val uri: Uri, val verdict: Verdict)
