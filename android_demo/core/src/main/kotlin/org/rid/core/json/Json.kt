package org.rid.core.json

/** Text is not JSON; the message says where. */
class JsonException(message: String) : Exception(message)

/**
 * A small strict JSON reader and writer, so that this module needs neither Android nor a library.
 *
 * Values are `Map<String, Any?>`, `List<Any?>`, `String`, `Double`, `Boolean` and `null`; the writer
 * also takes other numbers and float arrays.
 */
object Json {
    /**
     * Reads one document.
     *
     * @throws JsonException not JSON, or nested deeper than 64.
     */
    fun parse(text: String): Any? = Reader(text).document()

    /**
     * Writes one document, keys in the order of the maps.
     *
     * @throws IllegalArgumentException a value of another kind, or NaN or infinity.
     */
    fun write(value: Any?): String = StringBuilder().also { append(it, value) }.toString()

    private fun append(out: StringBuilder, value: Any?) {
        when (value) {
            null, is Boolean, is Int, is Long -> out.append(value)
            is Float, is Double -> out.append(number((value as Number).toDouble()))
            is String -> appendString(out, value)
            is Map<*, *> -> appendAll(out, '{', '}', value.entries) { (key, item) ->
                appendString(out, key as String)
                out.append(':')
                append(out, item)
            }
            is Iterable<*> -> appendAll(out, '[', ']', value) { append(out, it) }
            else -> throw IllegalArgumentException("JSON has no ${value.javaClass.simpleName}")
        }
    }

    private fun number(value: Double): String {
        require(value.isFinite()) { "JSON has no $value" }
        return value.toString()
    }

    private fun <T> appendAll(out: StringBuilder, open: Char, close: Char, items: Iterable<T>, each: (T) -> Unit) {
        out.append(open)
        items.forEachIndexed { i, item ->
            if (i > 0) out.append(',')
            each(item)
        }
        out.append(close)
    }

    private fun appendString(out: StringBuilder, text: String) {
        out.append('"')
        for (char in text) {
            when {
                char == '"' || char == '\\' -> out.append('\\').append(char)
                char < ' ' -> out.append("\\u%04x".format(char.code))
                else -> out.append(char)
            }
        }
        out.append('"')
    }
}

private class Reader(private val text: String) {
    private var at = 0

    fun document(): Any? {
        val value = value(0)
        space()
        if (at != text.length) fail("something follows the document")
        return value
    }

    private fun value(depth: Int): Any? {
        if (depth > MAX_DEPTH) fail("nested too deep")
        space()
        return when (peek()) {
            '{' -> members(depth)
            '[' -> items(depth)
            '"' -> string()
            't' -> word("true", true)
            'f' -> word("false", false)
            'n' -> word("null", null)
            else -> number()
        }
    }

    private fun members(depth: Int): Map<String, Any?> {
        val result = LinkedHashMap<String, Any?>()
        sequence('}') {
            space()
            val key = string()
            space()
            expect(':')
            result[key] = value(depth + 1)
        }
        return result
    }

    private fun items(depth: Int): List<Any?> {
        val result = ArrayList<Any?>()
        sequence(']') { result += value(depth + 1) }
        return result
    }

    private inline fun sequence(close: Char, item: () -> Unit) {
        at++
        space()
        if (peek() == close) {
            at++
            return
        }
        while (true) {
            item()
            space()
            if (peek() == close) {
                at++
                return
            }
            expect(',')
        }
    }

    private fun string(): String {
        expect('"')
        val out = StringBuilder()
        while (true) {
            val char = peek()
            at++
            when {
                char == '"' -> return out.toString()
                char == '\\' -> out.append(escape())
                char < ' ' -> fail("a control character in a string")
                else -> out.append(char)
            }
        }
    }

    private fun escape(): Char {
        val char = peek()
        at++
        return when (char) {
            '"', '\\', '/' -> char
            'b' -> '\b'
            'f' -> '\u000C'
            'n' -> '\n'
            'r' -> '\r'
            't' -> '\t'
            'u' -> {
                val code = text.substring(at, minOf(at + 4, text.length))
                at += 4
                if (!code.matches(HEX)) fail("a bad escape")
                code.toInt(16).toChar()
            }
            else -> fail("a bad escape")
        }
    }

    private fun number(): Double {
        val match = NUMBER.matchAt(text, at) ?: fail("no value")
        at = match.range.last + 1
        return match.value.toDouble()
    }

    private fun word(word: String, value: Any?): Any? {
        if (!text.startsWith(word, at)) fail("no value")
        at += word.length
        return value
    }

    private fun space() {
        while (at < text.length && text[at] in " \t\r\n") at++
    }

    private fun peek(): Char = if (at < text.length) text[at] else fail("it ends too early")

    private fun expect(char: Char) {
        if (peek() != char) fail("no '$char'")
        at++
    }

    private fun fail(reason: String): Nothing = throw JsonException("not JSON at character $at: $reason")

    private companion object {
        const val MAX_DEPTH = 64
        val NUMBER = Regex("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?")
        val HEX = Regex("[0-9a-fA-F]{4}")
    }
}
