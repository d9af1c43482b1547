package org.rid.core.bench

/**
 * Figures of one series of durations, in seconds; the same as `rid_bench` computes.
 *
 * @property spread (90th - 10th percentile) / median: how restless the phone was.
 */
data class Summary(
    val count: Int,
    val minimum: Double,
    val median: Double,
    val p90: Double,
    val p99: Double,
    val mean: Double,
    val spread: Double,
) {
    /** For JSON. */
    fun toMap(): Map<String, Any> = mapOf(
        "count" to count,
        "minimum" to minimum,
        "median" to median,
        "p90" to p90,
        "p99" to p99,
        "mean" to mean,
        "spread" to spread,
    )

    companion object {
        /**
         * Summarizes [samples], in any order.
         *
         * @throws IllegalArgumentException there are none.
         */
        fun of(samples: List<Double>): Summary {
            require(samples.isNotEmpty()) { "no samples" }
            val ordered = samples.sorted()
            val median = percentile(ordered, 0.5)
            val p90 = percentile(ordered, 0.9)
            return Summary(
                count = ordered.size,
                minimum = ordered.first(),
                median = median,
                p90 = p90,
                p99 = percentile(ordered, 0.99),
                mean = ordered.average(),
                spread = if (median > 0) (p90 - percentile(ordered, 0.1)) / median else 0.0,
            )
        }

        private fun percentile(ordered: List<Double>, share: Double): Double {
            val place = (ordered.size - 1) * share
            val below = place.toInt()
            val above = minOf(below + 1, ordered.size - 1)
            return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
        }
    }
}
