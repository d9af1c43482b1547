"""Steps of the APK that the Android Gradle plugin would do; standard library only."""

from __future__ import annotations

import re
import struct
import sys
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path
from typing import BinaryIO

PAGE = 16_384
_CLASSES = (
    "ui/MainActivity",
    "ui/CameraActivity",
    "bench/BenchmarkActivity",
    "engine/LiteRtEngine",
)
_ANDROID = "http://schemas.android.com/apk/res/android"
_TOOLS = "http://schemas.android.com/tools"
_PADDING = 0xD935
"""Id of the extra field that zipalign and apksigner use for padding."""
_LOADED = 1
"""Type of an ELF segment that is mapped into memory."""


def manifest(source: Path, target: Path) -> None:
    """Merge: elements marked tools:node="remove" go, the package name comes."""
    ET.register_namespace("android", _ANDROID)
    tree = ET.parse(source)
    root = tree.getroot()
    for element in list(root):
        if element.get(f"{{{_TOOLS}}}node") == "remove":
            root.remove(element)
    root.set("package", "org.rid.demo")
    tree.write(target, encoding="utf-8", xml_declaration=True)


def pack(base: Path, dex: Path, libraries: Path, target: Path) -> None:
    """Add code and libraries to aapt2's APK; stored entries are aligned, libraries to 16 KB."""
    with zipfile.ZipFile(base) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            _add(new, info.filename, old.read(info), info.compress_type)
        _add(new, "classes.dex", dex.read_bytes(), zipfile.ZIP_DEFLATED)
        for library in sorted(libraries.glob("*/*.so")):
            name = f"lib/{library.parent.name}/{library.name}"
            _add(new, name, library.read_bytes(), zipfile.ZIP_STORED)


def _add(archive: zipfile.ZipFile, name: str, data: bytes, method: int) -> None:
    info = zipfile.ZipInfo(name)
    info.compress_type = method
    if method == zipfile.ZIP_STORED:
        assert archive.fp is not None
        unit = PAGE if name.endswith(".so") else 4
        padding = -(archive.fp.tell() + 30 + len(name.encode())) % unit
        if 0 < padding < 4:
            padding += unit
        if padding:
            info.extra = struct.pack("<HH", _PADDING, padding - 4) + bytes(padding - 4)
    archive.writestr(info, data)


def check(apk: Path, badging: str, classes: str) -> list[str]:
    """What is wrong with a signed APK: its manifest, its classes, its libraries on 16 KB pages."""
    wrong = []
    for wanted in ("package: name='org.rid.demo'", "minSdkVersion:'26'", "targetSdkVersion:'36'"):
        if wanted not in badging:
            wrong.append(f"the manifest has no {wanted}")
    if "INTERNET" in badging:
        wrong.append("the app may use the network")
    if "uses-feature: name='android.hardware.camera'" in badging:
        wrong.append("phones without a camera are shut out")
    names = set(re.findall(r"^L([\w/$]+);", classes, re.MULTILINE))
    for name in _CLASSES:
        if f"org/rid/demo/{name}" not in names:
            wrong.append(f"the dex has no {name}")
    if "ai/onnxruntime/OrtSession" not in names:
        wrong.append("the dex has no ONNX Runtime")
    with zipfile.ZipFile(apk) as archive, apk.open("rb") as handle:
        for model in ("rid-s.tflite", "rid-s.onnx"):
            if archive.getinfo(f"assets/{model}").compress_type != zipfile.ZIP_STORED:
                wrong.append(f"{model} is compressed")
        for info in archive.infolist():
            if info.filename.endswith(".so"):
                wrong += _library(archive, info, handle)
    return wrong


def _library(archive: zipfile.ZipFile, info: zipfile.ZipInfo, handle: BinaryIO) -> list[str]:
    handle.seek(info.header_offset + 26)
    name, extra = struct.unpack("<HH", handle.read(4))
    wrong = []
    if info.compress_type != zipfile.ZIP_STORED or (info.header_offset + 30 + name + extra) % PAGE:
        wrong.append(f"{info.filename} is compressed, or not at a multiple of {PAGE}")
    data = archive.read(info)
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for at in range(table, table + size * count, size):
        (kind,) = struct.unpack_from("<I", data, at)
        (alignment,) = struct.unpack_from("<Q", data, at + 48)
        if kind == _LOADED and alignment % PAGE:
            wrong.append(f"{info.filename} is built for pages of {alignment} bytes")
    return wrong


def main() -> int:
    """Run the step that the first argument names; the rest are its files."""
    step, *arguments = sys.argv[1:]
    paths = [Path(argument) for argument in arguments]
    if step == "manifest":
        manifest(*paths)
    elif step == "pack":
        pack(*paths)
    elif step == "check":
        wrong = check(paths[0], paths[1].read_text(), paths[2].read_text())
        print("\n".join(wrong) or "manifest, classes, models and 16 KB pages are as they should be")
        return bool(wrong)
    return 0


if __name__ == "__main__":
    sys.exit(main())
