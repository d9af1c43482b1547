package org.rid.core

/**
 * Makes up for what enlarging a perturbation and scaling it down again takes away:
 * `(5 x[i] - x[i - 1] - x[i + 1]) / 3` along columns, then along rows, edges repeated, then clipped.
 *
 * @param unit perturbation in [-1, 1].
 * @return another one of the same size and range.
 */
fun sharpen(unit: FloatImage): FloatImage {
    val stride = 3 * unit.width
    val columns = FloatArray(unit.values.size)
    for (row in 0 until unit.height) {
        val above = maxOf(row - 1, 0) * stride
        val here = row * stride
        val below = minOf(row + 1, unit.height - 1) * stride
        for (i in 0 until stride) {
            columns[here + i] = boost(unit.values[here + i], unit.values[above + i], unit.values[below + i])
        }
    }
    val result = FloatImage(unit.width, unit.height)
    for (row in 0 until unit.height) {
        for (i in 0 until stride) {
            val here = row * stride + i
            val left = if (i < 3) here else here - 3
            val right = if (i >= stride - 3) here else here + 3
            result.values[here] = boost(columns[here], columns[left], columns[right]).coerceIn(-1f, 1f)
        }
    }
    return result
}

private fun boost(value: Float, before: Float, after: Float): Float = (5f * value - before - after) / 3f
