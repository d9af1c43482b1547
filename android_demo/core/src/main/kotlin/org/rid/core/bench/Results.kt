package org.rid.core.bench

import java.io.File
import java.io.IOException
import org.rid.core.json.Json
import org.rid.core.model.ModelFile

/**
 * Durations of the steps of one network, in seconds, one entry per repetition.
 *
 * @property pre pixels to input tensor.
 * @property network the network alone.
 * @property post output tensor to unit perturbation.
 */
class Samples {
    val pre = ArrayList<Double>()
    val network = ArrayList<Double>()
    val post = ArrayList<Double>()

    /** Whole repetitions. */
    val total: List<Double> get() = network.indices.map { pre[it] + network[it] + post[it] }
}

/** One row of the results; the keys are those of `rid-bench run`. */
object Cell {
    /** A network that was measured. */
    fun measured(
        model: ModelFile,
        threads: Int,
        runtime: String,
        load: Double,
        first: Double,
        rounds: List<Double>,
        samples: Samples,
        memory: Long?,
    ): Map<String, Any?> = labels(model, threads) + mapOf(
        "runtime" to runtime,
        "load_s" to load,
        "first_s" to first,
        "rounds" to rounds,
        "pre" to Summary.of(samples.pre).toMap(),
        "network" to Summary.of(samples.network).toMap(),
        "post" to Summary.of(samples.post).toMap(),
        "total" to Summary.of(samples.total).toMap(),
        "memory_peak_bytes" to memory,
        "error" to null,
    )

    /** A network that was not measured, and why. */
    fun failed(model: ModelFile, threads: Int, reason: String): Map<String, Any?> =
        labels(model, threads) + mapOf("error" to reason)

    /** A file that is no model of ours, and why. */
    fun refused(file: String, threads: Int, reason: String): Map<String, Any?> =
        mapOf("name" to file, "file" to file, "threads" to threads, "error" to reason)

    private fun labels(model: ModelFile, threads: Int): Map<String, Any?> = model.metadata.run {
        mapOf(
            "name" to preset,
            "format" to if (format == "tflite") "TFLite" else "ONNX",
            "precision" to precision,
            "weights" to weights,
            "resolution" to resolution,
            "levels" to levels,
            "size_bytes" to model.bytes,
            "file" to model.file.name,
            "threads" to threads,
        )
    }
}

/** The document that `rid-bench adb` waits for and `rid-bench report` reads. */
object Results {
    private const val SCHEMA = 1

    /**
     * Writes one run as a whole or not at all: under another name first, then renamed.
     *
     * @param created date and time, ISO 8601, UTC.
     * @param machine at least `cpu`; see docs/benchmarks.md.
     * @param note why not everything was measured; null if it was.
     * @throws IOException the file cannot be written.
     */
    fun write(
        target: File,
        created: String,
        machine: Map<String, Any?>,
        cells: List<Map<String, Any?>>,
        note: String? = null,
    ) {
        val run = mapOf(
            "created" to created,
            "machine" to machine,
            "cells" to cells,
            "complete" to (note == null),
            "note" to note,
        )
        val fresh = File(target.path + ".new")
        fresh.writeText(Json.write(mapOf("schema" to SCHEMA, "runs" to listOf(run))) + "\n")
        if (!fresh.renameTo(target)) throw IOException("${target.name} cannot be written")
    }
}
