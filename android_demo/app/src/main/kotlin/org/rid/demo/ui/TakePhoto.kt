package org.rid.demo.ui

import android.app.Activity
import android.content.Context
import android.content.Intent
import androidx.activity.result.contract.ActivityResultContract
import java.io.File

/** Opens the camera; takes the file to write, gives it back, or null if nothing was taken. */
class TakePhoto : ActivityResultContract<File, File?>() {
    override fun createIntent(context: Context, input: File): Intent =
        Intent(context, CameraActivity::class.java).putExtra(CameraActivity.FILE, input.path)

    override fun parseResult(resultCode: Int, intent: Intent?): File? =
        intent?.getStringExtra(CameraActivity.FILE)?.takeIf { resultCode == Activity.RESULT_OK }?.let(::File)
}
