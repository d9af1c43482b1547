package org.rid.demo.photo

import android.graphics.Bitmap
import org.rid.core.MutablePhoto

/**
 * A bitmap as the core sees it. Rows are copied out and in one by one, so the pixels of a large
 * photo exist once.
 *
 * @param bitmap ARGB_8888, sRGB, upright; mutable if rows are to be written.
 */
class BitmapPhoto(private val bitmap: Bitmap) : MutablePhoto {
    override val width: Int = bitmap.width
    override val height: Int = bitmap.height

    override fun readRow(row: Int, argb: IntArray) = bitmap.getPixels(argb, 0, width, 0, row, width, 1)

    override fun writeRow(row: Int, argb: IntArray) = bitmap.setPixels(argb, 0, width, 0, row, width, 1)
}
