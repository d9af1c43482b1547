// Stand-in for androidx.exifinterface: declarations only, see README.md.
@file:Suppress("UNUSED_PARAMETER", "unused")

package androidx.exifinterface.media

import java.io.File

class ExifInterface(file: File) {
    val latLong: DoubleArray? get() = TODO()

    fun getAttribute(tag: String): String? = TODO()

    fun getAttributeInt(tag: String, defaultValue: Int): Int = TODO()

    fun setAttribute(tag: String, value: String?): Unit = TODO()

    fun saveAttributes(): Unit = TODO()

    companion object {
        const val ORIENTATION_NORMAL = 1
        const val ORIENTATION_FLIP_HORIZONTAL = 2
        const val ORIENTATION_ROTATE_180 = 3
        const val ORIENTATION_FLIP_VERTICAL = 4
        const val ORIENTATION_TRANSPOSE = 5
        const val ORIENTATION_ROTATE_90 = 6
        const val ORIENTATION_TRANSVERSE = 7
        const val ORIENTATION_ROTATE_270 = 8
        const val TAG_ARTIST = "Artist"
        const val TAG_COPYRIGHT = "Copyright"
        const val TAG_DATETIME = "DateTime"
        const val TAG_DATETIME_DIGITIZED = "DateTimeDigitized"
        const val TAG_DATETIME_ORIGINAL = "DateTimeOriginal"
        const val TAG_DIGITAL_ZOOM_RATIO = "DigitalZoomRatio"
        const val TAG_EXPOSURE_BIAS_VALUE = "ExposureBiasValue"
        const val TAG_EXPOSURE_PROGRAM = "ExposureProgram"
        const val TAG_EXPOSURE_TIME = "ExposureTime"
        const val TAG_FLASH = "Flash"
        const val TAG_FOCAL_LENGTH = "FocalLength"
        const val TAG_FOCAL_LENGTH_IN_35MM_FILM = "FocalLengthIn35mmFilm"
        const val TAG_F_NUMBER = "FNumber"
        const val TAG_GPS_ALTITUDE = "GPSAltitude"
        const val TAG_GPS_ALTITUDE_REF = "GPSAltitudeRef"
        const val TAG_GPS_DATESTAMP = "GPSDatestamp"
        const val TAG_GPS_IMG_DIRECTION = "GPSImgDirection"
        const val TAG_GPS_IMG_DIRECTION_REF = "GPSImgDirectionRef"
        const val TAG_GPS_LATITUDE = "GPSLatitude"
        const val TAG_GPS_LATITUDE_REF = "GPSLatitudeRef"
        const val TAG_GPS_LONGITUDE = "GPSLongitude"
        const val TAG_GPS_LONGITUDE_REF = "GPSLongitudeRef"
        const val TAG_GPS_TIMESTAMP = "GPSTimestamp"
        const val TAG_IMAGE_DESCRIPTION = "ImageDescription"
        const val TAG_LENS_MAKE = "LensMake"
        const val TAG_LENS_MODEL = "LensModel"
        const val TAG_LIGHT_SOURCE = "LightSource"
        const val TAG_MAKE = "Make"
        const val TAG_METERING_MODE = "MeteringMode"
        const val TAG_MODEL = "Model"
        const val TAG_OFFSET_TIME = "OffsetTime"
        const val TAG_OFFSET_TIME_DIGITIZED = "OffsetTimeDigitized"
        const val TAG_OFFSET_TIME_ORIGINAL = "OffsetTimeOriginal"
        const val TAG_ORIENTATION = "Orientation"
        const val TAG_PHOTOGRAPHIC_SENSITIVITY = "PhotographicSensitivity"
        const val TAG_SCENE_CAPTURE_TYPE = "SceneCaptureType"
        const val TAG_SOFTWARE = "Software"
        const val TAG_SUBSEC_TIME = "SubsecTime"
        const val TAG_SUBSEC_TIME_DIGITIZED = "SubsecTimeDigitized"
        const val TAG_SUBSEC_TIME_ORIGINAL = "SubsecTimeOriginal"
        const val TAG_WHITE_BALANCE = "WhiteBalance"
    }
}
