package org.rid.core

import kotlin.math.abs
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import org.junit.Test

class ResampleTest {
    private fun assertClose(expected: FloatArray, got: FloatArray, tolerance: Float) {
        assertEquals(expected.size, got.size)
        for (i in expected.indices) assertTrue(abs(expected[i] - got[i]) <= tolerance, "at $i: ${expected[i]}, ${got[i]}")
    }

    @Test
    fun `golden taps`() {
        for (case in Golden.read("resample").cases("taps")) {
            val taps = Taps(case.int("from"), case.int("to"))
            val index = case.rows("index")
            val weight = case.rows("weight")
            for (i in 0 until taps.to) {
                val wanted = FloatArray(taps.from)
                weight[i].forEachIndexed { k, share -> wanted[index[i][k].toInt()] += share }
                val got = FloatArray(taps.from)
                taps.weights[i].forEachIndexed { k, share -> got[taps.first[i] + k] += share }
                assertClose(wanted, got, 0f)
            }
        }
    }

    @Test
    fun `golden images`() {
        for (case in Golden.read("resample").cases("resample")) {
            val (height, width) = case.ints("size").toList()
            assertClose(case.image("result").values, resample(case.image("image"), height, width).values, 1e-4f)
        }
    }

    @Test
    fun `golden sharpening`() {
        for (case in Golden.read("resample").cases("sharpen")) {
            assertClose(case.image("result").values, sharpen(case.image("unit")).values, 1e-6f)
        }
    }

    @Test
    fun `rows are read once and in order`() {
        for ((from, to) in listOf(400 to 30, 31 to 30, 30 to 30, 30 to 31, 7 to 200, 1 to 5)) {
            val read = ArrayList<Int>()
            val source = object : RowSource {
                override val width = 2
                override val height = from
                override fun readRow(row: Int, into: FloatArray) {
                    read += row
                    into.fill(row.toFloat())
                }
            }
            val emitted = ArrayList<Int>()
            resampleRows(source, to, 3) { row, _ -> emitted += row }
            assertEquals((0 until from).toList(), read, "$from to $to")
            assertEquals((0 until to).toList(), emitted, "$from to $to")
        }
    }
}
