package org.rid.core.model

import java.io.File
import java.io.IOException
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel
import java.security.MessageDigest
import org.rid.core.Problem
import org.rid.core.RidException

/**
 * An exported `.tflite` or `.onnx` file that was found to be sound: it is what it says of itself,
 * and not a byte of its network has changed since its export.
 *
 * @property file where it lies.
 * @property metadata what it says.
 */
class ModelFile private constructor(val file: File, val metadata: ModelMetadata) {
    /** Size of the file, in bytes. */
    val bytes: Long get() = file.length()

    companion object {
        private const val LIMIT = 1 shl 20

        /**
         * Reads the metadata of [file] and holds its digest against the bytes. No runtime is needed.
         *
         * @throws RidException missing, damaged, foreign, or of a schema that this version cannot read.
         */
        fun open(file: File): ModelFile {
            if (!file.isFile) throw RidException(Problem.MODEL_MISSING, "${file.name} is not there")
            return try {
                read(file, map(file))
            } catch (error: IOException) {
                throw RidException(Problem.MODEL_DAMAGED, "${file.name} cannot be read (${error.message})", error)
            } catch (error: DamagedException) {
                throw RidException(Problem.MODEL_DAMAGED, "${file.name} is damaged (${error.message})", error)
            } catch (error: IndexOutOfBoundsException) {
                throw RidException(Problem.MODEL_DAMAGED, "${file.name} is damaged (an offset points outside)", error)
            }
        }

        private fun map(file: File): ByteBuffer = RandomAccessFile(file, "r").use { handle ->
            handle.channel.map(FileChannel.MapMode.READ_ONLY, 0, handle.length()).order(ByteOrder.LITTLE_ENDIAN)
        }

        private fun read(file: File, data: ByteBuffer): ModelFile {
            val (format, container) = when {
                TfliteContainer.recognizes(data) -> "tflite" to TfliteContainer
                OnnxContainer.recognizes(data) -> "onnx" to OnnxContainer
                else -> throw RidException(Problem.MODEL_FOREIGN, "${file.name} is neither TFLite nor ONNX")
            }
            val blocks = container.blocks(data)
            if (blocks.size > 1) throw DamagedException("it carries RID metadata twice")
            val block = blocks.firstOrNull()
                ?: throw RidException(Problem.MODEL_FOREIGN, "${file.name} carries no RID metadata; use rid-export")
            if (block.length > LIMIT) throw DamagedException("its metadata is ${block.length} bytes long")
            val metadata = parse(file, text(data, block))
            if (metadata.format != format) throw DamagedException("its metadata is of a ${metadata.format} file")
            if (digest(data, block) != metadata.network) {
                throw DamagedException("its network is not the one that was exported")
            }
            return ModelFile(file, metadata)
        }

        private fun parse(file: File, text: String): ModelMetadata = try {
            ModelMetadata.parse(text)
        } catch (error: MetadataException) {
            throw RidException(Problem.MODEL_UNSUPPORTED, "${file.name}: ${error.message}", error)
        }

        private fun text(data: ByteBuffer, block: Block): String {
            val bytes = ByteArray(block.length)
            slice(data, block.offset, block.offset + block.length).get(bytes)
            return String(bytes, Charsets.UTF_8)
        }

        /** SHA-256 of everything but the block, in hexadecimal. */
        private fun digest(data: ByteBuffer, block: Block): String {
            val digest = MessageDigest.getInstance("SHA-256")
            digest.update(slice(data, 0, block.offset))
            digest.update(slice(data, block.offset + block.length, data.limit()))
            return digest.digest().joinToString("") { "%02x".format(it) }
        }

        private fun slice(data: ByteBuffer, start: Int, end: Int): ByteBuffer =
            data.duplicate().apply { limit(end) }.apply { position(start) }
    }
}
