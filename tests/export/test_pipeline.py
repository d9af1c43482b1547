"""A file appears only when everything held; a failure leaves the one that was there."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import broken_targets
import onnx_faults
import pytest

from rid_core.errors import RidError
from rid_export.backends.onnx.convert import OnnxTarget
from rid_export.pipeline import STAGES, Job, Stage, export
from rid_export.spec import ExportSpec

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (broken_targets.Raises, "converter failed: ValueError: op frobnicate is not supported"),
        (broken_targets.Aborts, r"converter crashed \(SIGABRT\)"),
        pytest.param(
            *(broken_targets.Refuses, "^this cannot be exported; use another$"),
            marks=pytest.mark.full,
        ),
        pytest.param(broken_targets.WritesNothing, "wrote no file", marks=pytest.mark.full),
    ],
)
def test_converters_that_fail(
    kind: type[OnnxTarget],
    text: str,
    small_checkpoint: Path,
    tmp_path: Path,
    register: Callable[[type[Any]], None],
    capfd: Any,
) -> None:
    register(kind)
    old = tmp_path / "rid-n.64px.onnx"
    old.write_bytes(b"the old file")
    (result,) = export([ExportSpec("broken", resolution=64)], small_checkpoint, tmp_path)
    assert result.error is not None
    assert re.search(text, result.error), result.error
    assert "\n" not in result.error
    assert old.read_bytes() == b"the old file"
    assert "page after page" not in "".join(capfd.readouterr())
    log = tmp_path / "rid-n.64px.onnx.log"
    named = kind is not broken_targets.Refuses
    assert (str(log) in result.error) == named
    assert {p.name for p in tmp_path.iterdir()} == {old.name, *([log.name] if named else [])}
    if kind is broken_targets.Raises:
        assert "page after page" in log.read_text()
        assert "Traceback" in log.read_text()


def converter_that(exported: Any, spoil: Callable[[Any], None]) -> tuple[Stage, ...]:
    """The pipeline's stages, but for a converter that plants a fault into a sound file."""

    def convert(job: Job) -> None:
        import onnx

        model = onnx.load(exported("onnx").file)
        spoil(model)
        onnx.save(model, job.path)

    return (Stage("convert", convert), *STAGES[1:])


def stale_metadata(model: Any) -> None:
    (entry,) = model.metadata_props
    document = json.loads(entry.value)
    entry.value = json.dumps(document | {"weights": "0" * 64}).ljust(len(entry.value))


def no_metadata(model: Any) -> None:
    del model.metadata_props[:]


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (onnx_faults.double_eps, "change_levels.*adds 2 times eps"),
        (onnx_faults.nan_weights, "delta holds NaN"),
        (stale_metadata, "stale metadata: it says weights 0000"),
        (no_metadata, "carries no RID metadata"),
    ],
)
def test_converters_that_write_something_else(
    spoil: Callable[[Any], None], text: str, exported: Any, checkpoint: Path, tmp_path: Path
) -> None:
    old = tmp_path / "rid-s.onnx"
    old.write_bytes(b"the old file")
    stages = converter_that(exported, spoil)
    (result,) = export([ExportSpec("onnx")], checkpoint, tmp_path, stages=stages)
    assert result.error is not None
    assert re.search(text, result.error), result.error
    assert old.read_bytes() == b"the old file"
    assert [p.name for p in tmp_path.iterdir()] == ["rid-s.onnx"]


def test_weights_of_another_checkpoint(exported: Any, checkpoint: Path, tmp_path: Path) -> None:
    """A sound file, proved and sealed, but of other weights of the same preset."""
    import torch

    from rid_core.checkpoint import load_checkpoint, save_checkpoint

    defender, card = load_checkpoint(checkpoint)
    with torch.no_grad():
        defender.detail[0].project.bias.add_(1e-3)
    other = tmp_path / "other.safetensors"
    save_checkpoint(other, defender, card)
    stages = converter_that(exported, lambda model: None)
    (result,) = export([ExportSpec("onnx")], other, tmp_path / "dist", stages=stages)
    assert result.error is not None
    assert result.error.startswith("stale metadata: it says weights")


def test_a_sound_file_replaces_the_old_one_and_a_refusal_stops_no_other(
    exported: Any, checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "rid-s.onnx").write_bytes(b"the old file")
    sound = converter_that(exported, lambda model: None)[0]

    def convert(job: Job) -> None:
        if job.target.name == "tflite":
            raise RidError("no")
        sound.run(job)

    lines: list[str] = []
    refused, made = export(
        [ExportSpec("tflite"), ExportSpec("onnx")],
        checkpoint,
        tmp_path,
        notify=lines.append,
        stages=(Stage("convert", convert), *STAGES[1:]),
    )
    assert refused.error == "no"
    assert made.error is None
    assert made.size == (tmp_path / "rid-s.onnx").stat().st_size > 1_000_000
    assert [p.name for p in tmp_path.iterdir()] == ["rid-s.onnx"]
    # Both run at once: the order between them is not told, the order within each is.
    assert [s for s in lines if s.startswith("tflite")] == ["tflite fp32: convert"]
    assert [s for s in lines if s.startswith("onnx")] == [f"onnx fp32: {s.name}" for s in STAGES]


def test_variants_lie_side_by_side(small_checkpoint: Path, tmp_path: Path) -> None:
    variants = ({}, {"io": "uint8"}, {"layout": "nhwc"}, {"dynamic": True}, {"outputs": ("delta",)})
    specs = [ExportSpec("onnx", resolution=64, **each) for each in variants]
    specs += [ExportSpec("onnx", resolution=128), ExportSpec("onnx", "fp16", resolution=64)]

    def convert(job: Job) -> None:
        job.path.write_text(repr(job.spec))

    results = export(specs, small_checkpoint, tmp_path, stages=(Stage("convert", convert),))
    assert len({result.file for result in results}) == len(specs)
    assert [result.file.read_text() for result in results] == [repr(spec) for spec in specs]


@pytest.mark.parametrize(
    ("other", "text"),
    [
        ({"weights": "0" * 64, "levels": 12}, "that had other weights, levels"),
        ({"calibration": "0" * 64}, "that had other calibration"),
        ({"created": "2020-01-01T00:00:00+00:00"}, None),
    ],
)
def test_what_a_file_replaces_is_told(
    other: dict[str, Any], text: str | None, exported: Any, checkpoint: Path, tmp_path: Path
) -> None:
    import dataclasses
    import shutil

    from rid_core.artifact import read_metadata, seal

    old = tmp_path / "rid-s.onnx"
    shutil.copy(exported("onnx").file, old)
    seal(old, dataclasses.replace(read_metadata(old), **other))
    lines: list[str] = []
    stages = converter_that(exported, lambda model: None)
    (made,) = export([ExportSpec("onnx")], checkpoint, tmp_path, stages=stages, notify=lines.append)
    assert made.error is None
    told = [line for line in lines if "replaced a file of that name" in line]
    assert [line.endswith(str(text)) for line in told] == ([] if text is None else [True])


def test_interrupt_leaves_nothing(small_checkpoint: Path, tmp_path: Path) -> None:
    def interrupt(job: Any) -> None:
        job.path.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(
            [ExportSpec("onnx", resolution=64)],
            small_checkpoint,
            tmp_path,
            stages=(Stage("convert", interrupt),),
        )
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_ends_a_converter_that_runs(
    small_checkpoint: Path, tmp_path: Path, register: Callable[[type[Any]], None]
) -> None:
    register(broken_targets.Sleeps)
    begun = tmp_path / "begun"
    children: list[int] = []

    def interrupt() -> None:
        while not (begun.exists() and begun.read_text()):
            time.sleep(0.1)
        children.append(int(begun.read_text()))
        begun.unlink()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    specs = [ExportSpec("broken", resolution=side) for side in (64, 128, 192, 256, 320, 384)]
    with pytest.raises(KeyboardInterrupt):
        export(specs, small_checkpoint, tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ProcessLookupError):
        os.kill(children[0], 0)


def test_converters_run_at_the_same_time_and_the_rest_in_turns(
    small_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    meet = threading.Barrier(2, timeout=60)
    alone = threading.Lock()

    def convert(job: Job) -> None:
        meet.wait()

    def check(job: Job) -> None:
        assert alone.acquire(blocking=False), "two stages work in this process"
        print("what a library prints")
        time.sleep(0.2)
        alone.release()
        job.path.write_bytes(b"a file")
        raise RidError(f"{job.spec.resolution} was here")

    stages = (Stage("convert", convert, isolated=True), Stage("check", check))
    specs = [ExportSpec("onnx", resolution=side) for side in (64, 128, 192, 256)]
    results = export(specs, small_checkpoint, tmp_path, stages=stages)
    assert [result.error for result in results] == [f"{s.resolution} was here" for s in specs]
    assert all(0.2 <= result.seconds < 60 for result in results)
    assert not list(tmp_path.iterdir())


def test_untrained_and_misfit_checkpoints(tmp_path: Path, small_checkpoint: Path) -> None:
    from rid_core.checkpoint import ModelCard, save_checkpoint
    from rid_core.defenders import create_defender

    path = tmp_path / "new.safetensors"
    save_checkpoint(path, create_defender("rid-n"), ModelCard("rid-n", 8))
    with pytest.raises(RidError, match="untrained"):
        export([ExportSpec("onnx", resolution=64)], path, tmp_path / "dist")
    with pytest.raises(RidError, match="--resolution 496 or 512"):
        export([ExportSpec("onnx", resolution=500)], small_checkpoint, tmp_path / "dist")
    assert not (tmp_path / "dist").exists()
