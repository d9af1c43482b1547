"""Write beside, then rename: nobody ever sees half a file, and a failure leaves the old one."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rid_core.errors import RidError


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _describe(error: OSError, target: Path) -> str:
    if error.errno == errno.ENOSPC:
        return f"no space left while writing {target}; free some and run again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"cannot write {target}: permission denied; choose another output with -o"
    return f"cannot write {target}: {error.strerror or error}"


@contextlib.contextmanager
def replacing(target: str | Path) -> Iterator[Path]:
    """Yield a path in a hidden scratch folder beside ``target`` and move it there on success.

    The yielded path has the final name (converters look at suffixes) and may become a file or a
    folder (a Core ML package is one). On any error, Ctrl-C included, the scratch folder is removed
    and what ``target`` held before is untouched.

    Raises:
        RidError: the folder cannot be made or written, or the disk is full.
    """
    target = Path(target)
    scratch: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
        fresh = scratch / target.name
        yield fresh
        if target.is_dir() and not target.is_symlink():
            # A folder cannot be renamed over a folder: move the old one out of the way first, and
            # back again should the second rename fail.
            old = scratch / f"{target.name}.old"
            target.rename(old)
            try:
                fresh.rename(target)
            except BaseException:
                old.rename(target)
                raise
        else:
            if fresh.is_file():
                # mkdtemp makes a private folder, but the file itself follows the user's umask.
                with fresh.open("rb") as handle:
                    os.fsync(handle.fileno())
            fresh.replace(target)
    except OSError as error:
        raise RidError(_describe(error, target)) from error
    finally:
        if scratch is not None:
            _remove(scratch)


def write_bytes(target: str | Path, data: bytes) -> None:
    """Write ``data`` to ``target`` as a whole or not at all."""
    with replacing(target) as fresh:
        fresh.write_bytes(data)


def write_text(target: str | Path, text: str) -> None:
    """Write ``text`` (UTF-8) to ``target`` as a whole or not at all."""
    write_bytes(target, text.encode())
