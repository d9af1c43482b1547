from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for corpus and standin


@pytest.fixture
def tool(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Run ``rid-protect`` in an empty folder; returns exit code, stdout and stderr."""
    from standin import Checkerboard

    import rid_core.runtimes
    from rid_core.cli import protect

    monkeypatch.chdir(tmp_path)

    def call(*arguments: Any, defender: Any = Checkerboard) -> tuple[int, str, str]:
        monkeypatch.setattr(rid_core.runtimes, "load_runtime", lambda *_, **__: defender())
        monkeypatch.setattr(sys, "argv", ["rid-protect", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            protect.main()
        captured = capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return stop.value.code, captured.out, captured.err

    return call
