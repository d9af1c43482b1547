package org.rid.demo.engine

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtException
import ai.onnxruntime.OrtSession
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.rid.core.Problem
import org.rid.core.RidException
import org.rid.core.model.ModelFile

/**
 * A `.onnx` model in ONNX Runtime, on the CPU. Uses nothing of Android, so the very same class runs
 * in the tests on a desktop.
 *
 * @param threads of the CPU.
 * @throws RidException the runtime refuses the model.
 */
class OnnxEngine(model: ModelFile, threads: Int) : PerturbationEngine {
    override val side = model.metadata.resolution
    override val levels = model.metadata.levels
    override val name: String
    override val fallback: String? = null

    private val layout = model.metadata.layout
    private val size = 3 * side * side
    private val environment: OrtEnvironment
    private val session: OrtSession
    private val input = ByteBuffer.allocateDirect(Float.SIZE_BYTES * size).order(ByteOrder.nativeOrder()).asFloatBuffer()
    private val image: OnnxTensor
    private val staged = FloatArray(size)
    private val stored = FloatArray(size)
    private val answer = FloatArray(size)

    init {
        requireFloats(model.metadata)
        environment = attempt(OrtEnvironment::getEnvironment)
        name = "ONNX Runtime ${environment.version}, CPU"
        session = attempt {
            environment.setTelemetry(false)
            OrtSession.SessionOptions().use { options ->
                options.setIntraOpNumThreads(threads)
                environment.createSession(model.file.path, options)
            }
        }
        val shape = model.metadata.inputs.single().shape.map(Int::toLong).toLongArray()
        try {
            image = attempt { OnnxTensor.createTensor(environment, input, shape) }
        } catch (error: RidException) {
            session.close()
            throw error
        }
    }

    override fun write(tile: FloatArray) {
        layout.fromPixels(tile, staged)
        input.rewind()
        input.put(staged)
    }

    override fun run() = attempt {
        session.run(mapOf(IMAGE to image), setOf(DELTA)).use { result ->
            (result.get(0) as OnnxTensor).floatBuffer.get(stored)
            Unit
        }
    }

    override fun read(): FloatArray {
        layout.toPixels(stored, answer)
        return answer
    }

    override fun close() {
        image.close()
        session.close()
    }

    private inline fun <T> attempt(work: () -> T): T = try {
        work()
    } catch (error: OrtException) {
        throw RidException(Problem.ENGINE_FAILED, "ONNX Runtime: ${error.message}", error)
    } catch (error: LinkageError) {
        throw RidException(Problem.ENGINE_FAILED, "ONNX Runtime: its library is missing (${error.message})", error)
    }
}
