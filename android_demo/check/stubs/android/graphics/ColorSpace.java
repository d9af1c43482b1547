// Stand-in for a class of Android 8 (API 26): declarations only, see ../../README.md.
package android.graphics;

public abstract class ColorSpace {
    public enum Named { SRGB }

    public static ColorSpace get(Named name) { throw new RuntimeException("stub"); }
}
