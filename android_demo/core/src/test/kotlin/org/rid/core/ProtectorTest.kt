package org.rid.core

import kotlin.math.abs
import kotlin.math.min
import kotlin.random.Random
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue
import org.junit.Test

/** The network of tests/golden/README.md: a formula. */
class FormulaDefender(override val side: Int, override val levels: Int) : Defender {
    override fun perturb(tile: FloatArray) = FloatArray(tile.size) { i ->
        val odd = (i / 3 / side + i / 3 % side + i % 3) % 2 == 1
        (4 * tile[i] - 2 + if (odd) 0.5f else -0.5f).coerceIn(-1f, 1f)
    }

    override fun close() = Unit
}

class ProtectorTest {
    private fun noise(width: Int, height: Int, seed: Int = 1): ArgbPhoto {
        val random = Random(seed)
        return ArgbPhoto(width, height, IntArray(width * height) { random.nextInt() })
    }

    private fun maxChange(a: ArgbPhoto, b: ArgbPhoto): Int {
        val comparison = Comparison()
        comparison.add(a.pixels, b.pixels, a.pixels.size)
        return comparison.verdict().maxLevels
    }

    @Test
    fun `golden photos`() {
        for (case in Golden.read("photo").cases("protect")) {
            val photo = case.photo("image")
            val budget = Budget(case.int("levels"), case.double("strength"))
            val unit = Protector.predict(photo, FormulaDefender(case.int("tile"), budget.levels))
            val wanted = case.image("working_unit")
            assertEquals(wanted.width to wanted.height, unit.width to unit.height)
            wanted.values.forEachIndexed { i, value -> assertTrue(abs(value - unit.values[i]) <= 1e-5f) }

            val protected = ArgbPhoto(photo.width, photo.height)
            Protector.apply(photo, unit, budget, protected)
            val expected = case.photo("protected")
            val equal = expected.pixels.indices.count { expected.pixels[it] == protected.pixels[it] }
            assertTrue(equal > 0.999 * expected.pixels.size, "$equal of ${expected.pixels.size} pixels are equal")
            assertTrue(maxChange(expected, protected) <= 1)
            assertTrue(maxChange(photo, protected) <= budget.levels)
        }
    }

    @Test
    fun `photos are refused by their size in words`() {
        for ((width, height) in listOf(1 to 1, 63 to 4000, 4000 to 63)) {
            val error = assertFailsWith<RidException> { Protector.checkSize(width, height) }
            assertEquals(Problem.PHOTO_TOO_SMALL, error.problem)
            assertTrue("$width x $height" in error.message.orEmpty())
        }
        val error = assertFailsWith<RidException> { Protector.checkSize(64, 4097) }
        assertEquals(Problem.PHOTO_TOO_LONG, error.problem)
        for ((width, height) in listOf(64 to 64, 64 to 4096, 12_000 to 9_000)) Protector.checkSize(width, height)
    }

    @Test
    fun `any size keeps its size and the bound`() {
        val random = Random(7)
        val sizes = listOf(1 to 1, 1 to 64, 64 to 1, 3 to 5, 16 to 17, 400 to 16) +
            List(20) { random.nextInt(1, 90) to random.nextInt(1, 90) }
        for ((width, height) in sizes) {
            if (maxOf(width, height) > Protector.MAX_ASPECT * min(width, height)) continue
            val photo = noise(width, height)
            val protected = ArgbPhoto(width, height)
            val unit = Protector.predict(photo, FormulaDefender(16, 8))
            val verdict = Protector.apply(photo, unit, Budget(8), protected)
            assertEquals(maxChange(photo, protected), verdict.maxLevels)
            assertTrue(verdict.maxLevels in 1..8, "$width x $height: $verdict")
            for (i in photo.pixels.indices) assertEquals(photo.pixels[i] ushr 24, protected.pixels[i] ushr 24)
        }
    }

    @Test
    fun `protecting in place gives the same`() {
        val photo = noise(70, 40)
        val unit = Protector.predict(photo, FormulaDefender(16, 8))
        val protected = ArgbPhoto(70, 40)
        Protector.apply(photo, unit, Budget(8, 0.5), protected)
        Protector.apply(photo, unit, Budget(8, 0.5), photo)
        assertContentEquals(protected.pixels, photo.pixels)
    }

    @Test
    fun `a strip is refused`() {
        val error = assertFailsWith<RidException> { Protector.predict(ArgbPhoto(65, 1), FormulaDefender(16, 8)) }
        assertEquals(Problem.PHOTO_TOO_LONG, error.problem)
    }

    @Test
    fun `an answer that is no perturbation is refused`() {
        for (bad in listOf(FloatArray(3), FloatArray(16 * 16 * 3) { Float.NaN })) {
            val defender = object : Defender {
                override val side = 16
                override val levels = 8
                override fun perturb(tile: FloatArray) = bad
                override fun close() = Unit
            }
            val error = assertFailsWith<RidException> { Protector.predict(noise(16, 16), defender) }
            assertEquals(Problem.BAD_ANSWER, error.problem)
        }
    }

    @Test
    fun `work stops where the caller asks`() {
        class Stop : Exception()
        val photo = noise(60, 60)
        var calls = 0
        assertFailsWith<Stop> { Protector.predict(photo, FormulaDefender(16, 8)) { if (++calls == 10) throw Stop() } }
        val unit = Protector.predict(photo, FormulaDefender(16, 8))
        val into = ArgbPhoto(60, 60)
        calls = 0
        assertFailsWith<Stop> { Protector.apply(photo, unit, Budget(8), into) { if (++calls == 10) throw Stop() } }
    }

    @Test
    fun `the change is amplified around grey`() {
        val picture = amplifiedChange(intArrayOf(0x102030), intArrayOf(0x112010), 10)
        assertContentEquals(intArrayOf(0xFF8A8000.toInt()), picture)
    }

    @Test
    fun `memory can be read on Linux`() {
        val now = checkNotNull(ProcessMemory.now())
        assertTrue(now in 1_000_000..checkNotNull(ProcessMemory.peak()))
    }

    @Test
    fun `layouts are inverse to each other and agree with the index`() {
        val side = 4
        val pixels = FloatArray(3 * side * side) { it.toFloat() }
        for (layout in PixelLayout.entries) {
            val tensor = FloatArray(pixels.size)
            layout.fromPixels(pixels, tensor)
            for (row in 0 until side) for (column in 0 until side) for (channel in 0 until 3) {
                val pixel = pixels[PixelLayout.NHWC.index(row, column, channel, side)]
                assertEquals(pixel, tensor[layout.index(row, column, channel, side)])
            }
            val back = FloatArray(pixels.size)
            layout.toPixels(tensor, back)
            assertContentEquals(pixels, back)
        }
    }
}
