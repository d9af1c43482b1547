"""Does it protect, can it be seen: measures, and the commands that print them."""
