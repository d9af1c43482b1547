package org.rid.core.bench

import java.io.File
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import org.rid.core.json.Json

class BenchTest {
    @get:Rule
    val folder = TemporaryFolder()

    @Test
    fun `figures are those of rid_bench`() {
        // rid_bench.portable.timing.summarize([4, 1, 3, 2, 10])
        val summary = Summary.of(listOf(4.0, 1.0, 3.0, 2.0, 10.0))
        assertEquals(5, summary.count)
        assertEquals(1.0, summary.minimum)
        assertEquals(3.0, summary.median)
        assertEquals(7.6, summary.p90, 1e-12)
        assertEquals(9.76, summary.p99, 1e-12)
        assertEquals(4.0, summary.mean, 1e-12)
        assertEquals((7.6 - 1.4) / 3, summary.spread, 1e-12)
        assertFailsWith<IllegalArgumentException> { Summary.of(emptyList()) }
    }

    @Test
    fun `results are written as a whole`() {
        val target = File(folder.root, "results.json")
        Results.write(target, "2026-01-01T00:00:00Z", mapOf("cpu" to "none"), listOf(Cell.refused("a.onnx", 4, "damaged")), "why")
        val document = Json.parse(target.readText()) as Map<*, *>
        assertEquals(1.0, document["schema"])
        val run = (document["runs"] as List<*>).single() as Map<*, *>
        assertEquals(false, run["complete"])
        assertEquals("damaged", ((run["cells"] as List<*>).single() as Map<*, *>)["error"])
        assertFalse(File(folder.root, "results.json.new").exists())
    }
}
