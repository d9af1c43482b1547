package org.rid.demo.protect

import android.content.Context
import android.graphics.Bitmap
import java.io.File
import java.util.concurrent.Executors
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.withContext
import org.rid.core.ArgbPhoto
import org.rid.core.Budget
import org.rid.core.Protector
import org.rid.core.amplifiedChange
import org.rid.demo.engine.Engines
import org.rid.demo.engine.ModelStore
import org.rid.demo.engine.PerturbationEngine
import org.rid.demo.photo.BitmapPhoto
import org.rid.demo.photo.PhotoDecoder
import org.rid.demo.photo.PhotoGallery
import org.rid.demo.photo.PhotoInfo
import org.rid.demo.photo.hasFace
import org.rid.demo.photo.tooLarge

/**
 * The way of a photo through the app. Every function runs off the main thread, stops between two
 * rows when its coroutine is cancelled, and leaves nothing half done.
 */
class PhotoWorkshop(context: Context) {
    private val models = ModelStore.of(context)
    private val decoder = PhotoDecoder(context)
    private val gallery = PhotoGallery(context)

    /** Engines serve one caller at a time, and a GPU's context may belong to the thread that made it. */
    private val engineThread = Executors.newSingleThreadExecutor().asCoroutineDispatcher()
    private var engine: PerturbationEngine? = null
    private var asset: String? = null

    /**
     * Reads a photo and predicts its perturbation.
     *
     * @param asset name of the model in the app's assets.
     * @throws org.rid.core.RidException the photo is too small or too long, the model is missing or
     *     damaged, or no engine runs it.
     * @throws org.rid.demo.photo.PhotoException the photo cannot be read or is too large.
     */
    suspend fun prepare(photo: File, asset: String): Prepared = withContext(engineThread) {
        val info = PhotoInfo.read(photo)
        Protector.checkSize(info.width, info.height)
        val engine = engineFor(asset)
        val reduction = decoder.reduction(info)
        val start = System.nanoTime()
        val full = decoder.decode(info, reduction)
        val decoded = System.nanoTime()
        try {
            val unit = Protector.predict(BitmapPhoto(full), engine) { ensureActive() }
            val predicted = System.nanoTime()
            val before = screenSize(full)
            Prepared(
                info = info,
                unit = unit,
                before = before,
                levels = engine.levels,
                reduction = reduction,
                notes = notes(info, full, before, reduction, engine.side),
                engine = engine.name,
                fallback = engine.fallback,
                decodeSeconds = (decoded - start) / NANOSECONDS,
                networkSeconds = (predicted - decoded) / NANOSECONDS,
            )
        } catch (error: OutOfMemoryError) {
            throw tooLarge(info, error)
        } finally {
            full.recycle()
        }
    }

    /**
     * What the screen shows at one strength, above 0 and at most 1; cheap enough for a slider.
     *
     * @throws org.rid.core.RidException the bound would not hold.
     * @throws org.rid.demo.photo.PhotoException there is no memory for it.
     */
    suspend fun render(prepared: Prepared, strength: Double): Rendered = withContext(Dispatchers.Default) {
        try {
            val (width, height) = prepared.before.width to prepared.before.height
            val before = ArgbPhoto(width, height)
            prepared.before.getPixels(before.pixels, 0, width, 0, 0, width, height)
            val after = ArgbPhoto(width, height)
            val verdict = Protector.apply(before, prepared.unit, Budget(prepared.levels, strength), after) { ensureActive() }
            val change = amplifiedChange(before.pixels, after.pixels, AMPLIFIED)
            Rendered(bitmap(after.pixels, width, height), bitmap(change, width, height), verdict)
        } catch (error: OutOfMemoryError) {
            throw tooLarge(prepared.info, error)
        }
    }

    /**
     * Protects the photo at full size and puts it into the gallery.
     *
     * @param location whether GPS coordinates go along.
     * @throws org.rid.demo.photo.PhotoException it cannot be read or saved.
     */
    suspend fun save(prepared: Prepared, strength: Double, location: Boolean): Saved = withContext(Dispatchers.Default) {
        val full = decoder.decode(prepared.info, prepared.reduction)
        try {
            val photo = BitmapPhoto(full)
            val verdict = Protector.apply(photo, prepared.unit, Budget(prepared.levels, strength), photo) { ensureActive() }
            Saved(withContext(Dispatchers.IO) { gallery.save(full, prepared.info, location) }, verdict)
        } catch (error: OutOfMemoryError) {
            throw tooLarge(prepared.info, error)
        } finally {
            full.recycle()
        }
    }

    /** Frees the engine as soon as it has come to rest; returns at once. */
    fun close() {
        engineThread.executor.execute { engine?.close() }
        engineThread.close()
    }

    private fun engineFor(wanted: String): PerturbationEngine {
        val open = engine
        if (open != null && wanted == asset) return open
        open?.close()
        engine = null
        return Engines.best(models.open(wanted)).also {
            engine = it
            asset = wanted
        }
    }

    private fun screenSize(full: Bitmap): Bitmap {
        val shrink = minOf(1f, LONGEST_PREVIEW.toFloat() / maxOf(full.width, full.height))
        val width = maxOf(1, (full.width * shrink).toInt())
        val height = maxOf(1, (full.height * shrink).toInt())
        // A copy in any case: for equal sizes createScaledBitmap may return its argument.
        return if (shrink == 1f) full.copy(Bitmap.Config.ARGB_8888, false) else Bitmap.createScaledBitmap(full, width, height, true)
    }

    private fun notes(info: PhotoInfo, full: Bitmap, before: Bitmap, reduction: Int, side: Int): Set<Note> = buildSet {
        if (!hasFace(before)) add(Note.NO_FACE)
        if (minOf(full.width, full.height) < side) add(Note.SMALL)
        if (reduction > 1) add(Note.REDUCED)
        if (info.wideColours) add(Note.COLOURS_CONVERTED)
        if (full.hasAlpha()) add(Note.TRANSPARENT)
        if (info.mime != "image/jpeg" && info.mime != "image/png") add(Note.BECOMES_JPEG)
    }

    private fun bitmap(pixels: IntArray, width: Int, height: Int): Bitmap =
        Bitmap.createBitmap(pixels, width, height, Bitmap.Config.ARGB_8888)

    companion object {
        /** How many times the change is amplified on the screen. */
        const val AMPLIFIED = 16
        private const val LONGEST_PREVIEW = 1600
        private const val NANOSECONDS = 1e9
    }
}
