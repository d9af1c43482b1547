package org.rid.demo.photo

import android.graphics.Matrix
import androidx.exifinterface.media.ExifInterface

/**
 * How a stored picture must be turned to be upright.
 *
 * @property degrees clockwise.
 * @property mirrored flipped left to right, before it is turned.
 */
data class Orientation(val degrees: Int, val mirrored: Boolean) {
    /** Whether height and width change places. */
    val turnsSides: Boolean get() = degrees % 180 != 0

    /** Whether the stored picture is upright already. */
    val isUpright: Boolean get() = degrees == 0 && !mirrored

    /** From stored to upright. */
    fun matrix() = Matrix().apply {
        if (mirrored) postScale(-1f, 1f)
        postRotate(degrees.toFloat())
    }

    companion object {
        /** Meaning of an EXIF orientation, 1 to 8; anything else counts as upright, as everywhere. */
        fun ofExif(value: Int): Orientation = when (value) {
            ExifInterface.ORIENTATION_FLIP_HORIZONTAL -> Orientation(0, mirrored = true)
            ExifInterface.ORIENTATION_ROTATE_180 -> Orientation(180, mirrored = false)
            ExifInterface.ORIENTATION_FLIP_VERTICAL -> Orientation(180, mirrored = true)
            ExifInterface.ORIENTATION_TRANSPOSE -> Orientation(270, mirrored = true)
            ExifInterface.ORIENTATION_ROTATE_90 -> Orientation(90, mirrored = false)
            ExifInterface.ORIENTATION_TRANSVERSE -> Orientation(90, mirrored = true)
            ExifInterface.ORIENTATION_ROTATE_270 -> Orientation(270, mirrored = false)
            else -> Orientation(0, mirrored = false)
        }
    }
}
