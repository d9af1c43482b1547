"""One module per command of ``rid-eval``."""
