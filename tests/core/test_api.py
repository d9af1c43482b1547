"""``import rid_core as rid``: every kind of image, the bundled models, batches, and no torch."""

from __future__ import annotations

import doctest
import hashlib
import io
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import rid_core as rid
import rid_core.api
import rid_core.errors
from rid_core import checkpoint
from rid_core.artifact import check_digest, read_metadata
from rid_core.budget import verify

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model() -> rid.Protector:
    return rid.load("rid-n", threads=1)


@pytest.mark.parametrize("module", [rid, rid_core.api, rid_core.errors])
def test_examples_run(module) -> None:
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


def test_names_are_there() -> None:
    assert set(rid.__all__) < set(dir(rid))
    for name in rid.__all__:
        assert getattr(rid, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'protekt'"):
        _ = rid.protekt


def test_array(model: rid.Protector, astronaut: np.ndarray) -> None:
    protected = model.protect(astronaut)
    assert protected.dtype == np.uint8
    assert verify(astronaut, protected).max_levels == 8
    weak = rid.protect(astronaut, "rid-n", levels=4, strength=0.5)
    assert verify(astronaut, weak).max_levels == 2
    with pytest.raises(rid.RidError, match=r"uint8 RGB of shape \[H, W, 3\], not float32"):
        model.protect(astronaut.astype(np.float32))


def test_picture(model: rid.Protector, astronaut: np.ndarray) -> None:
    tags = Image.Exif()
    tags[0x112] = 6  # stored lying on its side
    lying = Image.fromarray(np.rot90(astronaut).copy())
    lying.putalpha(77)
    stream = io.BytesIO()
    lying.save(stream, "PNG", exif=tags, icc_profile=b"profile" * 30)
    protected = model.protect(Image.open(io.BytesIO(stream.getvalue())))
    assert protected.mode == "RGBA"
    assert set(protected.info) <= {"icc_profile", "dpi"}
    np.testing.assert_array_equal(np.asarray(protected)[:, :, :3], model.protect(astronaut))
    assert np.asarray(protected)[:, :, 3].min() == np.asarray(protected)[:, :, 3].max() == 77
    with pytest.raises(rid.RidError, match="pixels of kind CMYK; convert it to RGB first"):
        model.protect(Image.new("CMYK", (512, 512)))


def test_bytes(model: rid.Protector, astronaut: np.ndarray) -> None:
    tags = Image.Exif()
    tags[0x10F] = "Camera"
    tags.get_ifd(0x8825)[1] = "N"
    stream = io.BytesIO()
    Image.fromarray(astronaut).save(stream, "WEBP", lossless=True, exif=tags)
    protected = Image.open(io.BytesIO(model.protect(stream.getvalue(), strip_gps=True)))
    assert protected.format == "WEBP"
    assert protected.getexif()[0x10F] == "Camera"
    assert 0x8825 not in protected.getexif()
    np.testing.assert_array_equal(np.asarray(protected), model.protect(astronaut))
    for data, text in ((b"", "the file is empty"), (b"nonsense", "no JPEG, PNG")):
        with pytest.raises(rid.RidError, match=f"^{text}"):
            model.protect(data)


def test_path(
    model: rid.Protector,
    astronaut: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(astronaut).save("a.png")
    before = Path("a.png").read_bytes()
    written = model.protect("a.png")
    assert written == Path("a.protected.png")
    np.testing.assert_array_equal(np.asarray(Image.open(written)), model.protect(astronaut))
    with pytest.raises(rid.RidError, match=r"a\.protected\.png exists; overwrite=True"):
        model.protect(Path("a.png"))
    assert model.protect("a.png", output="b.jpg", quality=50) == Path("b.jpg")
    assert model.protect("a.png", output="b.jpg", overwrite=True) == Path("b.jpg")
    for output in ("a.png", "./a.png", tmp_path / "a.png"):
        with pytest.raises(rid.RidError, match="is an original and is not replaced"):
            model.protect("a.png", output=output, overwrite=True)
    with pytest.raises(rid.RidError, match=r"^none\.png: cannot be opened \(No such file"):
        model.protect("none.png")
    assert Path("a.png").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "a.protected.png", "b.jpg"]
    with pytest.raises(rid.RidError, match=r"an image is a path, .* not int"):
        model.protect(7)  # type: ignore[call-overload]


def test_a_photo_that_does_not_change_is_not_called_protected(astronaut: np.ndarray) -> None:
    with pytest.raises(rid.RidError, match="not one value changed"):
        rid.protect(astronaut, "rid-n", levels=1, strength=0.01)


@pytest.mark.parametrize("preset", ["rid-n", "rid-s"])
def test_bundled_files_are_the_bundled_checkpoints(preset: str, astronaut: np.ndarray) -> None:
    """After new weights: make assets."""
    exported = checkpoint.find_model(preset)
    assert exported == ROOT / "rid_core" / "assets" / f"{preset}.onnx"
    metadata = read_metadata(exported)
    check_digest(exported, metadata)
    weights, card = checkpoint.load_checkpoint(checkpoint.find_checkpoint(preset))
    assert metadata.weights == checkpoint.weights_digest(weights)
    assert (metadata.preset, metadata.levels) == (preset, card.levels)
    assert metadata.parity
    here, there = rid.load(preset, threads=1), rid.load(f"{preset}.safetensors", threads=1)
    assert (here.info.format, there.info.format) == ("onnx", "torch")
    assert (here.info.levels, here.info.licence) == (there.info.levels, there.info.licence)
    assert abs(here.perturb(astronaut) - there.perturb(astronaut)).max() < 1e-4
    change = here.protect(astronaut).astype(int) - there.protect(astronaut)
    assert (change != 0).mean() < 1e-4


def test_a_large_model_lies_beside_the_checkout_or_is_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = ROOT / "weights" / "rid-b.safetensors"
    assert checkpoint.find_model("rid-b") == checkpoint.find_checkpoint("rid-b") == path
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert {path.name: digest} == checkpoint.RELEASED
    (tmp_path / "package" / "assets").mkdir(parents=True)
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path / "package")
    with pytest.raises(rid.RidError, match="no release to fetch it from is published yet"):
        rid.load("rid-b")
    monkeypatch.setenv("RID_RELEASE", "http://127.0.0.1:9/files/")
    with pytest.raises(rid.RidError, match=r"9/files/rid-b\.safetensors: cannot be reached"):
        rid.load("rid-b")


def test_without_torch(tmp_path: Path, astronaut: np.ndarray) -> None:
    Image.fromarray(astronaut).save(tmp_path / "a.png")
    code = """
import sys
sys.modules["torch"] = sys.modules["safetensors"] = None
import rid_core as rid
assert "numpy" not in sys.modules
print(rid.list_defenders())
print(rid.protect("a.png"))
for use in (lambda: rid.load("rid-n.safetensors"), lambda: rid.create_defender("rid-n")):
    try:
        use()
    except rid.RidError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    missing = "torch is not installed; it comes with: pip install -e '.[torch]'"
    assert done.stdout.splitlines() == [
        "['rid-b', 'rid-dit', 'rid-n', 'rid-s']", "a.protected.png", missing, missing
    ]  # fmt: skip


# Batches


def test_a_batch_names_its_bad_rows(model: rid.Protector, astronaut: np.ndarray) -> None:
    copy = pickle.loads(pickle.dumps(model))
    assert "runtime" not in vars(copy)
    images = np.empty(3, dtype=object)
    images[:] = [astronaut, astronaut[:300], astronaut[:, :, 0]]
    result = copy({"image": images, "id": np.arange(3)})
    assert list(result["error"][:2]) == ["", ""]
    assert "uint8 RGB" in result["error"][2]
    np.testing.assert_array_equal(result["image"][0], model.protect(astronaut))
    assert result["image"][1].shape == (300, 512, 3)
    assert result["image"][2].size == 0  # and not the photo as it was
    assert list(result["id"]) == [0, 1, 2]
    assert copy({"image": np.stack([astronaut] * 2)})["image"].shape == (2, 512, 512, 3)
    with pytest.raises(rid.RidError, match="a batch has a column image or bytes, not photo"):
        copy({"photo": images})
    with pytest.raises(rid.RidError, match="no trained 'rid-x'"):
        rid.Protector("rid-x")({"image": images})


@pytest.mark.slow
@pytest.mark.full
def test_ray_protects_uploads(
    tmp_path: Path, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    # Its processes are polite by default, and starve beside other tests.
    monkeypatch.setenv("RAY_worker_niceness", "0")

    for name in ("a", "b"):
        Image.fromarray(astronaut).save(tmp_path / f"{name}.png")
    (tmp_path / "c.png").write_bytes(b"no photo")
    # One core reads and one protects; with a single one both would wait for ever.
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False,
             runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}})  # fmt: skip
    try:
        uploads = ray.data.read_binary_files(
            str(tmp_path), include_paths=True, override_num_blocks=1
        )
        protected = uploads.map_batches(
            rid.Protector,
            fn_constructor_args=("rid-n",),
            fn_constructor_kwargs={"threads": 1},
            batch_size=2,
            concurrency=1,
        )
        rows = {Path(row["path"]).name: row for row in protected.take_all()}
    finally:
        ray.shutdown()
    assert sorted(rows) == ["a.png", "b.png", "c.png"]
    assert rows["c.png"]["bytes"] == b""
    assert "no JPEG, PNG" in rows["c.png"]["error"]
    for name in ("a.png", "b.png"):
        assert rows[name]["error"] == ""
        pixels = np.asarray(Image.open(io.BytesIO(rows[name]["bytes"])))
        assert verify(astronaut, pixels).max_levels == 8
