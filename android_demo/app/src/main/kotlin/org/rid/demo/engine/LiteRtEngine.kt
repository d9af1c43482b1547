package org.rid.demo.engine

import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import com.google.ai.edge.litert.TensorBuffer
import org.rid.core.Problem
import org.rid.core.RidException
import org.rid.core.model.ModelFile

/**
 * A `.tflite` model in LiteRT's `CompiledModel`, on one accelerator and no other: a GPU takes the
 * whole network or none of it, so falling back is a second engine (see [EngineLadder]).
 *
 * Buffers are found by name, since a model's outputs have no order that one should rely on.
 *
 * @param threads of the CPU; other delegates have no use for it.
 * @throws RidException the accelerator refuses the model, or is not there.
 */
class LiteRtEngine(model: ModelFile, delegate: Delegate, threads: Int) : PerturbationEngine {
    override val side = model.metadata.resolution
    override val levels = model.metadata.levels
    override val name = "LiteRT, ${delegate.name}"
    override val fallback: String? = null

    private val layout = model.metadata.layout
    private val size = 3 * side * side
    private val staged = FloatArray(size)
    private val answer = FloatArray(size)
    private val compiled: CompiledModel
    private val inputs: Map<String, TensorBuffer>
    private val outputs: Map<String, TensorBuffer>

    init {
        requireFloats(model.metadata)
        compiled = attempt { CompiledModel.create(model.file.path, options(delegate, threads)) }
        try {
            inputs = attempt { mapOf(IMAGE to compiled.createInputBuffer(IMAGE)) }
            outputs = attempt { model.metadata.outputs.associate { it.name to compiled.createOutputBuffer(it.name) } }
        } catch (error: RidException) {
            compiled.close()
            throw error
        }
    }

    private fun options(delegate: Delegate, threads: Int) = when (delegate) {
        Delegate.CPU -> CompiledModel.Options(Accelerator.CPU).apply {
            cpuOptions = CompiledModel.CpuOptions(numThreads = threads)
        }
        Delegate.GPU -> CompiledModel.Options(Accelerator.GPU)
        Delegate.NPU -> CompiledModel.Options(Accelerator.NPU)
    }

    override fun write(tile: FloatArray) {
        layout.fromPixels(tile, staged)
        attempt { inputs.getValue(IMAGE).writeFloat(staged) }
    }

    override fun run() = attempt { compiled.run(inputs, outputs) }

    override fun read(): FloatArray {
        // readFloat waits for the GPU: with this delegate part of the network's time is spent here.
        layout.toPixels(attempt { outputs.getValue(DELTA).readFloat() }, answer)
        return answer
    }

    override fun close() {
        (inputs.values + outputs.values).forEach(TensorBuffer::close)
        compiled.close()
    }

    /** LiteRT throws its own exception, plain ones from its native code, and linkage errors. */
    private inline fun <T> attempt(work: () -> T): T = try {
        work()
    } catch (error: Exception) {
        throw RidException(Problem.ENGINE_FAILED, "$name: ${error.message}", error)
    } catch (error: LinkageError) {
        throw RidException(Problem.ENGINE_FAILED, "$name: its library is missing (${error.message})", error)
    }
}
