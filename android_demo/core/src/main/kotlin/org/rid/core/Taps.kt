package org.rid.core

import kotlin.math.abs
import kotlin.math.floor
import kotlin.math.max
import kotlin.math.min

/**
 * The triangle filter along one axis: which samples make an output, and their weights.
 *
 * Going down it averages (the antialiased bilinear resize that training scripts use), going up it
 * interpolates linearly and repeats the edge, and from n to n it copies.
 *
 * @param from number of samples.
 * @param to number of outputs.
 */
class Taps(val from: Int, val to: Int) {
    /** First sample of each output; never decreases. */
    val first = IntArray(to)

    /** Weights of each output's samples, which lie side by side from [first] on; they add up to 1. */
    val weights: Array<FloatArray>

    /** Most samples of any output. */
    val longest: Int

    init {
        val scale = from.toDouble() / to
        val support = max(scale, 1.0)
        weights = Array(to) { i ->
            val centre = (i + 0.5) * scale
            val low = max(floor(centre - support + 0.5), 0.0).toInt()
            val high = min(floor(centre + support + 0.5), from.toDouble()).toInt()
            val raw = DoubleArray(high - low) { k -> max(1 - abs(low + k + 0.5 - centre) / support, 0.0) }
            val sum = raw.sum()
            first[i] = low
            FloatArray(raw.size) { k -> (raw[k] / sum).toFloat() }
        }
        longest = weights.maxOf { it.size }
    }

    /**
     * Filters a row of pixels.
     *
     * @param row 3 * [from] values.
     * @param into gets 3 * [to] values.
     */
    fun filter(row: FloatArray, into: FloatArray) {
        for (i in 0 until to) {
            val weight = weights[i]
            var at = 3 * first[i]
            var red = 0f
            var green = 0f
            var blue = 0f
            for (share in weight) {
                red += share * row[at]
                green += share * row[at + 1]
                blue += share * row[at + 2]
                at += 3
            }
            into[3 * i] = red
            into[3 * i + 1] = green
            into[3 * i + 2] = blue
        }
    }
}
