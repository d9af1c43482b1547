package org.rid.demo.engine

import kotlin.math.abs
import org.rid.core.Defender
import org.rid.core.Problem
import org.rid.core.RidException
import org.rid.core.model.ModelMetadata

/** What computes. */
enum class Delegate { CPU, GPU, NPU }

/**
 * A model loaded in a runtime: the one interface that the rest of the app knows.
 *
 * [perturb] does the three steps at once; the benchmark takes them one by one. Not thread-safe.
 */
interface PerturbationEngine : Defender {
    /** For people: the runtime and what it computes on, such as `LiteRT, GPU`. */
    val name: String

    /** Why a faster delegate is not used; null if the first choice works. */
    val fallback: String?

    /** Copies a tile, RGB in [0, 1] in `[row][column][channel]` order, into the input tensor. */
    fun write(tile: FloatArray)

    /** Runs the network on what [write] left. */
    fun run()

    /** The unit perturbation of the last [run], in [-1, 1] and the order of [write]; reused later. */
    fun read(): FloatArray

    override fun perturb(tile: FloatArray): FloatArray {
        write(tile)
        run()
        return read()
    }
}

/**
 * Runs a grey tile through a fresh engine, so that a delegate that compiles but cannot run, or
 * answers nonsense, is found out before a photo depends on it.
 *
 * @throws RidException it failed, or its answer is no perturbation.
 */
fun PerturbationEngine.warmUp() {
    val answer = perturb(FloatArray(3 * side * side) { 0.5f })
    if (answer.any { !it.isFinite() || abs(it) > LARGEST_UNIT }) {
        throw RidException(Problem.BAD_ANSWER, "$name does not compute a perturbation")
    }
}

/**
 * Refuses a model that the engines cannot feed: they take a float image and give a float delta.
 *
 * @throws RidException the model has other inputs or outputs.
 */
internal fun requireFloats(metadata: ModelMetadata) {
    val image = metadata.inputs.singleOrNull()
    val delta = metadata.outputs.find { it.name == DELTA }
    if (image?.name != IMAGE || image.dtype != FLOAT || delta?.dtype != FLOAT) {
        throw RidException(
            Problem.MODEL_UNSUPPORTED,
            "the app takes models with a float32 image and a float32 delta; export with --io float32",
        )
    }
}

internal const val IMAGE = "image"
internal const val DELTA = "delta"
private const val FLOAT = "float32"

/** 1 and the rounding of a GPU that computes in half precision. */
private const val LARGEST_UNIT = 1.01f
