package org.rid.demo.photo

import android.content.ContentResolver
import android.content.Context
import android.net.Uri
import android.provider.OpenableColumns
import java.io.File
import java.io.IOException

/**
 * The app's own copy of the photo in work.
 *
 * A photo that was taken, picked or shared is copied here first: a camera's picture would be lost
 * with the process, and the permission to read a shared one ends with it. The copy goes when the
 * next photo arrives, and is never backed up.
 */
class PhotoInbox(context: Context) {
    private val resolver: ContentResolver = context.contentResolver
    private val folder = File(context.noBackupFilesDir, "inbox").apply { mkdirs() }

    /** A new empty place for a photo called [name]; the camera writes here. */
    fun place(name: String): File {
        val number = (photos().maxOfOrNull { numberOf(it) } ?: 0L) + 1
        return File(folder, "$number$SEPARATOR${name.replace(UNSAFE, "_").takeLast(LONGEST_NAME)}")
    }

    /**
     * Copies a photo that another app offers.
     *
     * @throws PhotoException it cannot be read, or there is no space for it.
     */
    fun adopt(uri: Uri): File {
        // Another app may point at a file of this one: only what a provider hands out is taken.
        if (uri.scheme != ContentResolver.SCHEME_CONTENT) {
            throw PhotoException(PhotoProblem.UNREADABLE, "not offered by another app: ${uri.scheme}")
        }
        try {
            return place(displayName(uri)).also { copy(uri, it) }
        } catch (error: IOException) {
            throw storageProblem(error, folder, PhotoProblem.UNREADABLE)
        } catch (error: SecurityException) {
            throw PhotoException(PhotoProblem.UNREADABLE, "the other app does not hand it out", error)
        } catch (error: RuntimeException) {
            // Whatever the other app's provider throws arrives here: its faults must not end this app.
            throw PhotoException(PhotoProblem.UNREADABLE, "the other app failed (${error.message})", error)
        }
    }

    private fun copy(uri: Uri, target: File) {
        val fresh = File(target.path + UNFINISHED)
        try {
            val stream = resolver.openInputStream(uri) ?: throw IOException("nothing comes")
            stream.use { from -> fresh.outputStream().use(from::copyTo) }
            if (!fresh.renameTo(target)) throw IOException("it cannot be renamed")
        } finally {
            fresh.delete()
        }
    }

    /** The newest photo, if any: what a killed process was working on. */
    fun latest(): File? = photos().maxByOrNull { numberOf(it) }

    /** Deletes all photos but [photo]. */
    fun keepOnly(photo: File?) = photos().filter { it != photo }.forEach { it.delete() }

    private fun photos(): List<File> =
        folder.listFiles().orEmpty().filter { it.length() > 0 && !it.name.endsWith(UNFINISHED) }

    private fun numberOf(photo: File): Long = photo.name.substringBefore(SEPARATOR).toLongOrNull() ?: 0L

    private fun displayName(uri: Uri): String =
        resolver.query(uri, arrayOf(OpenableColumns.DISPLAY_NAME), null, null, null)?.use { cursor ->
            if (cursor.moveToFirst()) cursor.getString(0) else null
        } ?: DEFAULT_NAME

    companion object {
        private const val SEPARATOR = "-"
        private const val UNFINISHED = ".part"
        private const val LONGEST_NAME = 80
        private const val DEFAULT_NAME = "photo"
        private val UNSAFE = Regex("[^A-Za-z0-9._-]")

        /** Name of the photo as it was called before it came here. */
        fun originalName(photo: File): String = photo.name.substringAfter(SEPARATOR)
    }
}

/** Tells a full storage from other trouble. */
internal fun storageProblem(error: IOException, folder: File, otherwise: PhotoProblem): PhotoException {
    val full = folder.usableSpace < FULL
    return PhotoException(if (full) PhotoProblem.NO_SPACE else otherwise, error.message.orEmpty(), error)
}

/** Bytes; below this, what failed to be written most likely failed for want of space. */
private const val FULL = 4L shl 20
