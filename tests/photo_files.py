"""Photos' files made by hand, byte by byte, where Pillow writes none of the kind."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image
from skimage import data

FACE = data.astronaut()[:256, 100:300]  # [256, 200, 3]


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png(values: np.ndarray, depth: int, colour: int, extra: bytes = b"", end: bytes = b"") -> bytes:
    """A PNG of any depth and colour type.

    Args:
        values: [H, W, C], as they are stored.
        depth: bits per channel.
        colour: type: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha.
        extra: chunks before the pixels.
        end: bytes behind the file.
    """
    height, width = values.shape[:2]
    rows = values.reshape(height, -1)
    if depth == 16:
        packed = [row.astype(">u2").tobytes() for row in rows]
    else:
        bits = (rows[:, :, None] >> np.arange(depth - 1, -1, -1)) & 1
        packed = [np.packbits(row.reshape(-1).astype(np.uint8)).tobytes() for row in bits]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in packed)))
        + chunk(b"IEND", b"")
        + end
    )


def jpeg(pixels: np.ndarray = FACE, *segments: tuple[int, bytes], end: bytes = b"", **options):
    """A JPEG with further segments (marker, content) after its beginning and bytes behind it."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, **options)
    content = buffer.getvalue()
    inserted = b"".join(
        bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body for marker, body in segments
    )
    return content[:2] + inserted + content[2:] + end


def box(name: bytes, content: bytes) -> bytes:
    """A box of HEIC, AVIF or MP4."""
    return struct.pack(">I", len(content) + 8) + name + content


VIDEO = box(b"ftyp", b"mp42\0\0\0\0isommp42") + box(b"mdat", bytes(500))


def xmp(attributes: str = "", inside: str = "", rdf: str = "") -> bytes:
    """A packet with properties as attributes and as elements."""
    spaces = {
        "tiff": "http://ns.adobe.com/tiff/1.0/",
        "exif": "http://ns.adobe.com/exif/1.0/",
        "xmp": "http://ns.adobe.com/xap/1.0/",
        "xmpNote": "http://ns.adobe.com/xmp/note/",
        "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
        "GCamera": "http://ns.google.com/photos/1.0/camera/",
        "Container": "http://ns.google.com/photos/1.0/container/",
        "Item": "http://ns.google.com/photos/1.0/container/item/",
        "GDepth": "http://ns.google.com/photos/1.0/depthmap/",
        "mwg-rs": "http://www.metadataworkinggroup.com/schemas/regions/",
        "stArea": "http://ns.adobe.com/xmp/sType/Area#",
        "stDim": "http://ns.adobe.com/xap/1.0/sType/Dimensions#",
        "MP": "http://ns.microsoft.com/photo/1.2/",
    }
    used = " ".join(
        f'xmlns:{prefix}="{uri}"'
        for prefix, uri in spaces.items()
        if f"{prefix}:" in attributes + inside
    )
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {used} {attributes}>{inside}</rdf:Description>'
        f'{rdf}</rdf:RDF></x:xmpmeta>\n<?xpacket end="w"?>'
    ).encode()
