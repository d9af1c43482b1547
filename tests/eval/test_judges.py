"""Judges of faces, what they are checked on, and the command that prints it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rid_core.errors import MissingExtraError, RidError
from rid_core.faces import SFACE, largest, model_file
from rid_eval import judges
from rid_eval.cli import group
from rid_eval.judges import Judge, load_judge, template
from rid_eval.people import list_people, load_people
from rid_eval.verification import photo_pairs, photos_to_people, verify
from rid_export.portraits import bundled_portraits


@pytest.fixture(scope="module")
def judge() -> Judge:
    try:
        return load_judge()
    except MissingExtraError as error:
        pytest.skip(str(error))


def test_a_turned_darkened_copy_is_the_same_person(judge: Judge, astronaut: np.ndarray) -> None:
    image = Image.fromarray(astronaut)
    other = np.asarray(image.rotate(8).resize((300, 300))) // 2
    one, same, none = judge.embed([astronaut, other, np.zeros((64, 64, 3), np.uint8)])
    assert one is not None
    assert same is not None
    assert none is None
    assert one.shape == (128,)
    assert float(one @ one) == pytest.approx(1)
    assert float(one @ same) > 0.7


def test_a_tight_crop_is_found_and_recognised(judge: Judge, astronaut: np.ndarray) -> None:
    tight = astronaut[70:190, 165:275]
    whole, cut = judge.embed([astronaut, tight])
    assert whole is not None
    assert cut is not None
    assert float(whole @ cut) > 0.6


def test_weights_are_no_inputs_any_more(judge: Judge) -> None:
    """The file as it is cannot be run; the mended one differs in its list of inputs alone."""
    onnx = pytest.importorskip("onnx")
    model = model_file(SFACE).read_bytes()
    before, after = onnx.load_from_string(model), onnx.load_from_string(
        judges.without_weights_as_inputs(model))  # fmt: skip
    assert len(before.graph.input) > 1
    assert [value.name for value in after.graph.input] == ["data"]
    del before.graph.input[:], after.graph.input[:]
    assert before == after


def test_an_unknown_judge_and_a_foreign_file(tmp_path: Path) -> None:
    with pytest.raises(RidError, match="known: sface, dlib"):
        load_judge("arcface")
    path = tmp_path / "sface.onnx"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(RidError, match="cannot be loaded as SFace"):
        judges.SFace(path)


def test_without_dlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(RidError, match="eval-dlib"):
        judges.DlibResNet()


def test_thresholds_count_what_they_say() -> None:
    found = verify([0.9, 0.5, 0.2, 0.8], list(np.linspace(0, 0.4, 101)))
    assert found.fpr <= 0.01
    assert found.threshold == pytest.approx(0.4, abs=0.005)
    assert found.tpr == 0.75
    assert verify([0.9, 0.1], [0.3, 0.0], 0.2).fpr == 0.5
    with pytest.raises(RidError, match="two people"):
        verify([0.5], [])


def test_pairs_and_means_of_people() -> None:
    east, north = np.array([1.0, 0]), np.array([0.0, 1])
    people = {"a": [east, east, east], "b": [north, north]}
    same, different = photo_pairs(people)
    assert (len(same), len(different)) == (4, 6)
    assert set(same) == {1.0}
    assert set(different) == {0.0}
    same, different = photos_to_people(people)
    assert (len(same), len(different)) == (5, 5)
    assert min(same) == pytest.approx(1)
    with pytest.raises(RidError, match="no face"):
        template([])


def test_it_finds_and_embeds_what_onnx_runtime_did(judge: Judge, astronaut: np.ndarray) -> None:
    """Against answers of the same networks run by ONNX Runtime, with NMS and alignment by hand.

    Pillow's cubic, which turned the faces then, differs a little from OpenCV's.
    """
    wanted = json.loads((Path(__file__).parent / "judge_reference.json").read_text())
    images = {"astronaut": astronaut, "tight": astronaut[70:190, 165:275]}
    for number, image in enumerate(bundled_portraits(256)):
        images[f"portrait-{number}"] = np.rint(image * 255).astype(np.uint8)
    assert images.keys() == wanted.keys()
    for name, image in images.items():
        (found,), known = judge.faces([image]), wanted[name]
        face = largest(found)
        assert face is not None
        assert len(found) == known["faces"]
        np.testing.assert_allclose(face.box, known["box"], atol=0.02)
        np.testing.assert_allclose(face.landmarks, known["landmarks"], atol=0.02)
        assert face.score == pytest.approx(known["score"], abs=1e-3)
        assert float(judge.recognizer.embed(image, face) @ known["embedding"]) > 0.995, name


@pytest.fixture
def two_people(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """Two people who are one, a photo without a face and one with two of them."""
    image = Image.fromarray(astronaut).crop((100, 0, 356, 256))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(3):
            image.rotate(3 * number).save(tmp_path / name / f"{number}.png")
    Image.new("RGB", (64, 64)).save(tmp_path / "a" / "empty.png")
    double = Image.new("RGB", (512, 256))
    double.paste(image, (0, 0))
    double.paste(image, (256, 0))
    double.save(tmp_path / "b" / "two.png")
    return tmp_path


def test_unfit_photos_are_left_out_by_name(judge: Judge, two_people: Path) -> None:
    people = load_people(two_people, judge)
    assert [len(person.portraits) for person in people] == [3, 3]
    assert people[0].left_out == {"empty.png": "no face found"}
    assert people[1].left_out == {"two.png": "2 faces"}
    with pytest.raises(RidError, match="folder per person"):
        list_people(two_people / "nobody")
    with pytest.raises(RidError, match="holds no folders"):
        list_people(two_people / "a")


def test_the_command_prints_and_writes(
    judge: Judge, two_people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "judges.json"
    group.main(["judges", "--people", str(two_people), "--json", str(target), "--quiet"],
               standalone_mode=False)  # fmt: skip
    assert "6 photos with one face, 2 left out" in capsys.readouterr().out
    found = json.loads(target.read_text())
    assert found["what"] == "judges"
    checks = found["judges"]["sface"]["checks"]
    # Both are the same person: nothing can tell them apart.
    assert checks["photos, the authors' threshold"]["fpr"] == 1.0


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.shared
def test_the_judge_tells_real_people_apart(judge: Judge, shared: Path) -> None:
    people = load_people(shared / "data" / "people", judge, limit=3)
    vectors = {person.name: [p.embedding for p in person.portraits] for person in people}
    check = verify(*photos_to_people(vectors))
    assert check.tpr > 0.95
    assert check.fpr <= 0.01


def test_help_is_fast_because_nothing_heavy_is_imported() -> None:
    heavy = ("torch", "numpy", "onnxruntime", "cv2", "PIL")
    code = (
        "import sys; from rid_eval.cli import group; "
        "group.main(['--help'], standalone_mode=False); "
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip().endswith("[]")
