package org.rid.demo.engine

import org.rid.core.Problem
import org.rid.core.RidException
import org.rid.core.model.ModelFile

/** Which engine runs which model. */
object Engines {
    /** Big cores of a phone; more threads make small networks slower. */
    private const val MOST_THREADS = 4

    /** Threads to use on this phone. */
    val threads: Int get() = Runtime.getRuntime().availableProcessors().coerceIn(1, MOST_THREADS)

    /**
     * The best engine for [model] that works on this phone: for `.tflite` the GPU, then the CPU.
     *
     * @throws RidException none works.
     */
    fun best(model: ModelFile): PerturbationEngine {
        val delegates = if (model.metadata.format == "tflite") listOf(Delegate.GPU, Delegate.CPU) else listOf(Delegate.CPU)
        return EngineLadder(delegates.map { delegate -> { exactly(model, delegate, threads) } })
    }

    /**
     * One engine and no other, for measuring.
     *
     * @throws RidException it does not work.
     */
    fun exactly(model: ModelFile, delegate: Delegate, threads: Int): PerturbationEngine = when {
        model.metadata.format == "tflite" -> LiteRtEngine(model, delegate, threads)
        delegate == Delegate.CPU -> OnnxEngine(model, threads)
        else -> throw RidException(Problem.ENGINE_FAILED, "ONNX Runtime runs on the CPU in this app")
    }
}
