package org.rid.demo.engine

import java.io.File
import java.io.FileNotFoundException
import java.io.IOException
import java.io.InputStream
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import org.rid.core.Problem
import org.rid.core.RidException
import org.rid.demo.onnxModel

class ModelStoreTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val folder by lazy { File(temporary.root, "models") }
    private val unpacked = ArrayList<String>()

    private fun store(installed: Long = 0, asset: (String) -> InputStream) = ModelStore(folder, installed) { name ->
        unpacked += name
        asset(name)
    }

    private fun packed(): (String) -> InputStream = onnxModel().file.let { file -> { file.inputStream() } }

    private fun problem(store: ModelStore) = assertFailsWith<RidException> { store.open(NAME) }.problem

    @Test
    fun `a model is unpacked once, and again after an update`() {
        val store = store(asset = packed())
        assertEquals(onnxModel().metadata, store.open(NAME).metadata)
        store.open(NAME)
        assertEquals(1, unpacked.size)
        store(System.currentTimeMillis() + 60_000, packed()).open(NAME)
        assertEquals(2, unpacked.size)
    }

    @Test
    fun `one that was damaged on the phone is unpacked again`() {
        val store = store(asset = packed())
        val file = store.open(NAME).file
        val sound = file.readBytes()
        for (damaged in listOf(sound.copyOf(sound.size / 2), sound.also { it[it.size / 2]++ }, ByteArray(0))) {
            file.writeBytes(damaged)
            store.open(NAME)
        }
        assertEquals(4, unpacked.size)
    }

    @Test
    fun `missing and damaged in the app itself are told apart`() {
        val bytes = onnxModel().file.readBytes().also { it[it.size / 2]++ }
        assertEquals(Problem.MODEL_MISSING, problem(store { throw FileNotFoundException(it) }))
        assertEquals(Problem.MODEL_DAMAGED, problem(store { bytes.inputStream() }))
    }

    @Test
    fun `a full storage is said, and nothing is left behind`() {
        val full = object : InputStream() {
            override fun read() = throw IOException("ENOSPC (No space left on device)")
        }
        assertEquals(Problem.MODEL_NOT_UNPACKED, problem(store { full }))
        assertFalse(folder.list().orEmpty().isNotEmpty())
        folder.deleteRecursively()
        folder.writeText("a file is in the way")
        assertEquals(Problem.MODEL_NOT_UNPACKED, problem(store(asset = packed())))
    }

    private companion object {
        const val NAME = "rid-s.onnx"
    }
}
