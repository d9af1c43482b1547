package org.rid.core.model

import java.nio.ByteBuffer

/** The file breaks its own format. */
internal class DamagedException(message: String) : Exception(message)

/** A stretch of bytes in a file. */
internal data class Block(val offset: Int, val length: Int)

/** Finds where a file keeps its RID metadata; looks at nothing else and never leaves the file. */
internal fun interface Container {
    /**
     * All blocks stored under [METADATA_KEY].
     *
     * @param data the whole file, little-endian.
     * @throws DamagedException a length or an offset points outside.
     */
    fun blocks(data: ByteBuffer): List<Block>
}

internal const val METADATA_KEY = "RID_METADATA"

/** Protobuf's wire format, as far as ONNX's ModelProto needs it (protobuf encoding guide, onnx.proto). */
internal object OnnxContainer : Container {
    private const val GRAPH = 7
    private const val METADATA_PROPS = 14
    private const val KEY = 1
    private const val VALUE = 2

    private class Field(val number: Int, val start: Int, val end: Int)

    /** ONNX has no magic number: its first field is the version, and one of them is the graph. */
    fun recognizes(data: ByteBuffer): Boolean =
        data.limit() > 0 && data.get(0) == 8.toByte() && fields(data, 0, data.limit()).any { it.number == GRAPH }

    override fun blocks(data: ByteBuffer): List<Block> =
        fields(data, 0, data.limit()).filter { it.number == METADATA_PROPS }.mapNotNull { entry ->
            val parts = fields(data, entry.start, entry.end).associateBy { it.number }
            val key = parts[KEY]
            val value = parts[VALUE]
            if (key == null || value == null || data.ascii(key.start, key.end) != METADATA_KEY) return@mapNotNull null
            Block(value.start, value.end - value.start)
        }

    private fun fields(data: ByteBuffer, from: Int, end: Int): List<Field> {
        val found = ArrayList<Field>()
        val cursor = Varints(data, from, end)
        while (cursor.at < end) {
            val key = cursor.next()
            val number = key ushr 3
            var start = cursor.at
            val stop = when ((key and 7).toInt()) {
                0 -> cursor.run { next(); at.toLong() }
                1 -> start + 8L
                2 -> cursor.next().let { length ->
                    start = cursor.at
                    if (length < 0) throw DamagedException("truncated")
                    start + length
                }
                5 -> start + 4L
                else -> throw DamagedException("not protobuf")
            }
            if (stop > end || stop < start || number == 0L || number > Int.MAX_VALUE) throw DamagedException("truncated")
            found += Field(number.toInt(), start, stop.toInt())
            cursor.at = stop.toInt()
        }
        return found
    }

    private class Varints(private val data: ByteBuffer, var at: Int, private val end: Int) {
        fun next(): Long {
            var value = 0L
            var shift = 0
            while (at < end && shift < Long.SIZE_BITS) {
                val byte = data.get(at++).toLong()
                value = value or ((byte and 0x7F) shl shift)
                if (byte >= 0) return value
                shift += 7
            }
            throw DamagedException("truncated")
        }
    }
}

/** Flatbuffers, as far as TFLite's Model table needs it (schema.fbs). */
internal object TfliteContainer : Container {
    private const val BUFFERS = 4
    private const val METADATA = 6

    fun recognizes(data: ByteBuffer): Boolean = data.limit() >= 8 && data.ascii(4, 8) == "TFL3"

    override fun blocks(data: ByteBuffer): List<Block> {
        val model = data.getInt(0)
        val buffers = tables(data, model, BUFFERS)
        return tables(data, model, METADATA).mapNotNull { entry ->
            val (start, length) = vector(data, entry, 0)
            if (data.ascii(start, start + length) != METADATA_KEY) return@mapNotNull null
            val index = field(data, entry, 1)?.let(data::getInt) ?: 0
            val (first, size) = vector(data, buffers[index], 0)
            if (size < 0 || first.toLong() + size > data.limit()) throw DamagedException("truncated")
            Block(first, size)
        }
    }

    private fun field(data: ByteBuffer, table: Int, index: Int): Int? {
        val layout = table - data.getInt(table)
        val slot = 4 + 2 * index
        if (slot >= data.unsignedShort(layout)) return null
        return data.unsignedShort(layout + slot).takeIf { it != 0 }?.let { table + it }
    }

    private fun vector(data: ByteBuffer, table: Int, index: Int): Pair<Int, Int> {
        val at = field(data, table, index) ?: return 0 to 0
        val start = at + data.getInt(at)
        return start + 4 to data.getInt(start)
    }

    private fun tables(data: ByteBuffer, table: Int, index: Int): List<Int> {
        val (start, count) = vector(data, table, index)
        if (count < 0 || start + 4L * count > data.limit()) throw DamagedException("truncated")
        return List(count) { i -> (start + 4 * i).let { it + data.getInt(it) } }
    }
}

private fun ByteBuffer.unsignedShort(at: Int): Int = getShort(at).toInt() and 0xFFFF

private fun ByteBuffer.ascii(start: Int, end: Int): String {
    if (start < 0 || end < start || end > limit()) throw DamagedException("an offset points outside")
    return String(ByteArray(end - start) { get(start + it) }, Charsets.ISO_8859_1)
}
