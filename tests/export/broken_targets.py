"""Targets that fail in the ways converters do. Imported by a converter's own process as well."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

from rid_core.errors import RidError
from rid_export.backends.onnx.convert import OnnxTarget
from rid_export.spec import ExportSpec


class Broken(OnnxTarget):
    name = "broken"


class Raises(Broken):
    def convert(self, graph: Any, spec: ExportSpec, path: Path) -> None:
        print("page after page\n" * 500)
        raise ValueError("op frobnicate is not supported")


class Aborts(Broken):
    def convert(self, graph: Any, spec: ExportSpec, path: Path) -> None:
        path.write_bytes(b"half")
        os.abort()


class Refuses(Broken):
    def convert(self, graph: Any, spec: ExportSpec, path: Path) -> None:
        raise RidError("this cannot be exported; use another")


class WritesNothing(Broken):
    def convert(self, graph: Any, spec: ExportSpec, path: Path) -> None:
        pass

    def embed(self, path: Path, text: str) -> None:
        pass


class Full(Broken):
    def convert(self, graph: Any, spec: ExportSpec, path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


class Sleeps(Broken):
    """Says that it has begun, and never ends."""

    def convert(self, graph: Any, spec: ExportSpec, path: Path) -> None:
        path.parent.parent.joinpath("begun").write_text(str(os.getpid()))
        time.sleep(600)
