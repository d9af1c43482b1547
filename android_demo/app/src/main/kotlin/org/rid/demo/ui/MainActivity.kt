package org.rid.demo.ui

import android.Manifest
import android.content.Intent
import android.content.pm.PackageManager
import android.net.Uri
import android.os.Build
import android.os.Bundle
import android.view.View
import android.widget.Button
import android.widget.CheckBox
import android.widget.CompoundButton
import android.widget.RadioButton
import android.widget.SeekBar
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts.PickVisualMedia
import androidx.activity.result.contract.ActivityResultContracts.RequestPermission
import androidx.activity.viewModels
import androidx.core.content.ContextCompat
import androidx.core.content.IntentCompat
import androidx.lifecycle.Lifecycle
import androidx.lifecycle.lifecycleScope
import androidx.lifecycle.repeatOnLifecycle
import kotlinx.coroutines.launch
import org.rid.demo.R
import org.rid.demo.photo.PhotoException
import org.rid.demo.photo.PhotoProblem

/** The one screen: a photo comes in by camera, picker or another app, and goes out protected. */
class MainActivity : ComponentActivity() {
    private val model: ProtectViewModel by viewModels()
    private val words by lazy { Words(this) }

    private val camera = registerForActivityResult(TakePhoto()) { photo -> photo?.let(model::taken) }
    private val picker = registerForActivityResult(PickVisualMedia()) { uri -> uri?.let(model::adopt) }
    private val writing = registerForActivityResult(RequestPermission()) { granted ->
        if (granted) model.save() else model.report(PhotoException(PhotoProblem.NO_PERMISSION, "not allowed"))
    }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.activity_main)
        button(R.id.take) { camera.launch(model.placeForCamera()) }
        button(R.id.choose) { picker.launch(PickVisualMediaRequest(PickVisualMedia.ImageOnly)) }
        button(R.id.save, ::save)
        button(R.id.cancel) { if (model.state.value.busy) model.cancel() else model.retry() }
        button(R.id.share) { model.state.value.saved?.let { share(it.uri) } }
        connectControls()
        lifecycleScope.launch {
            repeatOnLifecycle(Lifecycle.State.STARTED) { model.state.collect(::show) }
        }
        // A rotated or revived activity gets the same intent again; the photo is in the inbox by then.
        if (savedInstanceState == null) receive(intent)
    }

    override fun onNewIntent(intent: Intent) {
        super.onNewIntent(intent)
        receive(intent)
    }

    private fun receive(intent: Intent) {
        if (intent.action != Intent.ACTION_SEND) return
        // Opened again from the list of recent apps: the photo came long ago, and its address is void.
        if (intent.flags and Intent.FLAG_ACTIVITY_LAUNCHED_FROM_HISTORY != 0) return
        IntentCompat.getParcelableExtra(intent, Intent.EXTRA_STREAM, Uri::class.java)?.let(model::adopt)
    }

    private fun save() {
        val needsPermission = Build.VERSION.SDK_INT < Build.VERSION_CODES.Q
        val permission = Manifest.permission.WRITE_EXTERNAL_STORAGE
        if (needsPermission && ContextCompat.checkSelfPermission(this, permission) != PackageManager.PERMISSION_GRANTED) {
            writing.launch(permission)
        } else {
            model.save()
        }
    }

    private fun share(photo: Uri) {
        val send = Intent(Intent.ACTION_SEND)
            .setType(contentResolver.getType(photo) ?: "image/*")
            .putExtra(Intent.EXTRA_STREAM, photo)
            .addFlags(Intent.FLAG_GRANT_READ_URI_PERMISSION)
        startActivity(Intent.createChooser(send, getString(R.string.share)))
    }

    private fun connectControls() {
        val picture = findViewById<CompareView>(R.id.picture)
        val split = findViewById<SeekBar>(R.id.split)
        picture.onSplitChanged = { split.progress = (it * split.max).toInt() }
        split.onUserChange { picture.split = it.toFloat() / split.max }
        findViewById<SeekBar>(R.id.strength).onUserChange(model::setStrength)
        checkBox(R.id.location, model::setKeepLocation)
        checkBox(R.id.onnx, model::setOnnx)
        findViewById<RadioButton>(R.id.view_change).setOnCheckedChangeListener { _, _ -> showPictures(model.state.value) }
    }

    private fun show(state: UiState) {
        val ready = state.prepared != null && !state.busy
        showPictures(state)
        findViewById<TextView>(R.id.status).text = words.status(state)
        findViewById<TextView>(R.id.figures).text = words.figures(state)
        findViewById<View>(R.id.progress).visibility = if (state.busy) View.VISIBLE else View.INVISIBLE
        findViewById<Button>(R.id.cancel).run {
            isEnabled = state.busy || state.stopped
            setText(if (state.stopped) R.string.retry else R.string.cancel)
        }
        findViewById<View>(R.id.save).isEnabled = ready
        findViewById<View>(R.id.share).isEnabled = ready && state.saved != null
        findViewById<SeekBar>(R.id.strength).progress = state.strengthPercent
        findViewById<TextView>(R.id.strength_label).text = getString(R.string.strength, state.strengthPercent)
        findViewById<CompoundButton>(R.id.location).run {
            isChecked = state.keepLocation
            isEnabled = state.prepared?.info?.hasLocation == true
        }
        findViewById<CompoundButton>(R.id.onnx).isChecked = state.onnx
    }

    private fun showPictures(state: UiState) {
        val change = findViewById<RadioButton>(R.id.view_change).isChecked
        val right = if (change) state.rendered?.change else state.rendered?.after
        findViewById<CompareView>(R.id.picture).show(state.prepared?.before, right)
    }

    private fun button(id: Int, action: () -> Unit) {
        findViewById<Button>(id).setOnClickListener { action() }
    }

    private fun checkBox(id: Int, action: (Boolean) -> Unit) {
        findViewById<CheckBox>(id).setOnClickListener { action((it as CheckBox).isChecked) }
    }

    /** Calls [action] for changes by a person, not by the program. */
    private fun SeekBar.onUserChange(action: (Int) -> Unit) = setOnSeekBarChangeListener(
        object : SeekBar.OnSeekBarChangeListener {
            override fun onProgressChanged(bar: SeekBar, progress: Int, fromUser: Boolean) {
                if (fromUser) action(progress)
            }

            override fun onStartTrackingTouch(bar: SeekBar) = Unit

            override fun onStopTrackingTouch(bar: SeekBar) = Unit
        },
    )
}
