package org.rid.demo.ui

import android.content.Context
import org.rid.core.Problem
import org.rid.core.ProcessMemory
import org.rid.core.RidException
import org.rid.demo.R
import org.rid.demo.photo.PhotoException
import org.rid.demo.photo.PhotoProblem
import org.rid.demo.protect.Note

/** Turns states and failures into sentences; the only place that knows both. */
class Words(private val context: Context) {
    /** What went wrong and what can be done. */
    fun of(failure: Throwable): String = when (failure) {
        is RidException -> context.getString(of(failure.problem), failure.message)
        is PhotoException -> context.getString(of(failure.problem), failure.message)
        else -> context.getString(R.string.failed, failure.message)
    }

    private fun of(problem: Problem): Int = when (problem) {
        Problem.PHOTO_TOO_SMALL -> R.string.problem_photo_too_small
        Problem.PHOTO_TOO_LONG -> R.string.problem_photo_too_long
        Problem.MODEL_MISSING -> R.string.problem_model_missing
        Problem.MODEL_NOT_UNPACKED -> R.string.problem_model_not_unpacked
        Problem.MODEL_DAMAGED -> R.string.problem_model_damaged
        Problem.MODEL_FOREIGN, Problem.MODEL_UNSUPPORTED -> R.string.problem_model_unsupported
        Problem.ENGINE_FAILED -> R.string.problem_engine_failed
        Problem.BAD_ANSWER, Problem.BOUND_BROKEN -> R.string.problem_bad_answer
    }

    private fun of(problem: PhotoProblem): Int = when (problem) {
        PhotoProblem.UNREADABLE -> R.string.problem_unreadable
        PhotoProblem.UNDECODABLE -> R.string.problem_undecodable
        PhotoProblem.TOO_LARGE -> R.string.problem_too_large
        PhotoProblem.NO_SPACE -> R.string.problem_no_space
        PhotoProblem.NOT_SAVED -> R.string.problem_not_saved
        PhotoProblem.NO_PERMISSION -> R.string.problem_no_permission
    }

    private fun of(note: Note): Int = when (note) {
        Note.NO_FACE -> R.string.note_no_face
        Note.SMALL -> R.string.note_small
        Note.REDUCED -> R.string.note_reduced
        Note.COLOURS_CONVERTED -> R.string.note_colours_converted
        Note.TRANSPARENT -> R.string.note_transparent
        Note.BECOMES_JPEG -> R.string.note_becomes_jpeg
    }

    /** The line under the picture. */
    fun status(state: UiState): String = when {
        state.failure != null -> of(state.failure)
        state.phase == Phase.PREPARING -> context.getString(R.string.status_preparing)
        state.phase == Phase.SAVING -> context.getString(R.string.status_saving)
        state.saved != null -> context.getString(R.string.status_saved, state.saved.verdict.maxLevels)
        state.stopped -> context.getString(R.string.status_stopped)
        state.prepared == null -> context.getString(R.string.status_empty)
        else -> state.prepared.notes.joinToString(" ") { context.getString(of(it)) }
            .ifEmpty { context.getString(R.string.status_ready) }
    }

    /** Figures: size, times, engine, memory, and how large the change is. */
    fun figures(state: UiState): String {
        val prepared = state.prepared ?: return ""
        val lines = ArrayList<String>()
        lines += context.getString(
            R.string.figures,
            prepared.info.uprightWidth / prepared.reduction,
            prepared.info.uprightHeight / prepared.reduction,
            MILLISECONDS * prepared.decodeSeconds,
            MILLISECONDS * prepared.networkSeconds,
            prepared.engine,
        )
        prepared.fallback?.let { lines += context.getString(R.string.figures_fallback, it) }
        state.rendered?.verdict?.let { lines += context.getString(R.string.figures_change, it.maxLevels, prepared.levels) }
        ProcessMemory.now()?.let { lines += context.getString(R.string.figures_memory, it / MEBIBYTE) }
        return lines.joinToString("\n")
    }

    private companion object {
        const val MILLISECONDS = 1000
        const val MEBIBYTE = 1L shl 20
    }
}
