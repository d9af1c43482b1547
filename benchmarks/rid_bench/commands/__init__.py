"""The commands of ``rid-bench``. Importing them is cheap: what is heavy is imported inside."""
