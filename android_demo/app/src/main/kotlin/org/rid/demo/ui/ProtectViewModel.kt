package org.rid.demo.ui

import android.app.Application
import android.net.Uri
import androidx.lifecycle.AndroidViewModel
import androidx.lifecycle.SavedStateHandle
import androidx.lifecycle.viewModelScope
import java.io.File
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import org.rid.core.RidException
import org.rid.demo.engine.ModelStore
import org.rid.demo.photo.PhotoException
import org.rid.demo.photo.PhotoInbox
import org.rid.demo.protect.PhotoWorkshop
import org.rid.demo.protect.Prepared

/**
 * Keeps photo and work over rotations; the photo itself and the options also over the death of the
 * process, the former as a file in the inbox, the latter in [saved].
 */
class ProtectViewModel(application: Application, private val saved: SavedStateHandle) : AndroidViewModel(application) {
    private val inbox = PhotoInbox(application)
    private val workshop = PhotoWorkshop(application)
    private val mutable = MutableStateFlow(
        UiState(
            strengthPercent = saved[STRENGTH] ?: FULL_STRENGTH,
            keepLocation = saved[LOCATION] ?: false,
            onnx = saved[ONNX] ?: false,
        ),
    )
    private var work: Job? = null
    private var drawing: Job? = null

    /** What to show. */
    val state: StateFlow<UiState> = mutable.asStateFlow()

    init {
        inbox.latest()?.let(::open)
    }

    /** Where the camera is to put its next picture. */
    fun placeForCamera(): File = inbox.place("camera.jpg")

    /** A picture that the camera has written to [placeForCamera]. */
    fun taken(photo: File) = open(photo)

    /** A photo that was picked or shared. */
    fun adopt(uri: Uri) = start(Phase.PREPARING) {
        val photo = withContext(Dispatchers.IO) { inbox.adopt(uri) }
        prepare(photo)
    }

    /** 10 to 100. */
    fun setStrength(percent: Int) {
        saved[STRENGTH] = percent
        mutable.update { it.copy(strengthPercent = percent, saved = null) }
        mutable.value.prepared?.let(::draw)
    }

    fun setKeepLocation(keep: Boolean) {
        saved[LOCATION] = keep
        mutable.update { it.copy(keepLocation = keep, saved = null) }
    }

    /** Switches the engine and computes anew. */
    fun setOnnx(onnx: Boolean) {
        if (onnx == mutable.value.onnx) return
        saved[ONNX] = onnx
        mutable.update { it.copy(onnx = onnx) }
        mutable.value.prepared?.let { open(it.info.file) }
    }

    /** Puts the protected photo into the gallery. */
    fun save() {
        val prepared = mutable.value.prepared ?: return
        start(Phase.SAVING) {
            val now = mutable.value
            val result = workshop.save(prepared, now.strengthPercent / PERCENT, now.keepLocation)
            mutable.update { it.copy(saved = result) }
        }
    }

    /** Stops what is being done; the photo stays. */
    fun cancel() {
        work?.cancel()
    }

    /** Starts again with the photo that was stopped at or failed. */
    fun retry() {
        mutable.value.photo?.let(::open)
    }

    /** Something failed outside, such as the camera. */
    fun report(failure: Throwable) = mutable.update { it.copy(failure = failure) }

    private fun open(photo: File) = start(Phase.PREPARING) { prepare(photo) }

    private suspend fun prepare(photo: File) {
        mutable.update { it.copy(photo = photo, prepared = null, rendered = null, saved = null) }
        val prepared = workshop.prepare(photo, if (mutable.value.onnx) ModelStore.ALTERNATIVE else ModelStore.DEFAULT)
        inbox.keepOnly(photo)
        mutable.update { it.copy(prepared = prepared) }
        draw(prepared)
    }

    private fun draw(prepared: Prepared) {
        drawing?.cancel()
        drawing = viewModelScope.launch {
            try {
                val rendered = workshop.render(prepared, mutable.value.strengthPercent / PERCENT)
                mutable.update { if (it.prepared === prepared) it.copy(rendered = rendered) else it }
            } catch (error: RidException) {
                report(error)
            } catch (error: PhotoException) {
                report(error)
            }
        }
    }

    /** One thing at a time: what was under way is cancelled, and what fails is shown in words. */
    private fun start(phase: Phase, block: suspend CoroutineScope.() -> Unit) {
        work?.cancel()
        val next = viewModelScope.launch(start = CoroutineStart.LAZY) {
            mutable.update { it.copy(phase = phase, failure = null) }
            try {
                block()
            } catch (error: RidException) {
                report(error)
            } catch (error: PhotoException) {
                report(error)
            } finally {
                // Unless something else has been started meanwhile.
                if (work === coroutineContext[Job]) {
                    mutable.update { it.copy(phase = if (it.prepared == null) Phase.EMPTY else Phase.READY) }
                }
            }
        }
        work = next
        next.start()
    }

    override fun onCleared() {
        workshop.close()
    }

    private companion object {
        const val STRENGTH = "strength"
        const val LOCATION = "location"
        const val ONNX = "onnx"
        const val FULL_STRENGTH = 100
        const val PERCENT = 100.0
    }
}
