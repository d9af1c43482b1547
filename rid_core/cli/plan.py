"""Which photo goes where: the plan of a ``rid-protect`` call, made before a model is opened.

A path that cannot be used becomes a :class:`Failure` and stops none of the others.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rid_core.errors import RidError, printable
from rid_core.files import explain
from rid_core.folders import MARK, list_images


@dataclass(frozen=True)
class Job:
    """One photo, where its output goes, and perhaps where a comparison goes."""

    source: Path
    target: Path
    comparison: Path | None = None

    @property
    def outputs(self) -> list[Path]:
        """All files that are to be written."""
        return [self.target] if self.comparison is None else [self.target, self.comparison]


@dataclass(frozen=True)
class Failure:
    """A photo or folder that nothing was made of.

    Attributes:
        source: as it was named or found.
        reason: one line, which need not name the source.
        target: where the output would have gone, if that was clear.
    """

    source: Path
    reason: str
    target: Path | None = None

    @property
    def line(self) -> str:
        """The reason, beginning with the source."""
        begin = f"{printable(str(self.source))}: "
        return self.reason if self.reason.startswith(begin) else begin + self.reason


def make_plan(
    inputs: Sequence[str], output: str | None, form: str | None, recursive: bool
) -> tuple[list[Job], list[Failure]]:
    """Find the photos and choose the names of their outputs.

    Args:
        inputs: photos and folders, as they were named.
        output: what ``-o`` says: a file for one photo, else a folder.
        form: ending of all outputs, without the dot; each photo's own if None.
        recursive: look into folders inside folders.

    Raises:
        RidError: the output does not fit the inputs.
    """
    folder = None
    if output is not None:
        several = len(inputs) > 1 or is_folder(inputs[0])
        if several or output.endswith(("/", "\\")) or is_folder(output):
            folder = Path(output)
            if _exists(output) and not is_folder(output):
                raise RidError(f"{folder} is a file; for several photos -o names a folder")
        elif form is not None:
            raise RidError("--format goes with a folder; for one photo the name after -o decides")
        else:
            return [Job(Path(inputs[0]), Path(output))], []
    jobs: list[Job] = []
    failures: list[Failure] = []
    for name in inputs:
        path = Path(name)
        if not name:
            failures.append(_unused(path, "an empty name, where a photo's was expected"))
        elif not is_folder(name):
            _add(jobs, failures, path, Path(path.name), folder, form)
        else:
            listing = list_images(path, recursive=recursive, skip=folder)
            found = [image for image in listing.images if not image.stem.endswith(MARK)]
            failures += [_unused(*left_out) for left_out in listing.left_out]
            if not found and not listing.left_out:
                hint = "" if recursive else "; --recursive looks into its folders"
                failures.append(_unused(path, f"no photos in it{hint}"))
            for image in found:
                _add(jobs, failures, image, image.relative_to(path), folder, form)
    return jobs, failures


def _add(
    jobs: list[Job],
    failures: list[Failure],
    source: Path,
    inside: Path,
    folder: Path | None,
    form: str | None,
) -> None:
    """Plan one photo; ``inside`` is its path in the output folder."""
    from rid_core.image.io import FORMATS

    ending = source.suffix if form is None else f".{form}"
    if ending.lower() not in FORMATS:
        what = f"ends in {ending}" if ending else "has no ending"
        reason = f"{what}; a photo ends in {', '.join(FORMATS)}: convert it first"
        try:
            source.stat()
        except OSError as error:  # nothing to convert: no such file, or one in a closed folder
            reason = f"cannot be opened ({error.strerror or error})"
        failures.append(_unused(source, reason))
    elif folder is None:
        jobs.append(Job(source, source.with_name(f"{source.stem}{MARK}{ending}")))
    else:
        jobs.append(Job(source, folder / inside.with_suffix(ending)))


def _unused(path: Path, reason: str) -> Failure:
    return Failure(path, printable(f"{path}: {reason}"))


def without_clashes(jobs: list[Job]) -> tuple[list[Job], list[Failure]]:
    """Take out what would replace an original or another photo's output.

    Files are compared by what the system says of them, not by name alone: on a disk that does not
    tell ``a.JPG`` from ``a.jpg`` these are one file. A photo that was named twice is planned once.

    Raises:
        RidError: a comparison would replace the photo or its output.
    """
    originals = {key for job in jobs for key in identities(job.source)}
    owner: dict[Hashable, Job] = {}
    refused: dict[Job, str] = {}
    kept: list[Job] = []
    for job in jobs:
        keys = identities(job.target)
        if keys & originals:
            refused[job] = f"{job.target} is an original and is not replaced; choose another -o"
        other = next((owner[key] for key in keys if key in owner), None)
        if other is not None and identities(job.source) & identities(other.source):
            continue
        if other is not None:
            text = f"{other.source} and {job.source} would both become {job.target}"
            refused.setdefault(other, text)
            refused.setdefault(job, text)
        owner.update(dict.fromkeys(keys, job))
        if job.comparison is not None and identities(job.comparison) & (originals | keys):
            raise RidError(
                f"{job.comparison} is the photo or its output; --compare needs a name of its own"
            )
        kept.append(job)
    failures = [Failure(job.source, printable(why), job.target) for job, why in refused.items()]
    return [job for job in kept if job not in refused], failures


def identities(path: Path) -> set[Hashable]:
    """By what two paths to one file are known: the path without links, and the file's number."""
    keys: set[Hashable] = set()
    try:
        keys.add(os.path.realpath(path))
        status = path.stat()
        keys.add((status.st_dev, status.st_ino))
    except OSError:  # no such file yet, or the working folder itself is gone
        pass
    return keys


def modified(path: Path) -> int | None:
    """When an output was last written, in nanoseconds; None if it does not exist.

    Raises:
        RidError: it can never be written there.
    """
    try:
        return path.stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RidError(explain(error, path)) from None


def is_folder(path: str) -> bool:
    """Whether a folder is there; Path.is_dir raises where one on the way may not be looked into."""
    return os.path.isdir(path)  # noqa: PTH112


def _exists(path: str) -> bool:
    return os.path.exists(path)  # noqa: PTH110
