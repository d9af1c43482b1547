package org.rid.demo.engine

import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import org.junit.Test
import org.rid.core.ArgbPhoto
import org.rid.core.Budget
import org.rid.core.FloatImage
import org.rid.core.Protector
import org.rid.demo.goldenPortrait
import org.rid.demo.onnxModel
import rid.model.RidSOnnx

/**
 * The wrapper that rid-export wrote beside the model agrees with the app's own code. The app itself
 * reads the metadata of whatever model it is given; the wrapper is for apps with one fixed model.
 */
class WrapperTest {
    @Test
    fun `it describes the model`() {
        val metadata = onnxModel().metadata
        assertEquals(metadata.network, RidSOnnx.NETWORK_SHA256)
        assertEquals(metadata.weights, RidSOnnx.WEIGHTS_SHA256)
        assertEquals(metadata.levels, RidSOnnx.LEVELS)
        assertEquals(metadata.resolution, RidSOnnx.RESOLUTION)
        assertEquals(metadata.inputs.single().shape, RidSOnnx.INPUT.shape)
    }

    @Test
    fun `it protects one tile as the core does`() {
        val portrait = goldenPortrait()
        val side = RidSOnnx.RESOLUTION
        val layout = onnxModel().metadata.layout
        val pixels = FloatArray(3 * side * side) { (it * 31 % 199 - 99) / 99f }
        val delta = FloatArray(pixels.size).also { layout.fromPixels(pixels, it) }
        val expected = ArgbPhoto(side, side)
        Protector.apply(portrait, FloatImage(side, side, pixels), Budget(RidSOnnx.LEVELS, 0.7), expected)
        assertContentEquals(expected.pixels, RidSOnnx.protect(portrait.pixels, delta, 0.7))
    }
}
