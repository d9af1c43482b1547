// Stand-in for CameraX: declarations only, see README.md.
@file:Suppress("UNUSED_PARAMETER", "unused")

package androidx.camera.view

import android.content.Context
import android.util.AttributeSet
import android.widget.FrameLayout
import androidx.camera.core.Preview

class PreviewView(context: Context, attributes: AttributeSet?) : FrameLayout(context, attributes) {
    val surfaceProvider: Preview.SurfaceProvider get() = TODO()
}
