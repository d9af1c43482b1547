package org.rid.core

/**
 * A picture of what changed: grey where nothing did, [gain] times the change elsewhere.
 *
 * @param before packed ARGB.
 * @param after packed ARGB, same size.
 * @return opaque packed ARGB, `128 + gain * (after - before)` in every colour.
 */
fun amplifiedChange(before: IntArray, after: IntArray, gain: Int): IntArray {
    require(before.size == after.size) { "photos differ in size" }
    return IntArray(before.size) { i ->
        var pixel = 0xFF shl 24
        for (shift in COLOUR_SHIFTS) {
            val change = (after[i] ushr shift and 0xFF) - (before[i] ushr shift and 0xFF)
            pixel = pixel or ((128 + gain * change).coerceIn(0, 255) shl shift)
        }
        pixel
    }
}
