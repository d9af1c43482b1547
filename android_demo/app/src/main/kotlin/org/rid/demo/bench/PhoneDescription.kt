package org.rid.demo.bench

import android.app.ActivityManager
import android.content.Context
import android.os.Build
import android.os.PowerManager

/** The phone, for the `machine` of the results; nothing in it tells one phone of a model from another. */
fun describePhone(context: Context): Map<String, Any?> {
    val memory = ActivityManager.MemoryInfo()
    (context.getSystemService(Context.ACTIVITY_SERVICE) as ActivityManager).getMemoryInfo(memory)
    return mapOf(
        "name" to "${Build.MANUFACTURER} ${Build.MODEL}",
        "cpu" to chip(),
        "architecture" to Build.SUPPORTED_ABIS.firstOrNull(),
        "cores" to Runtime.getRuntime().availableProcessors(),
        "memory_bytes" to memory.totalMem,
        "board" to Build.BOARD,
        "system" to "Android ${Build.VERSION.RELEASE} (API ${Build.VERSION.SDK_INT})",
        "thermal_status" to thermalStatus(context),
    )
}

private fun chip(): String =
    if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.S) "${Build.SOC_MANUFACTURER} ${Build.SOC_MODEL}" else Build.HARDWARE

/** 0 is cool, 3 (severe) and above throttles; null where Android does not tell. */
private fun thermalStatus(context: Context): Int? {
    if (Build.VERSION.SDK_INT < Build.VERSION_CODES.Q) return null
    return (context.getSystemService(Context.POWER_SERVICE) as PowerManager).currentThermalStatus
}
