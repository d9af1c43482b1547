package org.rid.demo.photo

import android.content.ContentResolver
import android.content.ContentValues
import android.content.Context
import android.graphics.Bitmap
import android.net.Uri
import android.os.Build
import android.provider.MediaStore
import java.io.File
import java.io.IOException

/** Puts protected photos into the phone's gallery, as a whole or not at all. */
class PhotoGallery(context: Context) {
    private val resolver: ContentResolver = context.contentResolver
    private val scratch = File(context.cacheDir, "encode").apply { mkdirs() }

    /**
     * Encodes and publishes a photo.
     *
     * @param pixels protected, upright.
     * @param original where tags come from and what it was called.
     * @param location whether GPS coordinates go along.
     * @return its address in the gallery, for showing and sharing.
     * @throws PhotoException there is no space, or Android refuses.
     */
    fun save(pixels: Bitmap, original: PhotoInfo, location: Boolean): Uri {
        val kind = Kind.of(original.mime)
        val file = File.createTempFile("photo", kind.suffix, scratch)
        try {
            val written = file.outputStream().use { pixels.compress(kind.format, QUALITY, it) }
            if (!written) throw IOException("the encoder failed")
            PhotoTags.copy(original.file, file, location)
            return publish(file, nameFor(original, kind), kind.mime)
        } catch (error: IOException) {
            throw storageProblem(error, scratch, PhotoProblem.NOT_SAVED)
        } catch (error: SecurityException) {
            throw PhotoException(PhotoProblem.NO_PERMISSION, "Android does not let the app save photos", error)
        } catch (error: IllegalArgumentException) {
            throw PhotoException(PhotoProblem.NOT_SAVED, error.message.orEmpty(), error)
        } catch (error: IllegalStateException) {
            // The storage is not mounted, or the gallery finds no free name.
            throw PhotoException(PhotoProblem.NOT_SAVED, error.message.orEmpty(), error)
        } finally {
            file.delete()
        }
    }

    /** Kind of the saved file: lossless stays lossless, everything else (HEIC too) becomes JPEG. */
    private enum class Kind(val format: Bitmap.CompressFormat, val mime: String, val suffix: String) {
        JPEG(Bitmap.CompressFormat.JPEG, "image/jpeg", ".jpg"),
        PNG(Bitmap.CompressFormat.PNG, "image/png", ".png"),
        ;

        companion object {
            fun of(mime: String) = if (mime == PNG.mime) PNG else JPEG
        }
    }

    private fun nameFor(original: PhotoInfo, kind: Kind): String =
        PhotoInbox.originalName(original.file).substringBeforeLast('.') + "-protected" + kind.suffix

    private fun publish(file: File, name: String, mime: String): Uri {
        val uri = resolver.insert(collection(), entry(name, mime)) ?: throw IOException("the gallery takes no entry")
        var complete = false
        try {
            val stream = resolver.openOutputStream(uri) ?: throw IOException("the gallery takes no data")
            stream.use { to -> file.inputStream().use { it.copyTo(to) } }
            if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) {
                val visible = ContentValues().apply { put(MediaStore.MediaColumns.IS_PENDING, 0) }
                resolver.update(uri, visible, null, null)
            }
            complete = true
        } finally {
            if (!complete) resolver.delete(uri, null, null)
        }
        return uri
    }

    private fun collection(): Uri =
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) {
            MediaStore.Images.Media.getContentUri(MediaStore.VOLUME_EXTERNAL_PRIMARY)
        } else {
            MediaStore.Images.Media.EXTERNAL_CONTENT_URI
        }

    /** Nobody sees an entry before its data are complete. */
    private fun entry(name: String, mime: String) = ContentValues().apply {
        put(MediaStore.MediaColumns.DISPLAY_NAME, name)
        put(MediaStore.MediaColumns.MIME_TYPE, mime)
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) {
            put(MediaStore.MediaColumns.RELATIVE_PATH, FOLDER)
            put(MediaStore.MediaColumns.IS_PENDING, 1)
        }
    }

    private companion object {
        /** High: what a lossy encoder drops first is what was just added. */
        const val QUALITY = 95
        const val FOLDER = "Pictures/Protected"
    }
}
