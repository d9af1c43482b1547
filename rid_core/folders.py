"""What a folder holds: its pictures, and all that has to be left out, each with its reason."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

MARK = ".protected"
"""Comes before the ending of an output that lies beside its photo."""
_WEB_AND_PHONES = (
    ".jpg .jpeg .jpe .jfif .jif .jfi .png .apng .webp .heic .heif .hif .heics .heifs .avif .avifs "
    ".gif .bmp .dib .tif .tiff .jp2 .j2k .jpf .jpx .jpm .j2c .jxl .jxr .wdp .hdp .mpo .jps"
)
_CAMERAS = (
    ".dng .raw .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .raf .rw2 .rwl .orf .pef .ptx .srw .x3f "
    ".3fr .fff .iiq .erf .kdc .dcr .dcs .mef .mos .mrw .gpr .bay .cap"
)
_EDITORS_AND_PRINTING = (
    ".psd .psb .xcf .kra .ora .tga .pcx .ppm .pgm .pbm .pnm .pam .pfm .exr .hdr .dds .ico .icns "
    ".sgi .qoi .svg .svgz .eps"
)
IMAGE_SUFFIXES = frozenset(f"{_WEB_AND_PHONES} {_CAMERAS} {_EDITORS_AND_PRINTING}".split())
"""Endings of picture files, readable or not: one that is met and not used has to be named."""


@dataclass
class Listing:
    """What was found in a folder.

    Attributes:
        images: files that end as pictures do, sorted; whether they can be read is not known yet.
        left_out: what cannot be looked at, and why, sorted: folders that cannot be read, links to
            folders, and what is named like a picture and is no file.
    """

    images: list[Path] = field(default_factory=list)
    left_out: list[tuple[Path, str]] = field(default_factory=list)


def list_images(folder: Path, *, recursive: bool, skip: Path | None = None) -> Listing:
    """Look for pictures in a folder; hidden files and folders are passed over.

    Nothing stops it: a folder that cannot be read, the first one included, is listed as left out.
    Links to folders are not followed, so that no circle of links is run through for ever.

    Args:
        folder: where to look.
        recursive: look into folders inside it as well.
        skip: a folder inside it that is passed over without a word.
    """
    found = Listing()
    skipped = None if skip is None else os.path.realpath(skip)
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            entries = list(os.scandir(here))
        except OSError as error:
            found.left_out.append((here, f"cannot be read ({error.strerror or error})"))
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = here / entry.name
            if _is_folder(entry):
                if not recursive or (skipped and os.path.realpath(path) == skipped):
                    continue
                if entry.is_symlink():
                    found.left_out.append((path, "a link to a folder; name it to look into it"))
                else:
                    waiting.append(path)
            elif path.suffix.lower() in IMAGE_SUFFIXES:
                # A link that leads nowhere counts as a picture: opening it says what is wrong.
                if entry.is_symlink() or entry.is_file():
                    found.images.append(path)
                else:
                    found.left_out.append((path, "is no file"))
    found.images.sort()
    found.left_out.sort()
    return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, or to where we may not look
        return False
