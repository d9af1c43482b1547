package org.rid.demo.bench

import org.rid.core.ProcessMemory
import org.rid.core.RidException
import org.rid.core.bench.Cell
import org.rid.core.bench.Samples
import org.rid.core.bench.Summary
import org.rid.core.model.ModelFile
import org.rid.demo.engine.PerturbationEngine

/**
 * Measures one model in one engine. Uses nothing of Android.
 *
 * @param runs repetitions after the first one.
 * @param threads for the label of the result.
 */
class BenchmarkRunner(private val runs: Int, private val threads: Int) {
    /**
     * Opens the engine, runs it once, then [runs] times.
     *
     * @param argb pixels of the photo, as many as the model takes, packed ARGB.
     * @param check called before every repetition; throw from it to cancel.
     * @return a cell for the results; one with `error` if the engine failed.
     */
    fun measure(model: ModelFile, argb: IntArray, check: () -> Unit, open: () -> PerturbationEngine): Map<String, Any?> {
        val side = model.metadata.resolution
        if (argb.size != side * side) {
            return Cell.failed(model, threads, "takes $side x $side, the photo has ${argb.size} pixels")
        }
        ProcessMemory.resetPeak()
        return try {
            lateinit var engine: PerturbationEngine
            val load = seconds { engine = open() }
            engine.use { measure(model, it, argb, load, check) }
        } catch (error: RidException) {
            Cell.failed(model, threads, error.message.orEmpty())
        }
    }

    private fun measure(
        model: ModelFile,
        engine: PerturbationEngine,
        argb: IntArray,
        load: Double,
        check: () -> Unit,
    ): Map<String, Any?> {
        val tile = FloatArray(3 * argb.size)
        val samples = Samples()
        fun repeat() {
            samples.pre += seconds {
                toTile(argb, tile)
                engine.write(tile)
            }
            samples.network += seconds(engine::run)
            samples.post += seconds { engine.read() }
        }
        repeat()
        val first = samples.network.single()
        listOf(samples.pre, samples.network, samples.post).forEach { it.clear() }
        repeat(runs) {
            check()
            repeat()
        }
        val rounds = samples.network.chunked((runs + ROUNDS - 1) / ROUNDS) { Summary.of(it).median }
        return Cell.measured(model, threads, engine.name, load, first, rounds, samples, ProcessMemory.peak())
    }

    private fun toTile(argb: IntArray, tile: FloatArray) {
        var at = 0
        for (pixel in argb) {
            tile[at++] = (pixel ushr 16 and 0xFF) / 255f
            tile[at++] = (pixel ushr 8 and 0xFF) / 255f
            tile[at++] = (pixel and 0xFF) / 255f
        }
    }

    private inline fun seconds(work: () -> Unit): Double {
        val start = System.nanoTime()
        work()
        return (System.nanoTime() - start) / NANOSECONDS
    }

    private companion object {
        const val ROUNDS = 10
        const val NANOSECONDS = 1e9
    }
}
