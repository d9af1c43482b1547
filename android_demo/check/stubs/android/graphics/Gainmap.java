// Stand-in for a class of Android 14 (API 34): declarations only, see ../../README.md.
package android.graphics;

public final class Gainmap {}
