package org.rid.demo.bench

import android.content.Intent
import android.graphics.BitmapFactory
import android.os.Bundle
import android.util.Log
import android.view.WindowManager
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.lifecycle.lifecycleScope
import java.io.File
import java.io.IOException
import java.text.SimpleDateFormat
import java.util.Date
import java.util.Locale
import java.util.TimeZone
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import org.rid.core.RidException
import org.rid.core.bench.Cell
import org.rid.core.bench.Results
import org.rid.core.model.ModelFile
import org.rid.demo.R
import org.rid.demo.engine.Delegate
import org.rid.demo.engine.Engines

/**
 * Measures models that `rid-bench adb` pushed to this app's folder and writes `results.json` there.
 * The contract is in docs/benchmarks.md. By hand:
 *
 *     adb shell am start -n org.rid.demo/.BenchmarkActivity --es models rid-s.tflite \
 *         --es photo portrait.png --ei threads 4 --ei runs 50 --es delegate gpu
 */
class BenchmarkActivity : ComponentActivity() {
    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.activity_benchmark)
        window.addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        val log = findViewById<TextView>(R.id.log)
        lifecycleScope.launch {
            measureAll(Request.of(intent)) { line ->
                Log.i(TAG, line)
                log.append("$line\n")
            }
        }
    }

    /** What the intent asks for. */
    private class Request(val models: List<String>, val photo: String, val threads: Int, val runs: Int, val delegate: String) {
        companion object {
            fun of(intent: Intent) = Request(
                models = intent.getStringExtra("models").orEmpty().split(',').filter(String::isNotEmpty),
                photo = intent.getStringExtra("photo").orEmpty(),
                threads = intent.getIntExtra("threads", Engines.threads).coerceIn(1, 64),
                runs = intent.getIntExtra("runs", 50).coerceIn(1, 10_000),
                delegate = intent.getStringExtra("delegate") ?: "cpu",
            )
        }
    }

    private suspend fun measureAll(request: Request, say: (String) -> Unit) {
        val folder = File(getExternalFilesDir(null), "bench")
        val machine = describePhone(this)
        val cells = ArrayList<Map<String, Any?>>()
        var note: String? = null
        try {
            val delegate = delegateOf(request.delegate)
            val argb = withContext(Dispatchers.IO) { pixels(inside(folder, request.photo)) }
            for (name in request.models) {
                say("measuring $name")
                cells += withContext(Dispatchers.Default) { measure(inside(folder, name), request, delegate, argb) { ensureActive() } }
                say(describe(cells.last()))
            }
        } catch (error: IOException) {
            note = error.message
            say("stopped: $note")
        }
        try {
            withContext(Dispatchers.IO) {
                folder.mkdirs()
                Results.write(File(folder, "results.json"), now(), machine, cells, note)
            }
            say("results.json written")
        } catch (error: IOException) {
            say("no results: ${error.message}")
        }
    }

    /** ISO 8601, UTC. */
    private fun now(): String {
        val format = SimpleDateFormat("yyyy-MM-dd'T'HH:mm:ss'Z'", Locale.ROOT)
        return format.apply { timeZone = TimeZone.getTimeZone("UTC") }.format(Date())
    }

    private fun measure(file: File, request: Request, delegate: Delegate, argb: IntArray, check: () -> Unit): Map<String, Any?> {
        val model = try {
            ModelFile.open(file)
        } catch (error: RidException) {
            return Cell.refused(file.name, request.threads, error.message.orEmpty())
        }
        return BenchmarkRunner(request.runs, request.threads).measure(model, argb, check) {
            Engines.exactly(model, delegate, request.threads)
        }
    }

    private fun describe(cell: Map<String, Any?>): String {
        val network = cell["network"] as? Map<*, *> ?: return "${cell["file"]}: ${cell["error"]}"
        return "%s, %s: median %.1f ms".format(cell["file"], cell["runtime"], 1000 * network["median"] as Double)
    }

    /** Another app may start this activity: it must not make it read files elsewhere. */
    private fun inside(folder: File, name: String): File {
        if (name.isEmpty() || name != File(name).name) throw IOException("'$name' is no name of a file in bench/")
        return File(folder, name)
    }

    private fun delegateOf(name: String): Delegate =
        Delegate.entries.find { it.name.equals(name, ignoreCase = true) } ?: throw IOException("there is no delegate '$name'")

    private fun pixels(photo: File): IntArray {
        val bitmap = BitmapFactory.decodeFile(photo.path) ?: throw IOException("${photo.name} is no photo, or not there")
        val argb = IntArray(bitmap.width * bitmap.height)
        bitmap.getPixels(argb, 0, bitmap.width, 0, 0, bitmap.width, bitmap.height)
        bitmap.recycle()
        return argb
    }

    private companion object {
        const val TAG = "RidBenchmark"
    }
}
