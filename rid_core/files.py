"""Write beside, then rename: nobody ever sees half a file, and a failure leaves the old one."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rid_core.errors import RidError


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def explain(error: OSError, target: Path, scratch: Path | None = None) -> str:
    """One line on why ``target`` cannot be written, and what to do.

    Args:
        error: what the system said.
        target: the file or folder that was to be written.
        scratch: the folder beside it that it was first written to; an error about any other file
            is not the target's own.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"no space left while writing {target}; free some and run again"
    if scratch and isinstance(error.filename, str):
        other = Path(error.filename).absolute()
        if other != target.absolute() and not other.is_relative_to(scratch.absolute()):
            # Not about the target: another file failed in the caller's block, an input say.
            return f"cannot write {target}: {other}: {error.strerror}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"cannot write {target}: permission denied; choose another output with -o"
    if error.errno == errno.ENAMETOOLONG:
        length = len(os.fsencode(target.name))
        return (
            f"cannot write {target}: a name of {length} bytes is too long for this disk; choose a "
            "shorter one with -o"
        )
    if not os.path.isdir(target.parent):  # noqa: PTH112 - Path.is_dir raises where we may not look
        return f"cannot write {target}: {target.parent} is no folder; choose another output with -o"
    return f"cannot write {target}: {error.strerror or error}"


def _match_mode(fresh: Path, target: Path, scratch: Path) -> None:
    """Give a new file the mode of the file it replaces, else what the user's umask says.

    Some writers (safetensors, anything built on a temporary file) make files private.
    """
    if not target.is_file():
        # A file made the plain way shows the umask; asking for the umask itself would set it.
        target = Path(tempfile.mkdtemp(dir=scratch), "mode")
        target.touch()
    fresh.chmod(stat.S_IMODE(target.stat().st_mode))


def _move(fresh: Path, target: Path, scratch: Path) -> None:
    """Put ``fresh`` in the place of ``target``: file for file, folder for folder, never across."""
    if not fresh.exists():
        raise RidError(f"nothing was written to {target}")
    if target.exists() and fresh.is_dir() != target.is_dir():
        kind, other = ("folder", "file") if target.is_dir() else ("file", "folder")
        raise RidError(f"{target} is a {kind} and is not replaced by a {other}; choose another -o")
    if not fresh.is_dir():
        with fresh.open("r+b") as handle:
            os.fsync(handle.fileno())
        _match_mode(fresh, target, scratch)
        fresh.replace(target)
        return
    if not target.exists():
        fresh.rename(target)
        return
    # A folder cannot be renamed over a folder: move the old one out of the way first, and back
    # again should the second rename fail.
    old = Path(tempfile.mkdtemp(dir=scratch), "old")
    target.rename(old)
    try:
        fresh.rename(target)
    except BaseException:
        old.rename(target)
        raise


@contextlib.contextmanager
def replacing(target: str | Path) -> Iterator[Path]:
    """Yield a path in a hidden scratch folder beside ``target`` and move it there on success.

    The yielded path has the final name (converters look at suffixes) and may become a file or a
    folder (a Core ML package is one). On any error, Ctrl-C included, the scratch folder is removed
    and what ``target`` held before is untouched. A signal that ends the process at once (SIGKILL,
    or SIGTERM where nobody turns it into an exception) leaves ``target`` whole too, but then the
    scratch folder stays.

    Raises:
        RidError: the folder cannot be made or written, the disk is full, or a file would replace a
            folder or the other way round.
    """
    target = Path(target)
    if target.name in ("", ".."):
        raise RidError(f"cannot write {target}: that is a folder; give a file name")
    scratch: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Of a long name only the beginning: the scratch folder's own name has to fit as well.
        prefix = f".{target.name[:32]}."
        scratch = Path(tempfile.mkdtemp(prefix=prefix, suffix=".tmp", dir=target.parent))
        fresh = scratch / target.name
        yield fresh
        _move(fresh, target, scratch)
    except OSError as error:
        raise RidError(explain(error, target, scratch)) from error
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
