"""What ONNX and TFLite files have in common: they run as torch does, and half a file is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rid_core.errors import RidError
from rid_core.runtimes import load_runtime

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_runtime_agrees_with_torch(target: str, exported: Any, checkpoint: Path) -> None:
    result = exported(target)
    assert result.file.stem == "rid-s"
    assert result.figure("delta_sqnr_db") > 90
    assert 6 < result.figure("change_levels") <= 8.001
    image = np.random.default_rng(5).random((512, 512, 3), dtype=np.float32)
    expected = load_runtime(checkpoint).perturb(image)
    unit = load_runtime(result.file, threads=1).perturb(image)
    np.testing.assert_allclose(unit, expected, atol=1e-4)


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_truncated(target: str, exported: Any, tmp_path: Path) -> None:
    data = exported(target).file.read_bytes()
    cut = tmp_path / f"cut.{target}"
    for length in (0, 3, len(data) // 2, len(data) - 10):
        cut.write_bytes(data[:length])
        with pytest.raises(RidError):
            load_runtime(cut)
