"""AVIF: what Pillow does not say of a file, read from its properties (ISO/IEC 23008-12)."""

from __future__ import annotations

import re

_PRIMARIES = {5: "BT.601", 6: "BT.601", 9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
_TRANSFERS = {8: "linear light", 16: "PQ", 18: "HLG"}


def depth(head: bytes) -> int:
    """Bits per channel: AV1 in ISOBMFF, section 2.3.

    Args:
        head: the first part of the file, with all properties of the picture.
    """
    found = re.search(rb"av1C\x81.(.)", head, re.DOTALL)
    flags = found[1][0] if found else 0
    return (12 if flags & 0x20 else 10) if flags & 0x40 else 8


def colours(head: bytes) -> tuple[str, str]:
    """Names of primaries and transfer (H.273); empty where they are those of sRGB or not given."""
    found = re.search(rb"colrnclx(..)(..)", head, re.DOTALL)
    if not found:
        return "", ""
    primaries, transfer = (int.from_bytes(value, "big") for value in found.groups())
    return _PRIMARIES.get(primaries, ""), _TRANSFERS.get(transfer, "")
