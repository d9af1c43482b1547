// Stand-in for androidx.core: declarations only, see README.md.
@file:Suppress("UNUSED_PARAMETER", "unused")

package androidx.core.content

import android.content.Context
import android.content.Intent
import java.util.concurrent.Executor

object ContextCompat {
    @JvmStatic
    fun checkSelfPermission(context: Context, permission: String): Int = TODO()

    @JvmStatic
    fun getMainExecutor(context: Context): Executor = TODO()
}

object IntentCompat {
    @JvmStatic
    fun <T> getParcelableExtra(intent: Intent, name: String, clazz: Class<T>): T? = TODO()
}
