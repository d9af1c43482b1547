// Stand-in for the LiteRT library: declarations only, see README.md.
@file:Suppress("UNUSED_PARAMETER", "unused")

package com.google.ai.edge.litert

enum class Accelerator { NONE, CPU, GPU, NPU }

abstract class JniHandle : AutoCloseable {
    final override fun close(): Unit = TODO()
}

class LiteRtException(message: String) : Exception(message)

class Environment : JniHandle()

class TensorBuffer internal constructor() : JniHandle() {
    fun writeFloat(data: FloatArray): Unit = TODO()

    fun readFloat(): FloatArray = TODO()
}

class CompiledModel private constructor() : JniHandle() {
    data class CpuOptions(
        val numThreads: Int? = null,
        val xnnPackFlags: Int? = null,
        val xnnPackWeightCachePath: String? = null,
    )

    class Options(vararg accelerators: Accelerator) {
        var cpuOptions: CpuOptions? = null
    }

    fun createInputBuffer(inputName: String, signature: String = ""): TensorBuffer = TODO()

    fun createOutputBuffer(outputName: String, signature: String = ""): TensorBuffer = TODO()

    fun run(inputs: Map<String, TensorBuffer>, outputs: Map<String, TensorBuffer>, signature: String = ""): Unit = TODO()

    companion object {
        @JvmStatic
        fun create(filePath: String, options: Options = TODO(), optionalEnv: Environment? = null): CompiledModel = TODO()
    }
}
