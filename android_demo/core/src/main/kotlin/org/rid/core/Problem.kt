package org.rid.core

/** What can go wrong in words that an app can translate; [RidException] carries the detail. */
enum class Problem {
    /** A side is shorter than [Protector.MIN_SIDE]. */
    PHOTO_TOO_SMALL,

    /** More than [Protector.MAX_ASPECT] times as long as wide. */
    PHOTO_TOO_LONG,

    /** The model file is not there. */
    MODEL_MISSING,

    /** The model could not be written where the runtimes can open it. */
    MODEL_NOT_UNPACKED,

    /** The model file is truncated, or was changed after its export. */
    MODEL_DAMAGED,

    /** A model file, but not one that rid-export wrote. */
    MODEL_FOREIGN,

    /** One of ours, but this app cannot run it: another schema, input or output. */
    MODEL_UNSUPPORTED,

    /** The runtime could not load or run the model. */
    ENGINE_FAILED,

    /** The network answered with something that is no perturbation. */
    BAD_ANSWER,

    /** A value would change by more than the bound. Never seen; a promise is checked all the same. */
    BOUND_BROKEN,
}

/**
 * Something a user or an integrator can understand and fix.
 *
 * @property problem which kind.
 */
class RidException(val problem: Problem, message: String, cause: Throwable? = null) : Exception(message, cause)
