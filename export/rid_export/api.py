"""``rid_export.export``: what ``rid-export`` does, as a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from rid_core.errors import MissingExtraError, RidError

if TYPE_CHECKING:
    from rid_export.report import Result
    from rid_export.spec import ExportSpec


class Settings(TypedDict, total=False):
    """What can be asked of every file besides target and precision; see :class:`ExportSpec`."""

    resolution: int
    layout: str
    io: str
    outputs: tuple[str, ...]
    dynamic: bool
    calib: str
    calib_samples: int
    allow_noise: bool


class Results(list["Result"]):
    """Results in the order in which they were asked for.

    Attributes:
        left_out: why some of what ``all`` stands for cannot be made, one line each.
    """

    left_out: tuple[str, ...] = ()


def export(
    model: str | Path = "rid-s",
    *,
    targets: str | Sequence[str] = "all",
    precisions: str | Sequence[str] = "fp32",
    output: str | Path = "dist",
    portraits: Path | None = None,
    surrogate: Path | None = None,
    beside: bool = True,
    notify: Callable[[str], None] = lambda _: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    **settings: Unpack[Settings],
) -> Results:
    """Export a defender, and prove every file.

    A file gets its name only after it has run on portraits and agreed with the float32 network. One
    that is refused stops no other; its result has the reason as ``error``.

    >>> import rid_export
    >>> for made in rid_export.export("rid-s", targets="tflite", precisions=["fp32", "int8"],
    ...                               output="dist"):  # doctest: +SKIP
    ...     print(made.file, made.error or made.figure("delta_sqnr_db"))
    dist/rid-s.tflite 101.7
    dist/rid-s.int8.tflite 31.6

    Args:
        model: a ``.safetensors`` file, or a defender that comes with the package.
        targets: ``tflite``, ``onnx``, ``coreml``, ``executorch``, several of them, or ``all``.
        precisions: ``fp32``, ``fp16``, ``w8``, ``pal8``, ``w8a16``, ``int8``, several of them, or
            ``all`` that a target has.
        output: folder for the files.
        portraits: folder of at least 8 photos to measure the files on; bundled ones if None.
        surrogate: file of a tiny autoencoder's encoder, to measure the effect that is left as well.
        beside: whether to write wrappers for apps and a report beside the files.
        notify: called with one line per step.
        progress: called with the steps that are done and all steps.
        **settings: of every file, such as ``resolution``; see :class:`ExportSpec`.

    Returns:
        One result per file: ``file``, ``error``, ``size``, ``parity`` (the gate's figures with
        their bounds, per runtime), and ``figure(name)``, the worst of all runtimes.

    Raises:
        RidError: nothing of that can be made, or the checkpoint cannot be exported at all.
        MissingExtraError: a converter is not installed.
    """
    from rid_core.checkpoint import find_checkpoint
    from rid_export import delivery, pipeline

    specs, left_out = _specs(_listed(targets), _listed(precisions), settings)
    source, folder = find_checkpoint(model), Path(output)
    results = Results(
        pipeline.export(
            *(specs, source, folder),
            notify=notify,
            progress=progress,
            portraits=portraits,
            surrogate=surrogate,
        )
    )
    results.left_out = tuple(left_out)
    if beside:
        delivery.deliver(results, source, folder, notify=notify, left_out=left_out)
    return results


def _listed(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _specs(
    targets: tuple[str, ...], precisions: tuple[str, ...], settings: Settings
) -> tuple[list[ExportSpec], list[str]]:
    """What to make, and of what ``all`` stands for why some cannot be made so, one line each."""
    from rid_export.registry import get_target, list_targets
    from rid_export.spec import ExportSpec

    wanted: dict[tuple[str, str], bool] = {}  # whether it was named itself
    for target in targets:
        for name in list_targets() if target == "all" else [target]:
            for precision in precisions:
                every = get_target(name).precisions if precision == "all" else (precision,)
                for each in every:
                    named = "all" not in (target, precision)
                    wanted[name, each] = wanted.get((name, each), False) or named
    specs = []
    left_out = []
    for (name, precision), named in wanted.items():
        spec = ExportSpec(target=name, precision=precision, **settings)
        try:
            get_target(name).check(spec)
        except MissingExtraError as error:
            if named or get_target(name).extra == "export":
                raise
            left_out.append(str(error))
        except RidError as error:
            if named:
                raise
            left_out.append(str(error))
        else:
            specs.append(spec)
    if not specs:
        raise RidError("; ".join(left_out) or "name at least one target and one precision")
    return specs, left_out
