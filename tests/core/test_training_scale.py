"""More than one process, accumulated batches, compiled networks, too little memory."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rid_core.checkpoint import load_checkpoint
from rid_core.errors import RidError
from rid_core.training import loop
from rid_core.training.config import parse_config
from rid_core.training.recipe import Recipe
from rid_core.training.run import learning_rate


@pytest.fixture
def raw(portraits: Path, tiny_encoder_file: Path) -> dict[str, object]:
    """A network without any chance inside, so that only the arithmetic may differ."""
    size = {"image_size": 64, "width": 16, "depth": 1, "heads": 2}
    return {
        "defender": {"preset": "rid-dit", "levels": 16, "overrides": size},
        "data": {"folder": str(portraits), "crop": 64, "short_side": [64, 96]},
        "surrogate": [{"kind": "tiny-autoencoder", "path": str(tiny_encoder_file)}],
        "objective": [{"kind": "log-shift", "floor": 1e-4}],
        "channel": {"identity": 1.0, "noise": 1.0, "resize": 1.0},
        "visibility": {"jod": 0.0, "jod_enlarged": 0.0, "ssimulacra2": 0.0, "colour": 0.1},
        "optim": {"steps": 6, "batch": 4, "warmup": 2, "lr": 3e-3},
        "log": {"every": 1, "save_every": 6, "preview_every": 6},
    }


def _with(raw: dict[str, object], **optim: object) -> dict[str, object]:
    return {**raw, "optim": {**raw["optim"], **optim}}  # type: ignore[dict-item]


def _rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(row) for row in (folder / "log.jsonl").read_text().splitlines()]


def _same_curve(one: Path, other: Path) -> None:
    rows, others = _rows(one), _rows(other)
    assert len(rows) == len(others) == 6
    for row, same in zip(rows, others, strict=True):
        for name in ("total", "log-shift", "colour"):
            assert row[name] == pytest.approx(same[name], rel=2e-3, abs=2e-5), (row, same)
    assert rows[0]["total"] - rows[-1]["total"] > 0.5  # it learned something meanwhile


def test_accumulated_batches_are_one_large_batch(raw: dict[str, object], tmp_path: Path) -> None:
    loop.train(parse_config(raw), tmp_path / "whole", quiet=True)
    parts = _with(raw, batch=2, accumulate=2)
    loop.train(parse_config(parts), tmp_path / "parts", quiet=True)
    _same_curve(tmp_path / "whole", tmp_path / "parts")


_RUN = """
import json, sys
from pathlib import Path
from rid_core.errors import RidError
from rid_core.training import loop
from rid_core.training.config import parse_config
POISON
config = parse_config(json.loads(Path(sys.argv[1]).read_text()))
try:
    loop.train(config, Path(sys.argv[2]), quiet=True)
except RidError as error:
    sys.exit(f"error: {error}")
"""


def _two_processes(raw: dict[str, object], output: Path, poison: str = "") -> list[tuple[int, str]]:
    """Train in two processes that talk by gloo; exit code and last words of each."""
    script, config = output.parent / "train.py", output.parent / "config.json"
    script.write_text(_RUN.replace("POISON", poison))
    config.write_text(json.dumps(raw))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = []
    for rank in range(2):
        environment = {
            **os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
            "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        command = [sys.executable, str(script), str(config), str(output)]
        running.append(
            subprocess.Popen(command, env=environment, text=True, stderr=subprocess.PIPE)
        )
    ended = [process.communicate(timeout=400) for process in running]
    return [(p.returncode, err) for p, (_, err) in zip(running, ended, strict=True)]


@pytest.mark.full
@pytest.mark.slow
def test_two_processes_are_one_with_twice_the_batch(raw: dict[str, object], tmp_path: Path) -> None:
    loop.train(parse_config(raw), tmp_path / "one", quiet=True)
    ended = _two_processes(_with(raw, batch=2), tmp_path / "two")
    assert [code for code, _ in ended] == [0, 0], ended
    _same_curve(tmp_path / "one", tmp_path / "two")
    one, other = (
        load_checkpoint(tmp_path / run / "rid-dit.safetensors")[0].state_dict()
        for run in ("one", "two")
    )
    for name, weight in one.items():
        torch.testing.assert_close(other[name], weight, rtol=1e-2, atol=1e-3)


@pytest.mark.full
@pytest.mark.slow
def test_no_process_waits_for_one_whose_loss_is_not_finite(
    raw: dict[str, object], tmp_path: Path
) -> None:
    poison = (
        "import os\nfrom rid_core import objectives\nreal = objectives.log_shift\n"
        "if os.environ['RANK'] == '1':\n"
        "    objectives.log_shift = lambda *a: real(*a) * float('nan')\n"
    )
    ended = _two_processes(_with(raw, batch=2), tmp_path / "two", poison)
    assert [code for code, _ in ended] == [1, 1]
    assert "samples of another process" in ended[0][1]
    assert "samples [2, 3]" in ended[1][1]


def test_a_compiled_network_trains_the_same(
    raw: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []
    real = torch.compile

    def eager(network: torch.nn.Module) -> object:
        compiled.append(type(network).__name__)
        return real(network, backend="eager")  # no compiler is needed for the test

    monkeypatch.setattr(torch, "compile", eager)
    loop.train(parse_config(raw), tmp_path / "plain", quiet=True)
    assert not compiled
    path = loop.train(parse_config(_with(raw, compile=True)), tmp_path / "compiled", quiet=True)
    assert compiled == ["DiTDefender"]
    _same_curve(tmp_path / "plain", tmp_path / "compiled")
    load_checkpoint(path)  # under its own names, not the compiler's


@pytest.fixture
def fresh_state() -> Iterator[None]:
    """Accelerate keeps one precision for the life of a process."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("fresh_state")
def test_bf16_trains(raw: dict[str, object], tmp_path: Path) -> None:
    loop.train(parse_config(_with(raw, mixed_precision="bf16")), tmp_path, quiet=True)
    rows = _rows(tmp_path)
    assert rows[-1]["log-shift"] < rows[0]["log-shift"] - 0.5


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_a_lack_of_memory_says_what_to_lower(
    raw: dict[str, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def lacking(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(Recipe, "losses", lacking)
    with pytest.raises(RidError, match=r"out of memory: lower optim\.batch.*ensemble\.offload"):
        loop.train(parse_config(raw), tmp_path, quiet=True)


def test_other_errors_stay_what_they_are(
    raw: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Recipe, "losses", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        loop.train(parse_config(raw), tmp_path, quiet=True)


def test_a_constant_rate_stays_after_the_warm_up(raw: dict[str, object]) -> None:
    constant = parse_config(_with(raw, schedule="constant"))
    assert [learning_rate(s, constant) for s in (0, 1, 2, 5)] == [1.5e-3, 3e-3, 3e-3, 3e-3]
    cosine = parse_config(raw)
    assert learning_rate(2, cosine) == 3e-3
    assert learning_rate(5, cosine) < 1e-3
