"""What 8 bits do to a network, for training (``rid-train --qat``) and for the exporters."""
