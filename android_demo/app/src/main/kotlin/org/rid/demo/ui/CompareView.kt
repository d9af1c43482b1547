package org.rid.demo.ui

import android.annotation.SuppressLint
import android.content.Context
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Matrix
import android.graphics.Paint
import android.graphics.RectF
import android.util.AttributeSet
import android.view.MotionEvent
import android.view.View

/**
 * Two pictures of the same size, one left and one right of a line that a finger moves. For keyboards
 * and screen readers the layout has a slider that does the same.
 */
class CompareView(context: Context, attributes: AttributeSet?) : View(context, attributes) {
    private val picturePaint = Paint(Paint.FILTER_BITMAP_FLAG)
    private val linePaint = Paint(Paint.ANTI_ALIAS_FLAG).apply {
        color = Color.WHITE
        strokeWidth = LINE_DP * resources.displayMetrics.density
        setShadowLayer(strokeWidth, 0f, 0f, Color.BLACK)
    }
    private val placement = Matrix()
    private var left: Bitmap? = null
    private var right: Bitmap? = null

    /** Called when a finger moves the line. */
    var onSplitChanged: (Float) -> Unit = {}

    /** Where the line is, 0 (left edge of the picture) to 1. */
    var split = HALF
        set(value) {
            field = value.coerceIn(0f, 1f)
            invalidate()
        }

    /** Sets the pictures; null for none. */
    fun show(left: Bitmap?, right: Bitmap?) {
        this.left = left
        this.right = right
        invalidate()
    }

    override fun onDraw(canvas: Canvas) {
        val first = left ?: return
        val second = right ?: first
        val frame = frame(first)
        val line = frame.left + split * frame.width()
        placement.setRectToRect(
            RectF(0f, 0f, first.width.toFloat(), first.height.toFloat()),
            frame,
            Matrix.ScaleToFit.FILL,
        )
        drawPart(canvas, first, frame.left, line)
        drawPart(canvas, second, line, frame.right)
        canvas.drawLine(line, frame.top, line, frame.bottom, linePaint)
    }

    private fun drawPart(canvas: Canvas, picture: Bitmap, from: Float, to: Float) {
        canvas.save()
        canvas.clipRect(from, 0f, to, height.toFloat())
        canvas.drawBitmap(picture, placement, picturePaint)
        canvas.restore()
    }

    /** Where the picture lies in the view: as large as fits, in the middle. */
    private fun frame(picture: Bitmap): RectF {
        val scale = minOf(width.toFloat() / picture.width, height.toFloat() / picture.height)
        val marginX = (width - scale * picture.width) / 2
        val marginY = (height - scale * picture.height) / 2
        return RectF(marginX, marginY, width - marginX, height - marginY)
    }

    @SuppressLint("ClickableViewAccessibility") // the slider below the picture is the accessible way
    override fun onTouchEvent(event: MotionEvent): Boolean {
        val picture = left ?: return false
        val frame = frame(picture)
        parent.requestDisallowInterceptTouchEvent(true)
        split = (event.x - frame.left) / frame.width()
        onSplitChanged(split)
        return true
    }

    private companion object {
        const val HALF = 0.5f
        const val LINE_DP = 2f
    }
}
