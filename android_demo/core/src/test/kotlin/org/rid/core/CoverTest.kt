package org.rid.core

import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import org.junit.Test

class CoverTest {
    @Test
    fun `golden working sizes`() {
        for (case in Golden.read("cover").cases("working_size")) {
            val size = Cover.workingSize(case.int("height"), case.int("width"), case.int("short"))
            assertContentEquals(case.ints("working"), intArrayOf(size.height, size.width))
        }
    }

    @Test
    fun `golden starts`() {
        for (case in Golden.read("cover").cases("starts")) {
            assertContentEquals(case.ints("starts"), Cover.starts(case.int("length"), case.int("tile")))
        }
    }

    @Test
    fun `golden weights`() {
        for (case in Golden.read("cover").cases("weights")) {
            val weights = Cover.weights(case.int("length"), case.int("tile"))
            val expected = case.rows("weights")
            assertEquals(expected.size, weights.size)
            expected.zip(weights).forEach { (wanted, got) -> assertContentEquals(wanted, got) }
        }
    }

    @Test
    fun `weights add up to one at every pixel`() {
        for (length in listOf(512, 513, 575, 576, 683, 910, 961, 1024, 5000)) {
            val sum = FloatArray(length)
            val starts = Cover.starts(length, 512)
            Cover.weights(length, 512).forEachIndexed { k, weight ->
                weight.forEachIndexed { i, share -> sum[starts[k] + i] += share }
            }
            assertContentEquals(FloatArray(length) { 1f }, sum, "length $length")
        }
    }

    @Test
    fun `a side shorter than a square is refused`() {
        assertFailsWith<IllegalArgumentException> { Cover.starts(511, 512) }
    }
}
