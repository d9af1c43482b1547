"""The portraits that artefacts are measured on: the bundled ones, or a folder of the user's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from rid_core.errors import RidError, printable
from rid_core.image import io as photo
from rid_core.quantization.views import View

LEAST_VIEWS = 8
"""The gate runs on at least this many images."""


VIEWS = (
    View(y=0.0),
    View(scale=0.75, x=0.2, y=0.1, flip=True, exposure=0.5),
    View(scale=0.5, x=0.5, y=0.25, exposure=1.3),
    View(scale=0.85, x=0.9, y=1.0, exposure=1.8),
)
"""Of each bundled portrait: as it is; mirrored and dark; the face alone; bright, from below."""


def bundled_files() -> list[Path]:
    """Files of the portraits that come with the package, sorted.

    Raises:
        RidError: the package is incomplete.
    """
    folder = Path(str(resources.files("rid_core"))) / "assets" / "portraits"
    files = sorted(folder.glob("*.jpg"))
    if not files:
        raise RidError(f"no portraits in {folder}; the installation is incomplete")
    return files


_SIZES = (
    *((256, 512), (512, 528), (640, 480), (480, 640), (768, 768), (1024, 2048)),
    # More cells of 16 pixels than the 128 that the mobile networks have codes for.
    *((2064, 32), (32, 2064)),
)
"""Height and width, in pixels, at which a file that takes any size is run: both orientations, sides
below 512 and above, and each axis alone far above."""


def of_many_sizes(portraits: Sequence[np.ndarray] | np.ndarray, stride: int) -> list[np.ndarray]:
    """What a file that takes any size is run on as well: one portrait of each of many sizes.

    Args:
        portraits: [side, side, 3] of any type; each is continued by its mirror image.
        stride: multiple of pixels that the network works in; sizes are rounded down to it.

    Returns:
        [H, W, 3] of that type, the smallest possible first.
    """
    sizes = [
        (stride, stride),
        *(
            (max(height // stride, 1) * stride, max(width // stride, 1) * stride)
            for height, width in _SIZES
        ),
    ]
    found = []
    for number, (height, width) in enumerate(dict.fromkeys(sizes)):
        portrait = portraits[number % len(portraits)]
        more = (max(height - portrait.shape[0], 0), max(width - portrait.shape[1], 0))
        larger = np.pad(portrait, ((0, more[0]), (0, more[1]), (0, 0)), mode="symmetric")
        found.append(np.ascontiguousarray(larger[:height, :width]))
    return found


@dataclass(frozen=True, eq=False)
class Portraits:
    """What the gate runs on.

    Attributes:
        images: float32 RGB in [0, 1], each [side, side, 3]. Values are whole 8-bit levels, as any
            photo's are, so that image types lose nothing.
        origin: for people, such as ``8 views of 2 portraits``.
    """

    images: Sequence[np.ndarray]
    origin: str


def _float(pixels: np.ndarray) -> np.ndarray:
    unit: np.ndarray = pixels.astype(np.float32) / np.float32(255)
    return unit


def bundled_portraits(resolution: int) -> list[np.ndarray]:
    """Eight views of the two bundled portraits: float32 RGB in [0, 1], [side, side, 3].

    Raises:
        RidError: the package is incomplete.
    """
    pixels = [photo.load(file).pixels for file in bundled_files()]
    return [_float(view.apply(each, resolution)) for view in VIEWS for each in pixels]


def gate_portraits(resolution: int, folder: Path | None = None) -> Portraits:
    """The images for the gate: the bundled views, or the user's own photos.

    Args:
        resolution: height and width, in pixels.
        folder: of photos; each gives its centre square at the working scale.

    Raises:
        RidError: the folder has fewer than :data:`LEAST_VIEWS` usable photos.
    """
    if folder is None:
        images = bundled_portraits(resolution)
        return Portraits(images, f"{len(images)} views of {len(bundled_files())} portraits")
    found = read_folder(folder, View().apply, resolution)
    if len(found.images) < LEAST_VIEWS:
        raise RidError(
            f"{folder} has {len(found.images)} usable photos{found.skipped_text()}; the gate needs "
            f"at least {LEAST_VIEWS}: add some, or leave --portraits out for the bundled ones"
        )
    images = [_float(image) for image in found.images]
    return Portraits(images, f"{len(images)} photos of {folder.name}{found.skipped_text()}")


@dataclass(frozen=True, eq=False)
class PortraitFolder:
    """What a folder of photos gave.

    Attributes:
        images: uint8 RGB [side, side, 3], in the order of the files' names.
        skipped: names of the files that could not be used.
        reason: why the first of them could not.
    """

    images: list[np.ndarray]
    skipped: list[str]
    reason: str = ""

    def skipped_text(self) -> str:
        """``, 2 files skipped (why the first; also the others' names)`` or nothing."""
        if not self.skipped:
            return ""
        plural = "s" if len(self.skipped) > 1 else ""
        others = printable(", ".join(self.skipped[1:]))
        also = f"; also {others}" if others else ""
        return f", {len(self.skipped)} file{plural} skipped ({self.reason}{also})"


def photo_files(folder: Path) -> Iterator[Path]:
    """Files of a folder that are not hidden, by name; folders inside it are left alone.

    Raises:
        RidError: no such folder, or one that cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            # A link that leads nowhere stays in: loading it says what is wrong with it.
            names = [e.name for e in entries if not e.name.startswith(".") and not e.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        raise RidError(f"{folder}: no such folder of photos") from None
    except OSError as error:
        raise RidError(f"{folder}: cannot be read ({error.strerror or error})") from None
    yield from (folder / name for name in sorted(names))


def read_folder(
    folder: Path,
    view: Callable[[np.ndarray, int], np.ndarray],
    side: int,
    limit: int | None = None,
) -> PortraitFolder:
    """Read the photos of a folder through the working view.

    Args:
        folder: where they lie.
        view: makes uint8 [side, side, 3] of uint8 [H, W, 3].
        side: height and width of what is wanted.
        limit: read at most this many usable photos.

    Raises:
        RidError: no such folder. Files that are no photos, or damaged, are counted and skipped.
    """
    images: list[np.ndarray] = []
    skipped: list[str] = []
    reason = ""
    for file in photo_files(folder):
        if limit is not None and len(images) == limit:
            break
        try:
            images.append(view(photo.load(file).pixels, side))
        except RidError as error:
            reason = reason or str(error)
            skipped.append(file.name)
    return PortraitFolder(images, skipped, reason)
