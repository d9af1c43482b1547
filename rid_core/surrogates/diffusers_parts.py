"""Parts of diffusers checkpoints, from a folder or the hub, with errors that say what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rid_core.errors import RidError

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]


@dataclass(frozen=True)
class DiffusersCheckpoint:
    """A diffusers checkpoint that is read part by part.

    Attributes:
        source: a folder, or a name on the hub such as ``CompVis/stable-diffusion-v1-4``.
        local_files_only: never ask the hub, use what was downloaded before.
        revision: branch, tag or commit on the hub.
        variant: of the weights' files, such as ``"fp16"``.
    """

    source: str
    local_files_only: bool = False
    revision: str | None = None
    variant: str | None = None

    def __post_init__(self) -> None:
        if not self.folder and (Path(self.source).exists() or not _HUB_NAME.fullmatch(self.source)):
            raise RidError(
                f"{self.source}: no such folder; give one in diffusers' layout, or a name on the "
                "hub such as CompVis/stable-diffusion-v1-4"
            )

    @property
    def folder(self) -> Path | None:
        """Where it lies, None for one on the hub."""
        path = Path(self.source)
        return path if path.is_dir() else None

    @property
    def name(self) -> str:
        """The last part of the folder's or the hub's name."""
        return Path(self.source).absolute().name

    def _where(self) -> dict[str, Any]:
        if self.folder:
            return {"local_files_only": True}
        return {"local_files_only": self.local_files_only, "revision": self.revision}

    def index(self) -> dict[str, Any]:
        """``model_index.json``: the class of the pipeline and of each part.

        Raises:
            RidError: not a diffusers checkpoint, or the hub cannot be reached.
        """
        if self.folder:
            path = self.folder / "model_index.json"
            try:
                raw = json.loads(path.read_text())
            except OSError:
                raise RidError(
                    f"{self.source}: no diffusers checkpoint (model_index.json is missing)"
                ) from None
            except ValueError as error:
                raise RidError(f"{path}: damaged ({error})") from None
        else:
            from diffusers import DiffusionPipeline

            raw = self._try("model_index.json", lambda: DiffusionPipeline.load_config(
                self.source, **self._where()))  # fmt: skip
        if not isinstance(raw, dict) or not isinstance(raw.get("_class_name"), str):
            raise RidError(f"{self.source}: its model_index.json names no pipeline")
        return raw

    def require(self, index: dict[str, Any], parts: list[str]) -> None:
        """Check that all ``parts`` are there before any is loaded.

        Raises:
            RidError: names the first one that is missing.
        """
        for part in parts:
            named = isinstance(index.get(part), list) and index[part][-1] is not None
            if not named or (self.folder and not (self.folder / part).is_dir()):
                raise RidError(
                    f"{self.source}: its part {part!r} is missing; needed: {', '.join(parts)}"
                )

    def load(self, part: str, cls: Any, **options: Any) -> Any:
        """``cls.from_pretrained`` on one part, safetensors only.

        Raises:
            RidError: missing, damaged or foreign files, or the hub cannot be reached.
        """
        return self._try(part or "weights", lambda: cls.from_pretrained(
            self.source, **({"subfolder": part} if part else {}), **self._where(), **options,
        ))  # fmt: skip

    def weights(self) -> dict[str, Any]:
        """Options for parts that have weights."""
        return {"use_safetensors": True, **({"variant": self.variant} if self.variant else {})}

    def _try(self, what: str, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except Exception as error:  # noqa: BLE001 - three libraries raise whatever they like
            reason = _first_line(error)
            if self.folder:
                raise RidError(f"{self.source}: its {what} cannot be loaded ({reason})") from None
            raise RidError(
                f"{self.source}: no such folder, and {what} cannot be had from the hub, which is "
                f"out of reach or has nothing of that name ({reason}); download the checkpoint "
                "where there is a network and give its folder"
            ) from None
