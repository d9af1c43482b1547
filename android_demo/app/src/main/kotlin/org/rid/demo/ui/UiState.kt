package org.rid.demo.ui

import java.io.File
import org.rid.demo.protect.Prepared
import org.rid.demo.protect.Rendered
import org.rid.demo.protect.Saved

/** What the app is doing. */
enum class Phase { EMPTY, PREPARING, READY, SAVING }

/**
 * Everything on the screen.
 *
 * @property photo the one in work, even if it could not be prepared.
 * @property failure what went wrong last; null after the next success.
 * @property saved the photo in the gallery, until strength, photo or options change.
 * @property strengthPercent share of the bound, 10 to 100.
 * @property keepLocation whether GPS coordinates are saved along.
 * @property onnx whether the ONNX engine is used instead of LiteRT.
 */
data class UiState(
    val phase: Phase = Phase.EMPTY,
    val photo: File? = null,
    val prepared: Prepared? = null,
    val rendered: Rendered? = null,
    val saved: Saved? = null,
    val failure: Throwable? = null,
    val strengthPercent: Int = 100,
    val keepLocation: Boolean = false,
    val onnx: Boolean = false,
) {
    /** Whether something is under way that can be cancelled. */
    val busy: Boolean get() = phase == Phase.PREPARING || phase == Phase.SAVING

    /** Whether there is a photo that could be tried again. */
    val stopped: Boolean get() = phase == Phase.EMPTY && photo != null
}
