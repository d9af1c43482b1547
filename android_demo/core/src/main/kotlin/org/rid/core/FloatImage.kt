package org.rid.core

/** Rows of float colours, read by row number. */
interface RowSource {
    val width: Int
    val height: Int

    /** Reads a row: 3 * [width] values, red, green and blue of a pixel side by side. */
    fun readRow(row: Int, into: FloatArray)
}

/**
 * A float image or perturbation, [height, width, 3].
 *
 * @property values `[(row * width + column) * 3 + channel]`, channels red, green, blue.
 */
class FloatImage(
    override val width: Int,
    override val height: Int,
    val values: FloatArray = FloatArray(3 * width * height),
) : RowSource {
    init {
        require(values.size == 3 * width * height) { "${values.size} values are not $height x $width x 3" }
    }

    override fun readRow(row: Int, into: FloatArray) {
        values.copyInto(into, 0, 3 * row * width, 3 * (row + 1) * width)
    }
}

/** The colours of [photo] as floats from 0 to 255. */
internal class Levels(private val photo: Photo) : RowSource {
    override val width get() = photo.width
    override val height get() = photo.height
    private val argb = IntArray(photo.width)

    override fun readRow(row: Int, into: FloatArray) {
        photo.readRow(row, argb)
        var at = 0
        for (x in 0 until width) {
            val pixel = argb[x]
            into[at++] = (pixel ushr 16 and 0xFF).toFloat()
            into[at++] = (pixel ushr 8 and 0xFF).toFloat()
            into[at++] = (pixel and 0xFF).toFloat()
        }
    }
}
