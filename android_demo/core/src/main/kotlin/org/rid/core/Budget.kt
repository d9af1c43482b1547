package org.rid.core

import kotlin.math.round

/**
 * The bound on a perturbation, in 8-bit levels of the saved photo: the one place where it lives.
 *
 * @property levels largest change of any colour value, 1 to 255.
 * @property strength share of the bound that is used, above 0 and at most 1; set at run time.
 * @throws IllegalArgumentException a value outside its range.
 */
class Budget(val levels: Int, val strength: Double = 1.0) {
    init {
        require(levels in 1..255) { "levels must be between 1 and 255, not $levels" }
        require(strength > 0.0 && strength <= 1.0) { "strength must be above 0 and at most 1, not $strength" }
    }

    private val scale = (levels * strength).toFloat()

    /** Largest change on an image in [0, 1], strength included. */
    val eps: Double get() = levels * strength / 255

    /**
     * One colour value, protected.
     *
     * @param level 0 to 255.
     * @param unit perturbation in [-1, 1]; values outside are clipped, NaN must have been refused.
     * @return 0 to 255, at most [levels] away from [level].
     */
    fun apply(level: Int, unit: Float): Int {
        // Halves go to the even neighbour, as numpy's rint does.
        val step = round(unit.coerceIn(-1f, 1f) * scale).toInt()
        return (level + step).coerceIn(0, 255)
    }
}
