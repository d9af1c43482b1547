package org.rid.core

/**
 * Scales [source] with the triangle filter, a row at a time from top to bottom.
 *
 * Every source row is read at most once, in order, and only a handful of rows are held: a
 * 108-megapixel photo needs no copy of itself. A height that shrinks is filtered before the width,
 * one that grows after it, as in `rid_core.image.tiling.resample`.
 *
 * @param height of the result, in pixels.
 * @param width of the result, in pixels.
 * @param emit called with the row number and its 3 * [width] values, which are overwritten later.
 */
fun resampleRows(source: RowSource, height: Int, width: Int, emit: (row: Int, values: FloatArray) -> Unit) {
    val down = Taps(source.height, height)
    val across = Taps(source.width, width)
    if (height < source.height) shrinkRows(source, down, across, emit) else growRows(source, down, across, emit)
}

/** [resampleRows] into an image in memory. */
fun resample(source: RowSource, height: Int, width: Int): FloatImage {
    val result = FloatImage(width, height)
    resampleRows(source, height, width) { row, values -> values.copyInto(result.values, 3 * row * width) }
    return result
}

private fun shrinkRows(source: RowSource, down: Taps, across: Taps, emit: (Int, FloatArray) -> Unit) {
    val row = FloatArray(3 * source.width)
    val result = FloatArray(3 * across.to)
    val open = ArrayDeque<FloatArray>() // sums of the outputs that this source row contributes to
    val spare = ArrayDeque<FloatArray>()
    var done = 0
    for (j in 0 until source.height) {
        if (done == down.to) return
        source.readRow(j, row)
        var i = done
        while (i < down.to && down.first[i] <= j) {
            if (i - done == open.size) {
                open.addLast((spare.removeLastOrNull() ?: FloatArray(row.size)).apply { fill(0f) })
            }
            val weight = down.weights[i]
            val k = j - down.first[i]
            if (k < weight.size) addScaled(open[i - done], row, weight[k])
            i++
        }
        while (done < down.to && open.isNotEmpty() && j == down.first[done] + down.weights[done].size - 1) {
            val sum = open.removeFirst()
            across.filter(sum, result)
            emit(done++, result)
            spare.addLast(sum)
        }
    }
}

private fun growRows(source: RowSource, down: Taps, across: Taps, emit: (Int, FloatArray) -> Unit) {
    val row = FloatArray(3 * source.width)
    val ring = Array(down.longest) { FloatArray(3 * across.to) }
    val result = FloatArray(3 * across.to)
    var ready = 0
    for (i in 0 until down.to) {
        val first = down.first[i]
        val weight = down.weights[i]
        while (ready < first + weight.size) {
            source.readRow(ready, row)
            across.filter(row, ring[ready % ring.size])
            ready++
        }
        result.fill(0f)
        for (k in weight.indices) addScaled(result, ring[(first + k) % ring.size], weight[k])
        emit(i, result)
    }
}

private fun addScaled(sum: FloatArray, row: FloatArray, weight: Float) {
    for (i in sum.indices) sum[i] += weight * row[i]
}
