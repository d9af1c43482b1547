package org.rid.demo.photo

import android.graphics.BitmapFactory
import android.graphics.ColorSpace
import androidx.exifinterface.media.ExifInterface
import java.io.File
import java.io.IOException

/**
 * What a file says of its photo, read without decoding it.
 *
 * @property file the app's own copy.
 * @property width as stored, in pixels; upright it may be the height.
 * @property height as stored, in pixels.
 * @property mime such as `image/jpeg`.
 * @property wideColours of another colour space than sRGB.
 * @property hasLocation whether the EXIF data hold GPS coordinates.
 */
data class PhotoInfo(
    val file: File,
    val width: Int,
    val height: Int,
    val mime: String,
    val orientation: Orientation,
    val wideColours: Boolean,
    val hasLocation: Boolean,
) {
    /** Of the upright photo, in pixels. */
    val uprightWidth: Int get() = if (orientation.turnsSides) height else width

    /** Of the upright photo, in pixels. */
    val uprightHeight: Int get() = if (orientation.turnsSides) width else height

    companion object {
        /**
         * Reads the header of [file].
         *
         * @throws PhotoException no image, or of a kind that this phone cannot decode.
         */
        fun read(file: File): PhotoInfo {
            if (!file.canRead()) throw PhotoException(PhotoProblem.UNREADABLE, "${file.name} is gone")
            val header = BitmapFactory.Options().apply { inJustDecodeBounds = true }
            BitmapFactory.decodeFile(file.path, header)
            if (header.outWidth < 1 || header.outHeight < 1) {
                throw PhotoException(PhotoProblem.UNDECODABLE, "${file.name} is no image that this phone can decode")
            }
            val exif = exif(file)
            val space = header.outColorSpace
            return PhotoInfo(
                file = file,
                width = header.outWidth,
                height = header.outHeight,
                mime = header.outMimeType ?: "image/*",
                orientation = Orientation.ofExif(
                    exif?.getAttributeInt(ExifInterface.TAG_ORIENTATION, ExifInterface.ORIENTATION_NORMAL)
                        ?: ExifInterface.ORIENTATION_NORMAL,
                ),
                wideColours = space != null && space != ColorSpace.get(ColorSpace.Named.SRGB),
                hasLocation = exif?.latLong != null,
            )
        }

        /** Null where there is no EXIF data, or none that can be read: no reason to refuse a photo. */
        private fun exif(file: File): ExifInterface? = try {
            ExifInterface(file)
        } catch (_: IOException) {
            null
        }
    }
}
