// Stand-in for androidx.activity: declarations only, see README.md.
@file:Suppress("UNUSED_PARAMETER", "unused")

package androidx.activity

import android.app.Activity
import android.content.Intent
import android.os.Bundle
import androidx.activity.result.ActivityResultLauncher
import androidx.activity.result.contract.ActivityResultContract
import androidx.lifecycle.LifecycleOwner
import androidx.lifecycle.ViewModel

open class ComponentActivity : Activity(), LifecycleOwner {
    override fun onCreate(savedInstanceState: Bundle?): Unit = TODO()

    override fun onNewIntent(intent: Intent): Unit = TODO()

    fun <I, O> registerForActivityResult(
        contract: ActivityResultContract<I, O>,
        callback: (O) -> Unit,
    ): ActivityResultLauncher<I> = TODO()
}

inline fun <reified T : ViewModel> ComponentActivity.viewModels(): Lazy<T> = TODO()
