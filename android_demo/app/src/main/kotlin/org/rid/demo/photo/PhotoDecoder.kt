package org.rid.demo.photo

import android.app.ActivityManager
import android.content.Context
import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.ColorSpace
import android.os.Build

/** Decodes photos to upright, mutable, 8-bit sRGB bitmaps. */
class PhotoDecoder(private val context: Context) {
    /**
     * How much a photo has to be reduced to fit into memory: 1 (not at all), 2, 4 or 8, of each side.
     *
     * @throws PhotoException not even an eighth fits.
     */
    fun reduction(info: PhotoInfo): Int {
        val free = freeMemory()
        return REDUCTIONS.find { bytesNeeded(info, it) <= free } ?: throw tooLarge(info)
    }

    /** Turning a bitmap needs a second one for a moment. */
    private fun bytesNeeded(info: PhotoInfo, reduction: Int): Long {
        val once = BYTES_PER_PIXEL * (info.width / reduction).toLong() * (info.height / reduction)
        return if (info.orientation.isUpright) once else 2 * once
    }

    private fun freeMemory(): Long {
        val memory = ActivityManager.MemoryInfo()
        (context.getSystemService(Context.ACTIVITY_SERVICE) as ActivityManager).getMemoryInfo(memory)
        return memory.availMem - memory.threshold
    }

    /**
     * Decodes a photo.
     *
     * @param reduction of each side, a power of two; 1 for full size.
     * @return ARGB_8888, sRGB, upright, mutable; the caller recycles it.
     * @throws PhotoException it cannot be decoded, or not in the memory there is.
     */
    fun decode(info: PhotoInfo, reduction: Int): Bitmap {
        val options = BitmapFactory.Options().apply {
            inSampleSize = reduction
            inMutable = true
            inPreferredConfig = Bitmap.Config.ARGB_8888
            inPreferredColorSpace = ColorSpace.get(ColorSpace.Named.SRGB)
        }
        try {
            val stored = BitmapFactory.decodeFile(info.file.path, options)
                ?: throw PhotoException(PhotoProblem.UNDECODABLE, "${info.file.name} is damaged, or of an unknown kind")
            dropGainMap(stored)
            return upright(stored, info.orientation)
        } catch (error: OutOfMemoryError) {
            throw tooLarge(info, error)
        }
    }

    /** The gain map of an Ultra HDR photo is a second picture of the person, and would be saved along. */
    private fun dropGainMap(bitmap: Bitmap) {
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.UPSIDE_DOWN_CAKE && bitmap.hasGainmap()) bitmap.setGainmap(null)
    }

    private fun upright(stored: Bitmap, orientation: Orientation): Bitmap {
        if (orientation.isUpright) return stored
        val turned = Bitmap.createBitmap(stored, 0, 0, stored.width, stored.height, orientation.matrix(), false)
        stored.recycle()
        return turned
    }

    private companion object {
        val REDUCTIONS = listOf(1, 2, 4, 8)
        const val BYTES_PER_PIXEL = 4L
    }
}

/** For memory that ran out in spite of [PhotoDecoder.reduction]. */
internal fun tooLarge(info: PhotoInfo, cause: Throwable? = null) =
    PhotoException(PhotoProblem.TOO_LARGE, "${info.width} x ${info.height} pixels do not fit into memory", cause)
