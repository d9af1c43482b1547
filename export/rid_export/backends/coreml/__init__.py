"""Core ML, for iOS and macOS."""
