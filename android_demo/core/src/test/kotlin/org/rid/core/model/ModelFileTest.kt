package org.rid.core.model

import java.io.File
import java.security.MessageDigest
import kotlin.random.Random
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue
import org.junit.Assume.assumeTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import org.rid.core.PixelLayout
import org.rid.core.Problem
import org.rid.core.RidException

class ModelFileTest {
    @get:Rule
    val folder = TemporaryFolder()

    /** Exported files in the folder of the system property `rid.models`; an assumption fails without. */
    private fun exported(): List<File> {
        val files = System.getProperty("rid.models")?.let { File(it).listFiles() }.orEmpty()
            .filter { it.extension == "tflite" || it.extension == "onnx" }
        assumeTrue("set -Drid.models to a folder with exported files", files.isNotEmpty())
        return files
    }

    private fun problemOf(bytes: ByteArray): Problem {
        val file = folder.newFile().apply { writeBytes(bytes) }
        return assertFailsWith<RidException> { ModelFile.open(file) }.problem
    }

    /** A minimal ONNX file: version 8, an empty graph, and the metadata entries given. */
    private fun onnx(vararg entries: Pair<String, String>): ByteArray {
        fun field(number: Int, bytes: ByteArray): ByteArray {
            val length = generateSequence(bytes.size) { (it ushr 7).takeIf { rest -> rest > 0 } }.toList()
            val varint = ByteArray(length.size) { i -> (length[i] and 0x7F or if (i < length.size - 1) 0x80 else 0).toByte() }
            return byteArrayOf((number shl 3 or 2).toByte()) + varint + bytes
        }
        val head = byteArrayOf(8, 8) + field(7, byteArrayOf())
        return entries.fold(head) { all, (key, value) ->
            all + field(14, field(1, key.toByteArray()) + field(2, value.toByteArray()))
        }
    }

    private fun metadata(network: String, change: (String) -> String = { it }) = change(
        """{"schema":1,"format":"onnx","preset":"rid-s","precision":"fp32","levels":8,"resolution":512,
        "layout":"nchw","inputs":[{"name":"image","dtype":"float32","shape":[1,3,512,512]}],
        "outputs":[{"name":"delta","dtype":"float32","shape":[1,3,512,512]}],"weights":"w",
        "network":"$network","licence":"Apache-2.0","version":"0.1.0","unfit":null,"later":[1]}""",
    )

    /** A sealed file: the digest is of everything outside the block. */
    private fun sealed(change: (String) -> String = { it }): ByteArray {
        val empty = onnx(METADATA_KEY to metadata("0".repeat(64), change))
        val text = String(empty, Charsets.ISO_8859_1)
        val start = text.indexOf("{\"schema\"")
        val outside = empty.copyOfRange(0, start)
        val digest = MessageDigest.getInstance("SHA-256").digest(outside).joinToString("") { "%02x".format(it) }
        return onnx(METADATA_KEY to metadata(digest, change))
    }

    @Test
    fun `reads exported files`() {
        for (file in exported()) {
            val metadata = ModelFile.open(file).metadata
            assertEquals(if (file.extension == "tflite") "tflite" else "onnx", metadata.format)
            assertTrue(metadata.levels in 1..16)
            assertTrue(metadata.outputs.any { it.name == "delta" })
            val image = metadata.inputs.single()
            assertEquals(3 * metadata.resolution * metadata.resolution, image.shape.reduce(Int::times))
            assertEquals(if (metadata.layout == PixelLayout.NHWC) 3 else 1, image.shape.indexOf(3))
        }
    }

    @Test
    fun `one changed bit is noticed`() {
        val random = Random(3)
        for (file in exported()) {
            val sound = file.readBytes()
            repeat(20) {
                val bytes = sound.copyOf()
                val at = random.nextInt(bytes.size)
                bytes[at] = (bytes[at].toInt() xor (1 shl random.nextInt(8))).toByte()
                val result = runCatching { ModelFile.open(folder.newFile().apply { writeBytes(bytes) }) }
                val inside = String(bytes, Charsets.ISO_8859_1).indexOf("{\"calibration\"").let { at - it in 0..16_384 }
                val refused = result.exceptionOrNull()
                assertTrue(refused is RidException || inside && result.isSuccess, "$file at $at: $refused")
            }
        }
    }

    @Test
    fun `truncated files are damaged`() {
        for (file in exported()) {
            val bytes = file.readBytes()
            for (share in listOf(0.1, 0.5, 0.9, 0.999)) {
                assertEquals(Problem.MODEL_DAMAGED, problemOf(bytes.copyOf((share * bytes.size).toInt())), "${file.name} $share")
            }
        }
    }

    @Test
    fun `a minimal file is read`() {
        val model = ModelFile.open(folder.newFile().apply { writeBytes(sealed()) })
        assertEquals("rid-s", model.metadata.preset)
        assertEquals(PixelLayout.NCHW, model.metadata.layout)
        assertEquals(listOf(1, 3, 512, 512), model.metadata.inputs.single().shape)
    }

    @Test
    fun `a missing file is missing`() {
        val error = assertFailsWith<RidException> { ModelFile.open(File(folder.root, "none.onnx")) }
        assertEquals(Problem.MODEL_MISSING, error.problem)
    }

    @Test
    fun `foreign files are foreign`() {
        assertEquals(Problem.MODEL_FOREIGN, problemOf("a text".toByteArray()))
        assertEquals(Problem.MODEL_FOREIGN, problemOf(ByteArray(0)))
        assertEquals(Problem.MODEL_FOREIGN, problemOf(onnx("producer" to "somebody")))
    }

    @Test
    fun `damaged files are damaged`() {
        assertEquals(Problem.MODEL_DAMAGED, problemOf(onnx(METADATA_KEY to "{}", METADATA_KEY to "{}")))
        assertEquals(Problem.MODEL_DAMAGED, problemOf(onnx(METADATA_KEY to metadata("0".repeat(64)))))
        assertEquals(Problem.MODEL_DAMAGED, problemOf(sealed().let { it.copyOf(it.size - 5) }))
        assertEquals(Problem.MODEL_DAMAGED, problemOf(byteArrayOf(28, 0, 0, 0) + "TFL3".toByteArray() + ByteArray(3)))
        assertEquals(Problem.MODEL_DAMAGED, problemOf(ByteArray(4) { -1 } + "TFL3".toByteArray() + ByteArray(64) { -1 }))
    }

    @Test
    fun `metadata of another schema or kind is unsupported`() {
        val changes = listOf<(String) -> String>(
            { it.replace("\"schema\":1", "\"schema\":2") },
            { it.replace("\"levels\":8", "\"levels\":300") },
            { it.replace("\"levels\":8", "\"levels\":8.5") },
            { it.replace("\"layout\":\"nchw\"", "\"layout\":\"other\"") },
            { it.replace("\"weights\":\"w\",", "") },
            { it.replace("\"inputs\":[", "\"inputs\":[7,") },
            { it.replace("{\"schema\"", "{{\"schema\"") },
        )
        for (change in changes) assertEquals(Problem.MODEL_UNSUPPORTED, problemOf(sealed(change)))
    }

    @Test
    fun `random bytes never crash`() {
        val random = Random(11)
        repeat(500) { round ->
            val bytes = random.nextBytes(random.nextInt(8, 200))
            if (round % 2 == 0) bytes[0] = 8 else "TFL3".toByteArray().copyInto(bytes, 4)
            problemOf(bytes)
        }
    }
}
