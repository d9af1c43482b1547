package org.rid.demo.engine

import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNull
import kotlin.test.assertTrue
import org.junit.Test
import org.rid.core.Problem
import org.rid.core.RidException

class EngineLadderTest {
    private val closed = ArrayList<String>()

    /** Answers [answer] everywhere; fails from the run numbered [failsAt] on, 0 being the warm-up. */
    private inner class Fake(override val name: String, val answer: Float, val failsAt: Int = Int.MAX_VALUE) : PerturbationEngine {
        override val side = 4
        override val levels = 8
        override val fallback: String? = null
        private var runs = 0

        override fun write(tile: FloatArray) = Unit

        override fun run() {
            if (runs++ >= failsAt) throw RidException(Problem.ENGINE_FAILED, "$name broke")
        }

        override fun read() = FloatArray(3 * side * side) { answer }

        override fun close() {
            closed += name
        }
    }

    private val tile = FloatArray(48)

    @Test
    fun `the first rung that works is used`() {
        val ladder = EngineLadder(listOf({ Fake("gpu", 0.5f) }, { Fake("cpu", 0.25f) }))
        assertEquals("gpu", ladder.name)
        assertNull(ladder.fallback)
        assertEquals(0.5f, ladder.perturb(tile)[0])
    }

    @Test
    fun `an engine that does not open, run or make sense is passed over`() {
        val bad = listOf<() -> PerturbationEngine>(
            { throw RidException(Problem.ENGINE_FAILED, "no gpu") },
            { Fake("gpu", 0f, failsAt = 0) },
            { Fake("gpu", Float.NaN) },
            { Fake("gpu", 3f) },
        )
        for (rung in bad) {
            val ladder = EngineLadder(listOf(rung, { Fake("cpu", 0.25f) }))
            assertEquals("cpu", ladder.name)
            assertTrue(ladder.fallback.orEmpty().contains("gpu"), ladder.fallback)
        }
        assertEquals(listOf("gpu", "gpu", "gpu"), closed)
    }

    @Test
    fun `one that fails in the middle of a photo is replaced and the tile repeated`() {
        val ladder = EngineLadder(listOf({ Fake("gpu", 0.5f, failsAt = 2) }, { Fake("cpu", 0.25f) }))
        assertEquals(0.5f, ladder.perturb(tile)[0])
        assertEquals(0.25f, ladder.perturb(tile)[0])
        assertEquals("cpu", ladder.name)
        assertEquals("gpu broke", ladder.fallback)
        assertEquals(listOf("gpu"), closed)
    }

    @Test
    fun `the last failure is told when nothing works`() {
        val rungs = listOf("gpu", "cpu").map { name -> { Fake(name, 0f, failsAt = 0) } }
        val error = assertFailsWith<RidException> { EngineLadder(rungs) }
        assertEquals("cpu broke", error.message)
        assertEquals(listOf("gpu", "cpu"), closed)
    }
}
