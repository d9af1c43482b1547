package org.rid.demo

import java.io.File
import java.security.MessageDigest
import javax.imageio.ImageIO
import kotlin.test.assertEquals
import org.junit.Assume.assumeTrue
import org.rid.core.ArgbPhoto
import org.rid.core.Golden
import org.rid.core.model.ModelFile

/** Reads a PNG file on a desktop. */
fun readPng(file: File): ArgbPhoto {
    val image = ImageIO.read(file)
    return ArgbPhoto(image.width, image.height, image.getRGB(0, 0, image.width, image.height, null, 0, image.width))
}

/** The portrait of tests/golden, held against its digest. */
fun goldenPortrait(): ArgbPhoto {
    val portrait = readPng(File(Golden.folder, "portrait.png"))
    val levels = ByteArray(3 * portrait.pixels.size) { i -> (portrait.pixels[i / 3] ushr (16 - 8 * (i % 3))).toByte() }
    val digest = MessageDigest.getInstance("SHA-256").digest(levels).joinToString("") { "%02x".format(it) }
    assertEquals(Golden.read("model").case("image").string("rgb_sha256"), digest)
    return portrait
}

/** The exported ONNX file in the folder of the system property `rid.models`; an assumption fails without. */
fun onnxModel(): ModelFile {
    val file = System.getProperty("rid.models")?.let { File(it, "rid-s.onnx") }
    assumeTrue("set -Drid.models to a folder with rid-s.onnx", file?.isFile == true)
    return ModelFile.open(checkNotNull(file))
}
