package org.rid.demo.engine

import org.rid.core.Problem
import org.rid.core.RidException

/**
 * Several engines for the same model, best first: the first that opens and passes its warm-up is
 * used, and when it fails later in the middle of a photo, the next one takes over and repeats the
 * tile. What happened is in [fallback], for the screen.
 *
 * @param rungs open one engine each; at least one.
 * @throws RidException of the last rung, if none works.
 */
class EngineLadder(rungs: List<() -> PerturbationEngine>) : PerturbationEngine {
    private val rest = ArrayDeque(rungs)
    private val reasons = ArrayList<String>()
    private var current = climb(RidException(Problem.ENGINE_FAILED, "there is no engine"))
    private var tile: FloatArray? = null

    override val side get() = current.side
    override val levels get() = current.levels
    override val name get() = current.name
    override val fallback get() = reasons.joinToString("; ").ifEmpty { null }

    private fun climb(failure: RidException): PerturbationEngine {
        var last = failure
        while (true) {
            val open = rest.removeFirstOrNull() ?: throw last
            var engine: PerturbationEngine? = null
            try {
                engine = open()
                engine.warmUp()
                return engine
            } catch (error: RidException) {
                engine?.close()
                reasons += error.message.orEmpty()
                last = error
            }
        }
    }

    override fun write(tile: FloatArray) {
        this.tile = tile
        orNext { current.write(tile) }
    }

    override fun run() = orNext { current.run() }

    override fun read(): FloatArray = try {
        current.read()
    } catch (error: RidException) {
        next(error)
        current.run()
        current.read()
    }

    private inline fun orNext(work: () -> Unit) = try {
        work()
    } catch (error: RidException) {
        next(error)
        work()
    }

    /** Climbs one rung down and hands it the tile that was under way. */
    private fun next(error: RidException) {
        reasons += error.message.orEmpty()
        current.close()
        current = climb(error)
        tile?.let(current::write)
    }

    override fun close() = current.close()
}
