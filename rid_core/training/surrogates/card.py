"""What a trained surrogate says of itself, and writing a folder as a whole."""

from __future__ import annotations

import datetime
import json
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rid_core._version import __version__
from rid_core.files import replacing
from rid_core.training.run import command_line
from rid_core.training.settings import TrainingConfig

CARD = "training.json"


@contextmanager
def writing(folder: Path) -> Iterator[Path]:
    """A folder that takes the place of ``folder`` once the block is through."""
    with replacing(folder) as fresh:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        yield fresh
        # safetensors makes its files private; a file made the plain way shows what is usual here.
        plain = fresh / CARD
        plain.touch()
        for path in fresh.rglob("*"):
            if path.is_file():
                path.chmod(stat.S_IMODE(plain.stat().st_mode))


def write_card(folder: Path, config: TrainingConfig, steps: int, figures: dict[str, Any]) -> None:
    """Write how the model was made and what was measured, as JSON."""
    card = {
        "rid": __version__,
        "created": datetime.date.today().isoformat(),
        "command": command_line(),
        "config": json.loads(config.model_dump_json()),
        "steps": steps,
        "figures": figures,
    }
    (folder / CARD).write_text(json.dumps(card, indent=2) + "\n")
