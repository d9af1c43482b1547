package org.rid.core

/** Where red, green and blue are in a packed ARGB pixel, as Android's `Bitmap.getPixels` gives it. */
internal val COLOUR_SHIFTS = intArrayOf(16, 8, 0)

/** An upright photo that can be read row by row; the pixels themselves may live anywhere. */
interface Photo {
    /** In pixels. */
    val width: Int

    /** In pixels. */
    val height: Int

    /**
     * Reads one row from the left.
     *
     * @param row 0 is the top.
     * @param argb at least [width] entries; gets packed ARGB, 8 bits each, not premultiplied.
     */
    fun readRow(row: Int, argb: IntArray)
}

/** A photo whose rows can be replaced. */
interface MutablePhoto : Photo {
    /** Replaces one row by the first [width] entries of [argb]. */
    fun writeRow(row: Int, argb: IntArray)
}

/**
 * A photo in memory.
 *
 * @property pixels packed ARGB, row by row from the top left.
 */
class ArgbPhoto(
    override val width: Int,
    override val height: Int,
    val pixels: IntArray = IntArray(width * height),
) : MutablePhoto {
    init {
        require(width > 0 && height > 0 && pixels.size == width * height) {
            "${pixels.size} pixels are not $width x $height"
        }
    }

    override fun readRow(row: Int, argb: IntArray) {
        pixels.copyInto(argb, 0, row * width, (row + 1) * width)
    }

    override fun writeRow(row: Int, argb: IntArray) {
        argb.copyInto(pixels, row * width, 0, width)
    }
}
