package org.rid.core.json

import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import org.junit.Test

class JsonTest {
    @Test
    fun `reads what others write`() {
        val text = """ {"a": [1, -2.5e3, true, false, null, "x\u00e9\n\"\\"], "b": {}, "c": []} """
        val expected = mapOf(
            "a" to listOf(1.0, -2500.0, true, false, null, "xé\n\"\\"),
            "b" to emptyMap<String, Any?>(),
            "c" to emptyList<Any?>(),
        )
        assertEquals(expected, Json.parse(text))
    }

    @Test
    fun `reads what it writes`() {
        val value = mapOf("text" to "tab\t \"ß\"", "list" to listOf(1.5, null, true), "none" to emptyMap<String, Any?>())
        assertEquals(value, Json.parse(Json.write(value)))
        assertEquals("{\"count\":3}", Json.write(mapOf("count" to 3)))
    }

    @Test
    fun `refuses what is not JSON`() {
        val bad = listOf("", " ", "{", "[1,]", "{\"a\" 1}", "01", "+1", "nul", "\"\\x\"", "\"\u0001\"", "1 2", "NaN", "'a'", "\"\\u12")
        for (text in bad + ("[".repeat(100) + "]".repeat(100))) assertFailsWith<JsonException>(text) { Json.parse(text) }
    }

    @Test
    fun `refuses what JSON cannot hold`() {
        assertFailsWith<IllegalArgumentException> { Json.write(Double.NaN) }
        assertFailsWith<IllegalArgumentException> { Json.write(Any()) }
    }
}
