package org.rid.core.model

import org.rid.core.PixelLayout
import org.rid.core.json.Json
import org.rid.core.json.JsonException

/** The metadata is incomplete or of another schema; the message says what. */
internal class MetadataException(message: String) : Exception(message)

/**
 * An input or output of an exported network.
 *
 * @property name of the tensor.
 * @property dtype `float32`, `float16`, `uint8` or `int8`.
 * @property shape with the batch of 1.
 */
data class TensorInfo(val name: String, val dtype: String, val shape: List<Int>)

/**
 * What an exported file says of itself, as far as an app needs it; docs of every field are in
 * `rid_core/artifact.py`.
 *
 * @property format `tflite` or `onnx`.
 * @property preset name of the defender.
 * @property precision such as `fp32` or `int8`.
 * @property levels bound of the perturbation, in 8-bit levels.
 * @property resolution height and width of the input, in pixels.
 * @property layout order of axes.
 * @property weights SHA-256 of the checkpoint's weights.
 * @property network SHA-256 of the file outside its metadata block.
 * @property unfit why the file must not be shipped; null if it may.
 */
data class ModelMetadata(
    val format: String,
    val preset: String,
    val precision: String,
    val levels: Int,
    val resolution: Int,
    val layout: PixelLayout,
    val inputs: List<TensorInfo>,
    val outputs: List<TensorInfo>,
    val weights: String,
    val network: String,
    val licence: String,
    val version: String,
    val unfit: String?,
) {
    companion object {
        private const val SCHEMA = 1

        /** Reads the document, which may be padded with spaces. */
        internal fun parse(text: String): ModelMetadata {
            val document = try {
                Json.parse(text) as? Map<*, *>
            } catch (error: JsonException) {
                throw MetadataException(error.message.orEmpty())
            } ?: throw MetadataException("no JSON object")
            if (document["schema"] != SCHEMA.toDouble()) {
                throw MetadataException("schema ${document["schema"]}; this version reads $SCHEMA")
            }
            return Fields(document).run {
                ModelMetadata(
                    format = string("format"),
                    preset = string("preset"),
                    precision = string("precision"),
                    levels = whole("levels", 1..255),
                    resolution = whole("resolution", 1..MAX_RESOLUTION),
                    layout = PixelLayout.entries.find { it.name.lowercase() == string("layout") }
                        ?: throw MetadataException("layout is ${document["layout"]}"),
                    inputs = tensors("inputs"),
                    outputs = tensors("outputs"),
                    weights = string("weights"),
                    network = string("network"),
                    licence = string("licence"),
                    version = string("version"),
                    unfit = document["unfit"] as? String,
                )
            }
        }

        private const val MAX_RESOLUTION = 8192
    }
}

private class Fields(private val document: Map<*, *>) {
    fun string(key: String): String =
        document[key] as? String ?: throw MetadataException("$key is ${document[key]}")

    fun whole(key: String, range: IntRange): Int {
        val value = document[key] as? Double
        val whole = value?.toInt()
        if (whole == null || whole.toDouble() != value || whole !in range) throw MetadataException("$key is $value")
        return whole
    }

    fun tensors(key: String): List<TensorInfo> =
        (document[key] as? List<*> ?: throw MetadataException("$key is missing")).map { item ->
            val fields = Fields(item as? Map<*, *> ?: throw MetadataException("$key is no list of tensors"))
            val shape = fields.document["shape"] as? List<*> ?: throw MetadataException("$key has no shape")
            TensorInfo(
                fields.string("name"),
                fields.string("dtype"),
                shape.map { (it as? Double)?.toInt() ?: throw MetadataException("$key has a shape of $shape") },
            )
        }
}
