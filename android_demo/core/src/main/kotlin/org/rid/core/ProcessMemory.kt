package org.rid.core

import java.io.File
import java.io.IOException

/** How much memory this process uses, from Linux's own account, which Android shares. */
object ProcessMemory {
    private val STATUS = File("/proc/self/status")

    /** Bytes that are in memory now, or null where that cannot be read. */
    fun now(): Long? = read("VmRSS")

    /** The most bytes since the start or the last [resetPeak], or null. */
    fun peak(): Long? = read("VmHWM")

    /** Makes [peak] start anew; false where that is not allowed. */
    fun resetPeak(): Boolean = try {
        File("/proc/self/clear_refs").writeText("5")
        true
    } catch (_: IOException) {
        false
    }

    private fun read(key: String): Long? = try {
        STATUS.useLines { lines -> lines.firstNotNullOfOrNull { kilobytes(it, key) } }?.times(1024)
    } catch (_: IOException) {
        null
    }

    private fun kilobytes(line: String, key: String): Long? =
        if (line.startsWith("$key:")) line.filter(Char::isDigit).toLongOrNull() else null
}
