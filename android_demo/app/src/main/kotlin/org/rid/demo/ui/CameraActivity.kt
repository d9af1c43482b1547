package org.rid.demo.ui

import android.Manifest
import android.content.Intent
import android.content.pm.PackageManager
import android.os.Bundle
import android.widget.Button
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.contract.ActivityResultContracts.RequestPermission
import androidx.camera.core.CameraSelector
import androidx.camera.core.ImageCapture
import androidx.camera.core.ImageCaptureException
import androidx.camera.core.InitializationException
import androidx.camera.core.Preview
import androidx.camera.lifecycle.ProcessCameraProvider
import androidx.camera.lifecycle.awaitInstance
import androidx.camera.view.PreviewView
import androidx.core.content.ContextCompat
import androidx.lifecycle.lifecycleScope
import java.io.File
import kotlinx.coroutines.launch
import org.rid.demo.R

/**
 * Takes one picture with CameraX, straight into the file that the intent names: it is on the disk
 * before this activity ends. CameraX notes the rotation in EXIF, and the decoder applies it.
 */
class CameraActivity : ComponentActivity() {
    private val capture = ImageCapture.Builder().setCaptureMode(ImageCapture.CAPTURE_MODE_MAXIMIZE_QUALITY).build()
    private val asking = registerForActivityResult(RequestPermission()) { granted ->
        if (granted) startCamera() else say(getString(R.string.camera_denied))
    }
    private var front = false

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.activity_camera)
        front = savedInstanceState?.getBoolean(FRONT) ?: false
        findViewById<Button>(R.id.shutter).setOnClickListener { takePicture() }
        findViewById<Button>(R.id.turn).setOnClickListener {
            front = !front
            startCamera()
        }
        if (ContextCompat.checkSelfPermission(this, Manifest.permission.CAMERA) == PackageManager.PERMISSION_GRANTED) {
            startCamera()
        } else if (savedInstanceState == null) {
            asking.launch(Manifest.permission.CAMERA)
        }
    }

    override fun onSaveInstanceState(outState: Bundle) {
        super.onSaveInstanceState(outState)
        outState.putBoolean(FRONT, front)
    }

    private fun startCamera() {
        lifecycleScope.launch {
            val preview = Preview.Builder().build()
            preview.setSurfaceProvider(findViewById<PreviewView>(R.id.preview).surfaceProvider)
            val selector = if (front) CameraSelector.DEFAULT_FRONT_CAMERA else CameraSelector.DEFAULT_BACK_CAMERA
            try {
                val provider = ProcessCameraProvider.awaitInstance(this@CameraActivity)
                provider.unbindAll()
                provider.bindToLifecycle(this@CameraActivity, selector, preview, capture)
                findViewById<Button>(R.id.shutter).isEnabled = true
            } catch (error: InitializationException) {
                say(getString(R.string.camera_missing, error.message))
            } catch (error: IllegalArgumentException) {
                say(getString(R.string.camera_missing, error.message))
            } catch (error: IllegalStateException) {
                say(getString(R.string.camera_missing, error.message))
            }
        }
    }

    private fun takePicture() {
        val file = File(checkNotNull(intent.getStringExtra(FILE)))
        val shutter = findViewById<Button>(R.id.shutter).apply { isEnabled = false }
        capture.takePicture(
            ImageCapture.OutputFileOptions.Builder(file).build(),
            ContextCompat.getMainExecutor(this),
            object : ImageCapture.OnImageSavedCallback {
                override fun onImageSaved(outputFileResults: ImageCapture.OutputFileResults) {
                    setResult(RESULT_OK, Intent().putExtra(FILE, file.path))
                    finish()
                }

                override fun onError(exception: ImageCaptureException) {
                    shutter.isEnabled = true
                    say(getString(R.string.camera_failed, exception.message))
                }
            },
        )
    }

    private fun say(text: String) {
        findViewById<TextView>(R.id.camera_status).text = text
    }

    companion object {
        /** Path of the file to write, in the intent and in the result. */
        const val FILE = "file"
        private const val FRONT = "front"
    }
}
