// Stand-in for androidx.activity: declarations only, see README.md.
@file:Suppress("UNUSED_PARAMETER", "unused")

package androidx.activity.result.contract

import android.content.Context
import android.content.Intent
import android.net.Uri
import androidx.activity.result.PickVisualMediaRequest

abstract class ActivityResultContract<I, O> {
    abstract fun createIntent(context: Context, input: I): Intent

    abstract fun parseResult(resultCode: Int, intent: Intent?): O
}

class ActivityResultContracts private constructor() {
    class PickVisualMedia : ActivityResultContract<PickVisualMediaRequest, Uri?>() {
        sealed interface VisualMediaType

        object ImageOnly : VisualMediaType

        override fun createIntent(context: Context, input: PickVisualMediaRequest): Intent = TODO()

        override fun parseResult(resultCode: Int, intent: Intent?): Uri? = TODO()
    }

    class RequestPermission : ActivityResultContract<String, Boolean>() {
        override fun createIntent(context: Context, input: String): Intent = TODO()

        override fun parseResult(resultCode: Int, intent: Intent?): Boolean = TODO()
    }
}
