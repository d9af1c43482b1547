"""One form for every description of colour: an ICC profile of RGB values.

Files say in several ways what their values mean: an ICC profile, code points of ITU-T H.273
(``cICP`` of PNG, ``nclx`` of HEIC and AVIF), a gamma and chromaticities (``gAMA``, ``cHRM`` of
PNG), or the word sRGB. Every format that is written holds a profile, so each of them becomes one.

Sources: ICC.1:2010 (profile version 4.2), ITU-T H.273 (code points), the PNG specification.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

_D50 = (0.9642, 1.0, 0.8249)
_D65 = (0.3127, 0.3290)
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)

Chromaticities = tuple[float, ...]
"""Eight numbers: x and y of white, red, green and blue, in the order of PNG's ``cHRM``."""

SRGB_PRIMARIES: Chromaticities = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)

_PRIMARIES: dict[int, Chromaticities] = {
    1: SRGB_PRIMARIES,
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),  # BT.470 M
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),  # BT.601, 625 lines
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),  # BT.601, 525 lines
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),  # SMPTE 240M
    8: (0.310, 0.316, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),  # film
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # DCI P3
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
    22: (*_D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),  # EBU 3213
}

Curve = tuple[float, ...]
"""Of a value x in [0, 1]: ``x ** g`` as (g,); or (g, a, b, c, d), which is
``(a x + b) ** g`` from d on and ``c x`` below."""

SRGB_CURVE: Curve = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_BT709_CURVE: Curve = (1 / 0.45, 1 / 1.099297, 0.099297 / 1.099297, 1 / 4.5, 0.081243)
_CURVES: dict[int, Curve] = {
    **dict.fromkeys((1, 6, 11, 12, 14, 15), _BT709_CURVE),
    4: (2.2,),
    5: (2.8,),
    7: (1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4, 0.0912),
    8: (1.0,),
    13: SRGB_CURVE,
    17: (2.6,),
}
_HDR = {16: "PQ", 18: "HLG"}
_UNSPECIFIED = 2


class HdrError(ValueError):
    """Values are encoded for HDR screens, which eight bits and a profile cannot hold."""


@dataclass(frozen=True)
class CodePoints:
    """Colour as H.273 numbers it: ``cICP`` and ``nclx``.

    Attributes:
        primaries: ColourPrimaries.
        transfer: TransferCharacteristics.
        full_range: whether RGB values reach from 0 to 255, not from 16 to 235 as in video.
    """

    primaries: int
    transfer: int
    full_range: bool = True

    def profile(self) -> bytes:
        """The same as an ICC profile, or nothing where the file leaves both unspecified.

        Raises:
            HdrError: PQ or HLG.
            ValueError: a code point without a meaning that is known here.
        """
        if self.transfer in _HDR:
            raise HdrError(_HDR[self.transfer])
        if not self.full_range:
            raise ValueError("values from 16 to 235")
        if self.primaries == self.transfer == _UNSPECIFIED:
            return b""
        primaries = {**_PRIMARIES, _UNSPECIFIED: SRGB_PRIMARIES}.get(self.primaries)
        curve = {**_CURVES, _UNSPECIFIED: SRGB_CURVE}.get(self.transfer)
        if primaries is None or curve is None:
            raise ValueError(f"primaries {self.primaries}, transfer {self.transfer}")
        return profile(primaries, curve)


@dataclass(frozen=True)
class GammaAndChromaticities:
    """Colour as PNG's older chunks state it; what is left out is that of sRGB.

    Attributes:
        gamma: exponent of the file's encoding as in ``gAMA``: 0.45455 for a screen of 2.2.
        chromaticities: as in ``cHRM``.
    """

    gamma: float | None = None
    chromaticities: Chromaticities | None = None

    def profile(self) -> bytes:
        """The same as an ICC profile.

        Raises:
            ValueError: impossible values.
        """
        curve = SRGB_CURVE
        if self.gamma is not None:
            if not 0.1 <= self.gamma <= 10:
                raise ValueError(f"a gamma of {self.gamma:g}")
            curve = (1 / self.gamma,)
        return profile(self.chromaticities or SRGB_PRIMARIES, curve)


def profile(chromaticities: Chromaticities, curve: Curve) -> bytes:
    """An ICC profile of RGB values.

    Raises:
        ValueError: chromaticities that span no colours.
    """
    kind = {1: 0, 5: 3}[len(curve)]
    content = struct.pack(">HH", kind, 0) + b"".join(_fixed(value) for value in curve)
    return _matrix_profile(chromaticities, b"para" + bytes(4) + content)


def usable_profile(icc: bytes) -> bytes:
    """A file's own profile for what its pixels become here, which is RGB.

    A profile of grey values turns into one of RGB values with the same curve.

    Raises:
        HdrError: PQ or HLG.
        ValueError: it describes other values.
    """
    tags = _tags(icc)
    # The tag that says it in H.273's numbers came with version 4.4.
    points = tags.get(b"cicp", b"")
    if len(points) >= 12 and points[9] in _HDR:
        raise HdrError(_HDR[points[9]])
    space = icc[16:20]
    if space == b"RGB ":
        return icc
    if space == b"GRAY" and icc[20:24] == b"XYZ " and tags.get(b"kTRC"):
        return _matrix_profile(SRGB_PRIMARIES, tags[b"kTRC"])
    raise ValueError(f"it describes {space.decode('latin-1').strip() or 'nothing'}")


def _tags(icc: bytes) -> dict[bytes, bytes]:
    """Contents of a profile's tags, without those that lie outside."""
    if len(icc) < 132:
        return {}
    count = min(struct.unpack_from(">I", icc, 128)[0], (len(icc) - 132) // 12)
    entries = [struct.unpack_from(">4sII", icc, 132 + 12 * k) for k in range(count)]
    return {name: icc[at : at + size] for name, at, size in entries if at + size <= len(icc)}


def _fixed(value: float) -> bytes:
    """s15Fixed16Number."""
    return struct.pack(">i", round(value * 65536))


def _xyz(values: tuple[float, ...] | np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(_fixed(float(value)) for value in values)


def _text(text: str) -> bytes:
    """A multiLocalizedUnicodeType with one English record."""
    encoded = text.encode("utf-16-be")
    return (
        b"mluc"
        + bytes(4)
        + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(encoded), 28)
        + encoded
    )


def _matrices(chromaticities: Chromaticities) -> tuple[np.ndarray, np.ndarray]:
    """(RGB to XYZ under D50, its chromatic adaptation), 3 x 3 each."""
    xy = np.array(chromaticities).reshape(4, 2)
    if not (np.isfinite(xy).all() and (xy[:, 1] > 1e-4).all()):
        raise ValueError("chromaticities that are no colours")
    colours = (np.column_stack([xy, 1 - xy.sum(axis=1)]) / xy[:, 1:]).T
    white, primaries = colours[:, 0], colours[:, 1:]
    if abs(np.linalg.det(primaries)) < 1e-6:
        raise ValueError("chromaticities on one line")
    scaled = primaries * np.linalg.solve(primaries, white)
    cones = (_BRADFORD @ np.array(_D50)) / (_BRADFORD @ white)
    adaptation = np.linalg.solve(_BRADFORD, cones[:, None] * _BRADFORD)
    return adaptation @ scaled, adaptation


def _matrix_profile(chromaticities: Chromaticities, curve: bytes) -> bytes:
    """A profile of three columns and one curve, given as the content of its tag."""
    columns, adaptation = _matrices(chromaticities)
    if np.abs(columns).max() > 100 or np.abs(adaptation).max() > 100:
        raise ValueError("chromaticities out of range")
    chad = b"sf32" + bytes(4) + b"".join(_fixed(float(v)) for v in adaptation.reshape(-1))
    tags = {
        b"desc": _text("RGB as the original described it"),
        b"cprt": _text("No copyright"),
        b"wtpt": _xyz(_D50),
        b"chad": chad,
        **{name: _xyz(columns[:, k]) for k, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))},
        b"rTRC": curve,
    }
    body, table, at = b"", [], 132 + 12 * (len(tags) + 2)
    for name, content in tags.items():
        table.append((name, at + len(body), len(content)))
        body += content + bytes(-len(content) % 4)
    table += [(name, *table[-1][1:]) for name in (b"gTRC", b"bTRC")]  # one curve for all three
    entries = b"".join(struct.pack(">4sII", *entry) for entry in table)
    header = struct.pack(
        ">I4sI4s4s4s6H4s28x", at + len(body), b"", 0x04200000, b"mntr", b"RGB ", b"XYZ ",
        2026, 1, 1, 0, 0, 0, b"acsp",
    )  # fmt: skip
    header += b"".join(_fixed(value) for value in _D50)
    return header.ljust(128, b"\0") + struct.pack(">I", len(table)) + entries + body
