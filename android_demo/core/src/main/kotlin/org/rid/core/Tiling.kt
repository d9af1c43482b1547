package org.rid.core

/**
 * Geometry of photos that are not one tile: working size, overlapping tiles, blending weights.
 *
 * The same arithmetic as `rid_core/image/tiling.py`, to the last rounding; docs/large-photos.md has the
 * formulae and the reasons. Lengths are in pixels.
 */
object Tiling {
    private const val FEATHER_SHARE = 8

    /** A height and a width. */
    data class Size(val height: Int, val width: Int)

    /** Size at the working scale: the shorter side becomes [short], the longer keeps the aspect. */
    fun workingSize(height: Int, width: Int, short: Int): Size {
        val side = minOf(height, width).toLong()
        fun scale(length: Int) = ((2L * length * short + side) / (2 * side)).toInt()
        return Size(scale(height), scale(width))
    }

    /**
     * First pixel of each tile of [tile] pixels along a side of [length].
     *
     * @throws IllegalArgumentException the side is shorter than a tile.
     */
    fun starts(length: Int, tile: Int): IntArray {
        require(length >= tile) { "a side of $length pixels holds no tile of $tile" }
        if (length == tile) return intArrayOf(0)
        val feather = tile / FEATHER_SHARE
        val step = tile - feather
        val count = (length - feather + step - 1) / step
        return IntArray(count) { k -> (k.toLong() * (length - tile) / (count - 1)).toInt() }
    }

    /**
     * Share of each tile in the blend, pixel by pixel along a side: one array of [tile] values in
     * [0, 1] per tile. Laid out at [starts] they add up to 1 everywhere, so that a blend of values
     * in [-1, 1] stays there and the bound survives it.
     */
    fun weights(length: Int, tile: Int): List<FloatArray> {
        val first = starts(length, tile)
        val feather = tile / FEATHER_SHARE
        val result = List(first.size) { FloatArray(tile) { 1f } }
        for (k in 0 until first.size - 1) {
            val ramp = (first[k] + tile + first[k + 1] - feather) / 2
            for (i in 0 until tile) {
                result[k][i] *= 1 - rise(first[k] + i, ramp, feather)
                result[k + 1][i] *= rise(first[k + 1] + i, ramp, feather)
            }
        }
        return result
    }

    private fun rise(x: Int, ramp: Int, feather: Int): Float =
        (((x - ramp).toFloat() + 0.5f) / feather.toFloat()).coerceIn(0f, 1f)
}
