// Stand-in for CameraX: declarations only, see README.md.
@file:Suppress("UNUSED_PARAMETER", "unused")

package androidx.camera.core

import java.io.File
import java.util.concurrent.Executor

open class UseCase

class CameraSelector private constructor() {
    companion object {
        @JvmField
        val DEFAULT_BACK_CAMERA: CameraSelector = TODO()

        @JvmField
        val DEFAULT_FRONT_CAMERA: CameraSelector = TODO()
    }
}

class Preview private constructor() : UseCase() {
    interface SurfaceProvider

    class Builder {
        fun build(): Preview = TODO()
    }

    fun setSurfaceProvider(surfaceProvider: SurfaceProvider?): Unit = TODO()
}

class InitializationException(message: String) : Exception(message)

class ImageCaptureException(code: Int, message: String) : Exception(message)

class ImageCapture private constructor() : UseCase() {
    class Builder {
        fun setCaptureMode(captureMode: Int): Builder = TODO()

        fun build(): ImageCapture = TODO()
    }

    class OutputFileOptions private constructor() {
        class Builder(file: File) {
            fun build(): OutputFileOptions = TODO()
        }
    }

    class OutputFileResults

    interface OnImageSavedCallback {
        fun onImageSaved(outputFileResults: OutputFileResults)

        fun onError(exception: ImageCaptureException)
    }

    fun takePicture(options: OutputFileOptions, executor: Executor, callback: OnImageSavedCallback): Unit = TODO()

    companion object {
        const val CAPTURE_MODE_MAXIMIZE_QUALITY = 0
    }
}
