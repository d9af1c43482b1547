package org.rid.demo.photo

/** What can go wrong with a photo outside the network; the screen has words for each. */
enum class PhotoProblem {
    /** The file is gone, or the app that offered it refuses to hand it out. */
    UNREADABLE,

    /** No image, or of a kind that this phone cannot decode (HEIC before Android 9). */
    UNDECODABLE,

    /** Not even a reduced copy fits into memory. */
    TOO_LARGE,

    /** The storage is full. */
    NO_SPACE,

    /** Android would not take the photo into the gallery. */
    NOT_SAVED,

    /** Before Android 10: saving needs the permission to write. */
    NO_PERMISSION,
}

/** A [PhotoProblem] with its detail. */
class PhotoException(val problem: PhotoProblem, message: String, cause: Throwable? = null) : Exception(message, cause)
