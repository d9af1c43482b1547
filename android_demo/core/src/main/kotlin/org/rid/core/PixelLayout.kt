package org.rid.core

/**
 * Order of axes of a network's tensors. Everything else in this module has pixels as
 * `[row][column][channel]`; this is the only place that knows another order.
 */
enum class PixelLayout {
    /** Colours of a pixel side by side: what TFLite likes. */
    NHWC,

    /** One plane per colour: what ONNX Runtime likes. */
    NCHW,
    ;

    /** Where a colour value of a [side] x [side] tile is. */
    fun index(row: Int, column: Int, channel: Int, side: Int): Int = when (this) {
        NHWC -> (row * side + column) * 3 + channel
        NCHW -> (channel * side + row) * side + column
    }

    /** Copies a tile in [NHWC] order to this order. */
    fun fromPixels(pixels: FloatArray, into: FloatArray) = when (this) {
        NHWC -> pixels.copyInto(into).let { }
        NCHW -> forEachPlane(pixels.size) { plane, pixel -> into[plane] = pixels[pixel] }
    }

    /** Copies a tile in this order to [NHWC] order. */
    fun toPixels(tensor: FloatArray, into: FloatArray) = when (this) {
        NHWC -> tensor.copyInto(into).let { }
        NCHW -> forEachPlane(tensor.size) { plane, pixel -> into[pixel] = tensor[plane] }
    }

    private inline fun forEachPlane(size: Int, copy: (plane: Int, pixel: Int) -> Unit) {
        val area = size / 3
        for (channel in 0 until 3) for (i in 0 until area) copy(channel * area + i, 3 * i + channel)
    }
}
