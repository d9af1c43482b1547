package org.rid.core

import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import org.junit.Test

class TilingTest {
    @Test
    fun `golden working sizes`() {
        for (case in Golden.read("tiling").cases("working_size")) {
            val size = Tiling.workingSize(case.int("height"), case.int("width"), case.int("short"))
            assertContentEquals(case.ints("working"), intArrayOf(size.height, size.width))
        }
    }

    @Test
    fun `golden starts`() {
        for (case in Golden.read("tiling").cases("starts")) {
            assertContentEquals(case.ints("starts"), Tiling.starts(case.int("length"), case.int("tile")))
        }
    }

    @Test
    fun `golden weights`() {
        for (case in Golden.read("tiling").cases("weights")) {
            val weights = Tiling.weights(case.int("length"), case.int("tile"))
            val expected = case.rows("weights")
            assertEquals(expected.size, weights.size)
            expected.zip(weights).forEach { (wanted, got) -> assertContentEquals(wanted, got) }
        }
    }

    @Test
    fun `weights add up to one at every pixel`() {
        for (length in listOf(512, 513, 575, 576, 683, 910, 961, 1024, 5000)) {
            val sum = FloatArray(length)
            val starts = Tiling.starts(length, 512)
            Tiling.weights(length, 512).forEachIndexed { k, weight ->
                weight.forEachIndexed { i, share -> sum[starts[k] + i] += share }
            }
            assertContentEquals(FloatArray(length) { 1f }, sum, "length $length")
        }
    }

    @Test
    fun `a side shorter than a tile is refused`() {
        assertFailsWith<IllegalArgumentException> { Tiling.starts(511, 512) }
    }
}
