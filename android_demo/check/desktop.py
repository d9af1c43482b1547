"""What the run on a desktop needs, and what its results are held against.

The model in a form that the desktop's runtime reads; one photo through Kotlin and Python, the same
bytes but for one level here and there; and the benchmark's results as rid-bench reads them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
HEIGHT, WIDTH = 1200, 900
"""Larger than the working view, and two tiles high."""
EQUAL = 0.999
MOST_IR_VERSION = 9
_IR_VERSION_FIELD = 8
"""Key of ModelProto's first field, a varint."""


def lower(model: Path, target: Path) -> None:
    """Copy a model for an older runtime, and write its wrapper beside it.

    The ONNX Runtime for Java that can be had here is 1.17, which reads files up to IR version 9.
    What 10 added are 4-bit types, which no model of ours has: only the number is changed, and
    sealed anew.
    """
    from rid_core.artifact import read_metadata, seal
    from rid_export.codegen import write_wrapper

    data = bytearray(model.read_bytes())
    if data[0] != _IR_VERSION_FIELD or data[1] > MOST_IR_VERSION + 1:
        raise SystemExit(f"{model}: IR version {data[1]} cannot be lowered")
    data[1] = min(data[1], MOST_IR_VERSION)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    seal(target, read_metadata(target))
    write_wrapper(target)


def make(target: Path) -> None:
    """A photo with structure at every scale: the portrait of tests/golden, enlarged, and noise."""
    with Image.open(ROOT / "tests/golden/portrait.png") as image:
        larger = image.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
        portrait = np.asarray(larger)
    noise = np.random.default_rng(5).integers(-12, 13, portrait.shape)
    Image.fromarray((portrait.astype(int) + noise).clip(0, 255).astype(np.uint8)).save(target)


def compare(photo: Path, protected: Path, model: Path) -> int:
    """Hold Kotlin's result against rid_core's with the same model."""
    from rid_core.protection import protect_photo
    from rid_core.runtimes import load_runtime

    original = np.asarray(Image.open(photo).convert("RGB"))
    kotlin = np.asarray(Image.open(protected).convert("RGB")).astype(int)
    python = protect_photo(original, load_runtime(str(model))).astype(int)
    difference = np.abs(kotlin - python)
    equal, change = (difference == 0).mean(), np.abs(kotlin - original).max()
    print(
        f"equal values {equal:.5%}, largest difference {difference.max()}, largest change {change}"
    )
    return int(difference.max() > 1 or equal < EQUAL or change > 8)


def results(file: Path) -> int:
    """What the benchmark wrote is what rid-bench reads."""
    from rid_bench.portable.records import measured
    from rid_bench.results import load

    (run,) = load(file)
    names = [(cell.name, cell.runtime, cell.error) for cell in run.cells]
    print(*names, sep="\n")
    return int(len(measured(run.cells)) != 1 or len(run.cells) != 3)


def main() -> int:
    """Run the step that the first argument names; the rest are its files."""
    step, *arguments = sys.argv[1:]
    paths = [Path(argument) for argument in arguments]
    if step == "lower":
        lower(*paths)
        return 0
    if step == "make":
        make(*paths)
        return 0
    return compare(*paths) if step == "compare" else results(*paths)


if __name__ == "__main__":
    sys.exit(main())
