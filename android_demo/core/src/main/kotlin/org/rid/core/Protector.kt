package org.rid.core

import kotlin.math.max
import kotlin.math.min

/**
 * A network that answers one tile. Not thread-safe: one caller at a time.
 */
interface Defender : AutoCloseable {
    /** Height and width of a tile, in pixels. */
    val side: Int

    /** The bound it was trained for, in 8-bit levels. */
    val levels: Int

    /**
     * Predicts the unit perturbation of one tile.
     *
     * @param tile RGB in [0, 1], `[(row * side + column) * 3 + channel]`; not changed.
     * @return in [-1, 1], same order; the array may be reused by the next call.
     * @throws RidException the runtime failed.
     */
    fun perturb(tile: FloatArray): FloatArray
}

/**
 * Protects photos of any size: the same algorithm as `rid_core.protection`, held to it by tests/golden.
 *
 * Whoever trains on a photo scales it down first, and a perturbation finer than that is averaged
 * away. So it is predicted at that scale ([predict]), and the perturbation, never the photo, is
 * enlarged and added at full size ([apply]). The first is slow and independent of the strength; the
 * second is cheap, so a strength slider needs only the second.
 */
object Protector {
    /** Smallest height and width of a photo, in pixels, as for `rid-protect`. */
    const val MIN_SIDE = 64

    /** Longest side over shortest. */
    const val MAX_ASPECT = 64

    /**
     * Refuses a photo by its size, before anything is decoded. The arithmetic itself takes any size.
     *
     * @throws RidException too small, or too long for its width.
     */
    fun checkSize(width: Int, height: Int) {
        if (min(width, height) < MIN_SIDE) {
            throw RidException(Problem.PHOTO_TOO_SMALL, "$width x $height; it needs $MIN_SIDE x $MIN_SIDE or more")
        }
        checkAspect(width, height)
    }

    /**
     * Predicts the unit perturbation at the working scale.
     *
     * @param photo upright.
     * @param check called between pieces of work; throw from it to cancel.
     * @return in [-1, 1]; the shorter side is [Defender.side].
     * @throws RidException the photo is too long for its width, or the network failed.
     */
    fun predict(photo: Photo, defender: Defender, check: () -> Unit = {}): FloatImage {
        checkAspect(photo.width, photo.height)
        return blend(workingView(photo, defender.side, check), defender, check)
    }

    private fun checkAspect(width: Int, height: Int) {
        if (max(width, height).toLong() > MAX_ASPECT.toLong() * min(width, height)) {
            throw RidException(Problem.PHOTO_TOO_LONG, "$width x $height is more than $MAX_ASPECT times as long as wide")
        }
    }

    /** The photo at the working scale, RGB in [0, 1]. */
    private fun workingView(photo: Photo, side: Int, check: () -> Unit): FloatImage {
        val size = Tiling.workingSize(photo.height, photo.width, side)
        val view = FloatImage(size.width, size.height)
        resampleRows(Levels(photo), size.height, size.width) { row, values ->
            check()
            val start = 3 * row * size.width
            for (i in 0 until 3 * size.width) view.values[start + i] = (values[i] / 255f).coerceIn(0f, 1f)
        }
        return view
    }

    private fun blend(view: FloatImage, defender: Defender, check: () -> Unit): FloatImage {
        val side = defender.side
        val unit = FloatImage(view.width, view.height)
        val tile = FloatArray(3 * side * side)
        val tops = Tiling.starts(view.height, side)
        val lefts = Tiling.starts(view.width, side)
        val down = Tiling.weights(view.height, side)
        val across = Tiling.weights(view.width, side)
        for ((k, top) in tops.withIndex()) {
            for ((l, left) in lefts.withIndex()) {
                check()
                for (row in 0 until side) {
                    val at = 3 * ((top + row) * view.width + left)
                    view.values.copyInto(tile, 3 * row * side, at, at + 3 * side)
                }
                val answer = checked(defender.perturb(tile), tile.size)
                for (row in 0 until side) {
                    val at = 3 * ((top + row) * view.width + left)
                    for (i in 0 until 3 * side) {
                        unit.values[at + i] += down[k][row] * across[l][i / 3] * answer[3 * row * side + i]
                    }
                }
            }
        }
        for (i in unit.values.indices) unit.values[i] = unit.values[i].coerceIn(-1f, 1f)
        return unit
    }

    private fun checked(answer: FloatArray, size: Int): FloatArray {
        if (answer.size != size || !answer.all { it.isFinite() }) {
            throw RidException(Problem.BAD_ANSWER, "the network returned no perturbation; export the model again")
        }
        return answer
    }

    /**
     * Adds a perturbation at full size, a row at a time.
     *
     * @param photo the photo that [unit] was predicted for, or a smaller copy of it for display.
     * @param unit of [predict].
     * @param into gets the protected rows; may be [photo] itself. Alpha is kept.
     * @param check called for every row; throw from it to cancel.
     * @return what changed, measured on the very values that were written.
     * @throws RidException the bound would not hold.
     */
    fun apply(
        photo: Photo,
        unit: FloatImage,
        budget: Budget,
        into: MutablePhoto,
        check: () -> Unit = {},
    ): Verdict {
        val larger = min(photo.width, photo.height) > min(unit.width, unit.height)
        val source = if (larger) sharpen(unit) else unit
        val before = IntArray(photo.width)
        val after = IntArray(photo.width)
        val comparison = Comparison()
        resampleRows(source, photo.height, photo.width) { row, values ->
            check()
            photo.readRow(row, before)
            protectRow(before, values, budget, after)
            comparison.add(before, after, photo.width)
            into.writeRow(row, after)
        }
        val verdict = comparison.verdict()
        if (verdict.maxLevels > budget.levels) {
            throw RidException(
                Problem.BOUND_BROKEN,
                "a value would change by ${verdict.maxLevels} levels, more than ${budget.levels}",
            )
        }
        return verdict
    }

    private fun protectRow(before: IntArray, unit: FloatArray, budget: Budget, after: IntArray) {
        for (x in before.indices) {
            val pixel = before[x]
            val red = budget.apply(pixel ushr 16 and 0xFF, unit[3 * x])
            val green = budget.apply(pixel ushr 8 and 0xFF, unit[3 * x + 1])
            val blue = budget.apply(pixel and 0xFF, unit[3 * x + 2])
            after[x] = (pixel and (0xFF shl 24)) or (red shl 16) or (green shl 8) or blue
        }
    }
}
