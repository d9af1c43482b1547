"""The benchmark harness: how fast, how faithful, how does it compare."""
