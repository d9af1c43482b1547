"""What all tests share: real portraits, and the data that may lie beside the checkout."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# One of several processes (pytest-xdist) computes in one thread, and so do its children. Libraries
# read this when they are loaded.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1"}

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
pytest_plugins = ["tiny_models"]


# The same examples in every run, so that a failure is the change's own; search for new ones with
# --hypothesis-profile=default --hypothesis-seed=N.
settings.register_profile("same", derandomize=True)
settings.load_profile("same")


def pytest_configure() -> None:
    """Let Ctrl-C through: a shell's background job ignores it, and so would the tests' children."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """A portrait, uint8 [512, 512, 3] (NASA, public domain, comes with scikit-image)."""
    from skimage import data

    return data.astronaut()


@pytest.fixture(scope="session")
def once(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, Callable[[Path], Any]], Any]:
    """``once(name, make)`` is ``make(folder)``, made by the first process of a run that asks."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def get(name: str, make: Callable[[Path], Any]) -> Any:
        folder = root / "once" / name
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder.with_suffix(".pickle")
        with FileLock(folder.with_suffix(".lock")):
            if not kept.exists():
                made = pickle.dumps(make(folder))
                kept.write_bytes(made)
            return pickle.loads(kept.read_bytes())

    return get


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with portraits and weights, or a skip that says why."""
    folder = Path(os.environ.get("RID_SHARED", ROOT.parent / "shared"))
    if not (folder / "weights" / "taef2_encoder.pth").is_file():
        pytest.skip(f"no portraits and weights in {folder}; set RID_SHARED")
    return folder
