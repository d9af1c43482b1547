package org.rid.core

import kotlin.math.abs
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue
import org.junit.Test

class BudgetTest {
    @Test
    fun `golden vectors`() {
        val cases = Golden.read("budget").cases("apply_uint8")
        assertTrue(cases.size >= 20)
        for (case in cases) {
            val budget = Budget(case.int("levels"), case.double("strength"))
            val image = case.ints("image")
            val unit = case.floats("unit")
            val protected = image.indices.map { budget.apply(image[it], unit[it]) }
            assertEquals(case.ints("protected").toList(), protected, case.string("name"))
            assertTrue(protected.indices.all { abs(protected[it] - image[it]) <= budget.levels })
        }
    }

    @Test
    fun `values outside are refused`() {
        for (levels in listOf(0, -1, 256)) assertFailsWith<IllegalArgumentException> { Budget(levels) }
        for (strength in listOf(0.0, -0.5, 1.01, Double.NaN)) {
            assertFailsWith<IllegalArgumentException> { Budget(8, strength) }
        }
    }

    @Test
    fun `infinite perturbations keep the bound`() {
        assertEquals(108, Budget(8).apply(100, Float.POSITIVE_INFINITY))
        assertEquals(92, Budget(8).apply(100, Float.NEGATIVE_INFINITY))
    }

    @Test
    fun `a comparison measures the change`() {
        val comparison = Comparison()
        comparison.add(intArrayOf(0x102030, 0x405060), intArrayOf(0x132030, 0x40505C), 2)
        val verdict = comparison.verdict()
        assertEquals(4, verdict.maxLevels)
        assertEquals(kotlin.math.sqrt(25 / 6.0), verdict.rmsLevels, 1e-12)
        assertEquals(2 / 6.0, verdict.changedShare, 1e-12)
        assertEquals(0.0, Comparison().verdict().rmsLevels)
    }
}
