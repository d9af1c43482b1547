package org.rid.demo.engine

import android.content.Context
import java.io.File
import java.io.FileNotFoundException
import java.io.IOException
import java.io.InputStream
import org.rid.core.Problem
import org.rid.core.RidException
import org.rid.core.model.ModelFile

/**
 * The models that were packed into the app, as files, since both runtimes open files.
 *
 * @param folder where they are unpacked to.
 * @param installed when the app was installed or updated, in milliseconds; older files are unpacked anew.
 * @param asset opens a packed model; throws [FileNotFoundException] if there is none.
 */
class ModelStore internal constructor(
    private val folder: File,
    private val installed: Long,
    private val asset: (String) -> InputStream,
) {
    /**
     * A model from the assets, checked against its own digest. It is unpacked when it is not there
     * yet, when the app was updated, and when what is there is damaged.
     *
     * @param name such as `rid-s.tflite`.
     * @throws RidException the app was built without it, there is no space for it, or the packed file
     *     itself is damaged.
     */
    fun open(name: String): ModelFile {
        val file = File(folder, name)
        if (file.isFile && file.lastModified() >= installed) {
            try {
                return ModelFile.open(file)
            } catch (error: RidException) {
                if (error.problem != Problem.MODEL_DAMAGED && error.problem != Problem.MODEL_FOREIGN) throw error
            }
        }
        unpack(name, file)
        return ModelFile.open(file)
    }

    private fun unpack(name: String, file: File) {
        val packed = try {
            asset(name)
        } catch (error: FileNotFoundException) {
            throw RidException(Problem.MODEL_MISSING, "the app was built without $name", error)
        }
        val fresh = File(file.path + ".new")
        try {
            folder.mkdirs()
            packed.use { from -> fresh.outputStream().use(from::copyTo) }
            if (!fresh.renameTo(file)) throw IOException("$name cannot be renamed")
        } catch (error: IOException) {
            throw RidException(Problem.MODEL_NOT_UNPACKED, error.message.orEmpty(), error)
        } finally {
            fresh.delete()
        }
    }

    companion object {
        /** The model that the app protects with. */
        const val DEFAULT = "rid-s.tflite"

        /** The same defender for the other engine, if the app was built with it. */
        const val ALTERNATIVE = "rid-s.onnx"

        /** The store of an app. */
        fun of(context: Context) = ModelStore(
            folder = File(context.filesDir, "models"),
            installed = File(context.packageCodePath).lastModified(),
            asset = context.assets::open,
        )
    }
}
