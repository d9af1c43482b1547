"""Which photos of a folder are measured, and their pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rid_core.errors import RidError

if TYPE_CHECKING:
    from torch import Tensor

    from rid_eval.results import PhotoSet


@dataclass(frozen=True)
class PhotoFolder:
    """Photos of a folder and of the folders in it.

    Attributes:
        images: the folder.
        pattern: which files of it.
        limit: at most so many.
    """

    images: Path
    pattern: str = "*"
    limit: int | None = None

    def paths(self) -> list[Path]:
        """Readable photos, sorted.

        Raises:
            RidError: no such folder, or no photo that matches.
        """
        from rid_core.data import list_portraits

        found = [path for path in list_portraits(self.images, []) if path.match(self.pattern)]
        if not found:
            raise RidError(f"{self.images}: no portrait matches {self.pattern!r}")
        return found[: self.limit]

    def load(self, size: int) -> dict[str, Tensor]:
        """By path below the folder, the centre of each photo, [1, 3, size, size] in [0, 1]."""
        from rid_core.data import centre_square, to_tensor

        return {path.relative_to(self.images).as_posix(): to_tensor(centre_square(path, size))[None]
                for path in self.paths()}  # fmt: skip

    def describe(self, count: int, size: int) -> PhotoSet:
        """What a measurement on ``count`` squares of ``size`` pixels says of them."""
        from rid_eval.results import PhotoSet

        return PhotoSet(self.images.name, self.pattern, count, size)
