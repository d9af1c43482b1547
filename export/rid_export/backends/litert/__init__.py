"""TFLite, for LiteRT on Android and small boards."""
