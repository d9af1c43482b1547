"""Photos as files and as pixels: read, write, scale, cut into tiles, compare."""
