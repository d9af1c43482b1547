"""XMP that says nothing about what the protected photo no longer holds.

What is never carried over (pictures and maps inside or behind the main one, a motion video, the
second part of a long packet) is never announced either. What describes places in the picture turns
with it, or goes. Everything else stays as it was, and a packet without any of it byte for byte.

Sources: the XMP specification, the guidelines of the Metadata Working Group (regions), Android's
Motion Photo and Ultra HDR formats.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from xml.dom import Node, expatbuilder, minidom
from xml.parsers.expat import ExpatError

from rid_core.image.exif import turned

_TIFF = "http://ns.adobe.com/tiff/1.0/"
_EXIF = "http://ns.adobe.com/exif/1.0/"
_AREA = "http://ns.adobe.com/xmp/sType/Area#"
_DIMENSIONS = "http://ns.adobe.com/xap/1.0/sType/Dimensions#"
_REGIONS = "http://www.metadataworkinggroup.com/schemas/regions/"

# Some packets use these prefixes and declare nothing.
_USUAL_PREFIXES = {
    "tiff": _TIFF,
    "exif": _EXIF,
    "stArea": _AREA,
    "stDim": _DIMENSIONS,
    "mwg-rs": _REGIONS,
    "MP": "http://ns.microsoft.com/photo/1.2/",
    "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/",
    "HDRGainMap": "http://ns.apple.com/HDRGainMap/1.0/",
    "apdi": "http://ns.apple.com/pixeldatainfo/1.0/",
    "xmpGImg": "http://ns.adobe.com/xap/1.0/g/img/",
    "Container": "http://ns.google.com/photos/1.0/container/",
    "Item": "http://ns.google.com/photos/1.0/container/item/",
    "GImage": "http://ns.google.com/photos/1.0/image/",
    "GAudio": "http://ns.google.com/photos/1.0/audio/",
    "GDepth": "http://ns.google.com/photos/1.0/depthmap/",
}
_GONE = re.compile(
    r"http://ns\.adobe\.com/hdr-gain-map/"
    r"|http://ns\.apple\.com/(?:HDRGainMap|pixeldatainfo|depthblurinfo)/"
    r"|http://ns\.google\.com/photos/1\.0/(?:container|image|audio|depthmap|focus)/"
    r"|http://ns\.google\.com/photos/dd/"
    r"|http://ns\.adobe\.com/xap/1\.0/g/img/"
)
"""Namespaces of what is never carried over."""
_GONE_NAMES = re.compile(r"MotionPhoto|MicroVideo|HasExtendedXMP\Z|Thumbnails\Z")
"""The same in namespaces that hold other things too."""
_PICTURE = re.compile(r"\s*(?:/9j/|iVBORw0KGgo)")
"""How a JPEG or PNG begins in base64."""
_SIGNATURE = re.compile(r"\s*self#jumbf")
"""A reference to content credentials inside the file."""
_PLACES = re.compile(
    r"http://ns\.microsoft\.com/photo/1\.2/|http://ns\.acdsee\.com/regions"
    r"|http://ns\.apple\.com/faceinfo/"
)
"""Namespaces of regions that go when the photo is turned."""
_TURNED = "face regions dropped: the photo was turned"
_SWAPPED = {
    (_TIFF, "ImageWidth"): (_TIFF, "ImageLength"),
    (_EXIF, "PixelXDimension"): (_EXIF, "PixelYDimension"),
}


class _Property(NamedTuple):
    """A property: XMP writes it as an attribute or as an element."""

    node: minidom.Attr | minidom.Element
    space: str
    name: str

    @property
    def owner(self) -> Node:
        """The node whose property this is."""
        node = self.node
        owner = node.ownerElement if isinstance(node, minidom.Attr) else node.parentNode
        assert owner is not None
        return owner

    @property
    def text(self) -> str:
        """Its value, as far as that is plain text."""
        if isinstance(self.node, minidom.Attr):
            return str(self.node.value)
        return "".join(c.data for c in self.node.childNodes if c.nodeType == Node.TEXT_NODE)


class _Packet:
    """A packet that is edited."""

    def __init__(self, xmp: bytes) -> None:
        if b"<!DOCTYPE" in xmp:
            raise ValueError("it declares entities")
        try:
            # Without namespaces, which are looked up here: an undeclared prefix is no reason to
            # lose a packet.
            self.document = expatbuilder.parseString(xmp, namespaces=False)
        except (ExpatError, ValueError) as error:
            raise ValueError(f"it is not well-formed ({error})") from None
        self.changed = False

    def properties(self) -> list[_Property]:
        """All elements and attributes, outer ones first."""
        root = self.document.documentElement
        return [] if root is None else list(_walk(root, _USUAL_PREFIXES))

    def remove(self, found: _Property) -> None:
        node = found.node
        if isinstance(node, minidom.Attr):
            if node.ownerElement is not None:
                node.ownerElement.removeAttributeNode(node)
        elif node.parentNode is not None:
            node.parentNode.removeChild(node)
        self.changed = True

    def write(self, found: _Property, value: str) -> None:
        if value == found.text:
            return
        if isinstance(found.node, minidom.Attr):
            found.node.value = value
        else:
            for child in list(found.node.childNodes):
                found.node.removeChild(child)
            found.node.appendChild(self.document.createTextNode(value))
        self.changed = True

    def swap(self, one: _Property, other: _Property) -> None:
        first, second = one.text, other.text
        self.write(one, second)
        self.write(other, first)

    def bytes(self) -> bytes:
        return b"\n".join(node.toxml("utf-8") for node in self.document.childNodes)


def _walk(element: minidom.Element, spaces: Mapping[str, str]) -> Iterator[_Property]:
    attributes: list[minidom.Attr] = list(element.attributes.values())
    declared = {a.name[6:]: a.value for a in attributes if a.name.startswith("xmlns:")}
    spaces = {**spaces, **declared}
    nodes: list[minidom.Element | minidom.Attr] = [element, *attributes]
    for node in nodes:
        prefix, _, name = str(node.nodeName).rpartition(":")
        yield _Property(node, spaces.get(prefix, prefix), name)
    for child in list(element.childNodes):
        if isinstance(child, minidom.Element):
            yield from _walk(child, spaces)


def clean(xmp: bytes, orientation: int, size: tuple[int, int]) -> tuple[bytes, list[str]]:
    """The packet for the protected photo, which is upright and holds one picture.

    Args:
        xmp: the packet.
        orientation: EXIF orientation that was applied to the pixels.
        size: width and height before that.

    Returns:
        The packet and what had to go, one note each. What announces something outside of the
        packet goes without one: that thing has a note of its own.

    Raises:
        ValueError: it is not well-formed.
    """
    packet = _Packet(xmp.strip(b"\0 \t\r\n"))
    notes: dict[str, None] = {}
    for found in packet.properties():
        if found.space == "xmlns":
            if _GONE.match(found.text):
                packet.remove(found)
        elif _PICTURE.match(found.text):
            notes["picture in XMP dropped"] = None
            packet.remove(found)
        elif (
            _GONE.match(found.space)
            or _GONE_NAMES.match(found.name)
            or _SIGNATURE.match(found.text)
        ):
            packet.remove(found)
        elif (found.space, found.name) == (_TIFF, "Orientation"):
            packet.write(found, "1")
        elif orientation != 1 and (_PLACES.match(found.space) or found.name == "ImageRegion"):
            notes[_TURNED] = None
            packet.remove(found)
    if orientation != 1:
        try:
            _turn_regions(packet, orientation, size)
        except (KeyError, ValueError):
            notes[_TURNED] = None
            for found in packet.properties():
                if found.space == _REGIONS:
                    packet.remove(found)
    if orientation >= 5:
        everything = {(found.space, found.name): found for found in packet.properties()}
        for one, other in _SWAPPED.items():
            if one in everything and other in everything:
                packet.swap(everything[one], everything[other])
    return (packet.bytes() if packet.changed else xmp), list(notes)


def _structures(packet: _Packet, space: str) -> list[dict[str, _Property]]:
    """Structures whose fields are of a namespace, by the fields' names."""
    found: dict[Node, dict[str, _Property]] = {}
    for each in packet.properties():
        if each.space == space:
            found.setdefault(each.owner, {})[each.name] = each
    return list(found.values())


def _turn_regions(packet: _Packet, orientation: int, size: tuple[int, int]) -> None:
    """Turn regions of the Metadata Working Group, which refer to the stored picture.

    Raises:
        KeyError: a region that does not say where it lies.
        ValueError: in other units, or of a picture of another shape: whoever wrote it saw the
            photo turned already.
    """
    for whole in _structures(packet, _DIMENSIONS):
        width, height = float(whole["w"].text), float(whole["h"].text)
        if abs(width * size[1] - height * size[0]) > 0.02 * size[0] * height:
            raise ValueError("regions of another picture")
    for area in _structures(packet, _AREA):
        if "unit" in area and area["unit"].text != "normalized":
            raise ValueError("a region in other units")
        x, y = turned(float(area["x"].text), float(area["y"].text), (1, 1), orientation)
        packet.write(area["x"], f"{x:.9g}")
        packet.write(area["y"], f"{y:.9g}")
    if orientation >= 5:
        for sized in (*_structures(packet, _DIMENSIONS), *_structures(packet, _AREA)):
            if "w" in sized or "h" in sized:
                packet.swap(sized["w"], sized["h"])
