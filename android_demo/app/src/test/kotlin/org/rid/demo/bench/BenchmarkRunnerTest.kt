package org.rid.demo.bench

import java.io.File
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import org.rid.core.bench.Cell
import org.rid.core.bench.Results
import org.rid.demo.engine.Delegate
import org.rid.demo.engine.Engines
import org.rid.demo.goldenPortrait
import org.rid.demo.onnxModel

class BenchmarkRunnerTest {
    @get:Rule
    val folder = TemporaryFolder()

    @Test
    fun `a model is measured and its results written as rid-bench reads them`() {
        val model = onnxModel()
        val runner = BenchmarkRunner(runs = 12, threads = 1)
        val cell = runner.measure(model, goldenPortrait().pixels, {}) { Engines.exactly(model, Delegate.CPU, 1) }
        assertEquals(null, cell["error"])
        for (step in listOf("pre", "network", "post", "total")) assertEquals(12, (cell[step] as Map<*, *>)["count"])
        assertEquals(6, (cell["rounds"] as List<*>).size)
        assertTrue(cell["load_s"] as Double > 0)

        val wrongSize = runner.measure(model, IntArray(4), {}) { error("is not opened") }
        val wrongDelegate = runner.measure(model, goldenPortrait().pixels, {}) { Engines.exactly(model, Delegate.GPU, 1) }
        assertTrue("4 pixels" in wrongSize["error"] as String)
        assertTrue("CPU" in wrongDelegate["error"] as String)

        val target = File(System.getProperty("rid.results") ?: folder.newFile().path)
        val cells = listOf(cell, wrongDelegate, Cell.refused("none.onnx", 1, "none.onnx is not there"))
        Results.write(target, "2026-01-01T00:00:00Z", mapOf("cpu" to "a desktop", "name" to "test"), cells)
    }
}
