package org.rid.core

import java.io.File
import org.rid.core.json.Json

/** The vectors of tests/golden, which every language is held against; never copied, always read there. */
object Golden {
    /** Folder of the vectors: the system property `rid.golden`, set by the build. */
    val folder = File(checkNotNull(System.getProperty("rid.golden")) { "set -Drid.golden=…/tests/golden" })

    fun read(name: String): Case = Case(Json.parse(File(folder, "$name.json").readText()) as Map<*, *>)
}

/** One object of a vector file. */
class Case(private val values: Map<*, *>) {
    fun cases(key: String) = (values[key] as List<*>).map { Case(it as Map<*, *>) }
    fun case(key: String) = Case(values[key] as Map<*, *>)
    fun string(key: String) = values[key] as String
    fun int(key: String) = double(key).toInt()
    fun double(key: String) = values[key] as Double
    fun doubleOrNull(key: String) = values[key] as Double?
    fun ints(key: String) = flat(values[key]).map { it.toInt() }.toIntArray()
    fun floats(key: String) = flat(values[key]).map { it.toFloat() }.toFloatArray()
    fun rows(key: String) = (values[key] as List<*>).map { row -> flat(row).map { it.toFloat() }.toFloatArray() }
    fun image(key: String): FloatImage {
        val rows = values[key] as List<*>
        return FloatImage((rows.first() as List<*>).size, rows.size, floats(key))
    }

    /** An image of levels as a photo; opaque. */
    fun photo(key: String): ArgbPhoto {
        val image = image(key)
        return ArgbPhoto(image.width, image.height, packed(image.values))
    }

    private fun flat(value: Any?): List<Double> =
        if (value is List<*>) value.flatMap(::flat) else listOf(value as Double)

    companion object {
        fun packed(levels: FloatArray) = IntArray(levels.size / 3) { i ->
            (0xFF shl 24) or (levels[3 * i].toInt() shl 16) or (levels[3 * i + 1].toInt() shl 8) or levels[3 * i + 2].toInt()
        }
    }
}
