package org.rid.demo.engine

import android.content.Context
import java.io.File
import java.io.FileNotFoundException
import org.rid.core.Problem
import org.rid.core.RidException
import org.rid.core.model.ModelFile

/** The models that were packed into the app, as files, since both runtimes open files. */
class ModelStore(private val context: Context) {
    /**
     * A model from the assets, checked against its own digest. It is unpacked when it is not there
     * yet, when the app was updated, and when what is there is damaged.
     *
     * @param asset such as `rid-s.tflite`.
     * @throws RidException the app was built without it, or the packed file itself is damaged.
     */
    fun open(asset: String): ModelFile {
        val file = File(context.filesDir, "models/$asset")
        val installed = File(context.packageCodePath).lastModified()
        if (file.lastModified() >= installed) {
            try {
                return ModelFile.open(file)
            } catch (error: RidException) {
                if (error.problem != Problem.MODEL_DAMAGED) throw error
            }
        }
        unpack(asset, file)
        return ModelFile.open(file)
    }

    private fun unpack(asset: String, file: File) {
        file.parentFile?.mkdirs()
        val fresh = File(file.path + ".new")
        try {
            context.assets.open(asset).use { packed -> fresh.outputStream().use(packed::copyTo) }
        } catch (error: FileNotFoundException) {
            throw RidException(Problem.MODEL_MISSING, "the app was built without $asset", error)
        }
        fresh.renameTo(file)
    }

    companion object {
        /** The model that the app protects with. */
        const val DEFAULT = "rid-s.tflite"

        /** The same defender for the other engine, if the app was built with it. */
        const val ALTERNATIVE = "rid-s.onnx"
    }
}
