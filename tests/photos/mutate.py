"""A seeded mutator: damage as disks, networks, other tools and people of ill will do it."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Sequence

_TELLING = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
_SIZES = (0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)


def mutant(data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """A changed copy of a file: one to four changes, now and then with its checksums made good.

    Args:
        data: a sound file.
        others: further sound files, of which parts are put in.
        chance: decides everything, so that a seed gives the same file again.
    """
    found = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        _change(found, others, chance)
    if found.startswith(b"\x89PNG") and chance.random() < 0.7:
        return _with_checksums(bytes(found))
    return bytes(found)


def _change(found: bytearray, others: Sequence[bytes], chance: random.Random) -> None:
    # Headers are short and decide on everything: half of all changes are in the first part.
    end = min(len(found), 200) if chance.random() < 0.5 else len(found)
    at = chance.randrange(max(end, 1))
    length = min(chance.choice((1, 2, 4, 8, 64, 1000)), len(found) - at)
    kind = chance.randrange(8)
    if kind == 0:
        found[at : at + 1] = bytes([found[at] ^ 1 << chance.randrange(8)]) if found else b"\0"
    elif kind == 1:
        found[at : at + 1] = bytes([chance.choice(_TELLING)])
    elif kind == 2:
        value = chance.choice(_SIZES)
        size = chance.choice((2, 4))
        order = chance.choice("<>")
        packed = struct.pack(order + "I", value)
        found[at : at + size] = packed[:size] if order == "<" else packed[-size:]
    elif kind == 3:
        found[at : at + length] = chance.randbytes(length)
    elif kind == 4:
        del found[at : at + length]
    elif kind == 5:
        found[at:at] = found[at : at + length]
    elif kind == 6:
        del found[at:]
    else:
        other = chance.choice(others)
        start = chance.randrange(len(other))
        found[at : at + length] = other[start : start + length]


def _with_checksums(data: bytes) -> bytes:
    """A PNG whose checksums are right again, so that its content is looked at."""
    found = bytearray(data)
    at = 8
    while at + 12 <= len(found):
        (length,) = struct.unpack_from(">I", found, at)
        end = at + 8 + length
        if end + 4 > len(found):
            break
        struct.pack_into(">I", found, end, zlib.crc32(found[at + 4 : end]))
        at = end + 4
    return bytes(found)
