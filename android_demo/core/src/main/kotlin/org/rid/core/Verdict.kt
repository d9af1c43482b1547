package org.rid.core

import kotlin.math.abs
import kotlin.math.max
import kotlin.math.sqrt

/**
 * What changed between a photo and its protected version, before encoding.
 *
 * @property maxLevels largest change of a colour value, in 8-bit levels.
 * @property rmsLevels root mean square of the change, in 8-bit levels.
 * @property changedShare share of colour values that changed, 0 to 1.
 */
data class Verdict(val maxLevels: Int, val rmsLevels: Double, val changedShare: Double)

/** Measures the change between two photos row by row, so that neither has to be held as a whole. */
class Comparison {
    private var peak = 0
    private var squares = 0L
    private var changed = 0L
    private var values = 0L

    /** Adds [count] pixels, packed ARGB; alpha is not compared. */
    fun add(before: IntArray, after: IntArray, count: Int) {
        for (i in 0 until count) {
            for (shift in COLOUR_SHIFTS) {
                val change = abs((before[i] ushr shift and 0xFF) - (after[i] ushr shift and 0xFF))
                peak = max(peak, change)
                squares += change * change
                if (change != 0) changed++
            }
        }
        values += 3L * count
    }

    /** The figures of everything added so far. */
    fun verdict(): Verdict {
        val total = max(values, 1L).toDouble()
        return Verdict(peak, sqrt(squares / total), changed / total)
    }
}
