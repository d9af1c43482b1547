package org.rid.demo.engine

import java.awt.image.BufferedImage
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.Base64
import javax.imageio.ImageIO
import kotlin.math.abs
import kotlin.math.log10
import kotlin.math.sqrt
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue
import org.junit.Assume.assumeTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import org.rid.core.ArgbPhoto
import org.rid.core.Budget
import org.rid.core.Case
import org.rid.core.Golden
import org.rid.core.Problem
import org.rid.core.Protector
import org.rid.core.RidException
import org.rid.core.model.ModelFile
import org.rid.demo.goldenPortrait
import org.rid.demo.onnxModel
import org.rid.demo.readPng

/** Runs the app's own engine class in ONNX Runtime on a desktop. */
class OnnxEngineTest {
    @get:Rule
    val folder = TemporaryFolder()

    @Test
    fun `golden answers of the bundled defender`() {
        val golden = Golden.read("model")
        val model = onnxModel()
        val applies = golden.string("weights") == model.metadata.weights
        if (!applies) println("assumption: the golden answers are about other weights than this ${model.file.name}")
        assumeTrue(applies)
        val portrait = goldenPortrait()
        val unit = OnnxEngine(model, threads = 1).use { Protector.predict(portrait, it) }
        val protected = ArgbPhoto(portrait.width, portrait.height)
        Protector.apply(portrait, unit, Budget(golden.int("levels")), protected)

        val bytes = Base64.getDecoder()
        val delta = ByteBuffer.wrap(bytes.decode(golden.string("delta"))).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
        val levels = bytes.decode(golden.string("protected"))
        val expected = FloatArray(delta.remaining()).also(delta::get)
        val got = FloatArray(expected.size)
        for (i in 0 until 64) for (j in 0 until 64) for (channel in 0 until 3) {
            val row = 8 * i + 3 * i % 8
            val column = 8 * j + (5 * j + i) % 8
            val at = (64 * i + j) * 3 + channel
            got[at] = unit.values[(row * unit.width + column) * 3 + channel]
            val level = protected.pixels[row * protected.width + column] ushr (16 - 8 * channel) and 0xFF
            assertTrue(abs(level - (levels[at].toInt() and 0xFF)) <= 1, "level at $row, $column")
        }
        assertWithin(golden, model.metadata.precision, expected, got)
    }

    private fun assertWithin(golden: Case, precision: String, expected: FloatArray, got: FloatArray) {
        val tolerance = golden.case("tolerance").case(precision)
        val signal = expected.sumOf { it.toDouble() * it }
        val noise = expected.indices.sumOf { i -> (expected[i] - got[i]).toDouble().let { it * it } }
        val cosine = expected.indices.sumOf { expected[it].toDouble() * got[it] } / sqrt(signal * got.sumOf { it.toDouble() * it })
        val large = expected.indices.filter { abs(expected[it]) > 1f / golden.int("levels") }
        val agreement = large.count { expected[it] > 0 == got[it] > 0 } / large.size.toDouble()
        val worst = expected.indices.maxOf { abs(expected[it] - got[it]).toDouble() }
        val sqnr = 10 * log10(signal / noise)
        val figures = "golden portrait: SQNR %.1f dB, cosine %.7f, sign agreement %.5f, largest error %.2g"
        println(figures.format(sqnr, cosine, agreement, worst))
        assertTrue(sqnr >= tolerance.double("delta_sqnr_db"))
        assertTrue(cosine >= tolerance.double("delta_cosine"))
        tolerance.doubleOrNull("delta_sign_agreement")?.let { assertTrue(agreement >= it) }
        tolerance.doubleOrNull("delta_max_error")?.let { assertTrue(worst <= it) }
    }

    @Test
    fun `a whole photo, written for the comparison with Python`() {
        val source = System.getProperty("rid.photo")
        assumeTrue("set -Drid.photo to a PNG file", source != null)
        val photo = readPng(File(source))
        val verdict = OnnxEngine(onnxModel(), threads = 1).use { engine ->
            engine.warmUp()
            val unit = Protector.predict(photo, engine)
            Protector.apply(photo, unit, Budget(engine.levels), photo)
        }
        assertTrue(verdict.maxLevels in 1..8, "$verdict")
        val image = BufferedImage(photo.width, photo.height, BufferedImage.TYPE_INT_RGB)
        image.setRGB(0, 0, photo.width, photo.height, photo.pixels, 0, photo.width)
        ImageIO.write(image, "png", File(File(source).parentFile, "protected.png"))
    }

    @Test
    fun `the same tile gives the same answer`() {
        OnnxEngine(onnxModel(), threads = 2).use { engine ->
            val tile = FloatArray(3 * engine.side * engine.side) { it % 251 / 250f }
            val first = engine.perturb(tile).copyOf()
            engine.perturb(FloatArray(tile.size))
            assertContentEquals(first, engine.perturb(tile))
            val peak = first.maxOf { abs(it) }
            assertTrue(peak in 0.1f..1.000001f, "peak $peak") // the gate's own bound
        }
    }

    @Test
    fun `a file that the runtime refuses is an engine that failed`() {
        val model = onnxModel()
        val sound = model.file.readBytes()
        val file = folder.newFile("rid-s.onnx").apply { writeBytes(sound) }
        val opened = ModelFile.open(file)
        file.writeBytes(sound.copyOf(sound.size / 2)) // damaged behind the app's back
        val error = assertFailsWith<RidException> { OnnxEngine(opened, threads = 1) }
        assertEquals(Problem.ENGINE_FAILED, error.problem)
    }
}
