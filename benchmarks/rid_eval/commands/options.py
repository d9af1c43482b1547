"""Options that several commands of ``rid-eval`` share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rid_core.cli.options import (
    Decorator,
    count_option,
    grouped,
    path_option,
    quiet_option,
    threads_option,
)
from rid_eval.photos import PhotoFolder

if TYPE_CHECKING:
    import torch

    from rid_eval.results import Measurement

photo_options = grouped(
    "photos", PhotoFolder,
    path_option("--images", required=True, help="Portraits."),
    click.option("--pattern", default="*", show_default=True, help="Which files of the folder."),
    count_option("--limit", help="At most so many photos."),
)  # fmt: skip
levels_option = click.option(
    "--levels", type=click.IntRange(1, 255),
    help="Bound in 8-bit levels [default: the checkpoints'].",
)  # fmt: skip


@dataclass(frozen=True)
class MethodOptions:
    """Slow methods that a defender is held against.

    Attributes:
        methods: their names.
        changes: their settings, as ``METHOD.KEY=VALUE``.
    """

    methods: tuple[str, ...]
    changes: tuple[str, ...]


method_options = grouped(
    "slow", MethodOptions,
    click.option("--against", "methods", multiple=True, metavar="METHOD",
                 help="Slow method of rid-train pairs to measure beside them, such as pgd or aspl, "
                      "on the first surrogate that it can attack; repeatable."),
    click.option("--set", "changes", multiple=True, metavar="METHOD.KEY=VALUE",
                 help="A setting of a slow method, such as pgd.steps=20; repeatable."),
)  # fmt: skip


@dataclass(frozen=True)
class ComputeOptions:
    """Where to compute.

    Attributes:
        device: name of a device.
        threads: of the CPU.
    """

    device: str
    threads: int | None

    def prepare(self) -> torch.device:
        """Set the threads; the device.

        Raises:
            RidError: no such device here.
        """
        import torch

        from rid_core.devices import device_named

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        return device_named(self.device)


def compute_options(default: str = "cpu") -> Decorator:
    """Options of where to compute; without one on ``default``."""
    return grouped(
        "compute", ComputeOptions,
        click.option("--device", default=default, show_default=True,
                     help="auto, cpu, cuda, cuda:1 ..."),
        threads_option,
    )  # fmt: skip


@dataclass(frozen=True)
class OutputOptions:
    """Where figures go.

    Attributes:
        json_path: file of the figures.
        quiet: no progress bar.
    """

    json_path: Path | None
    quiet: bool

    @contextlib.contextmanager
    def progress(self, label: str) -> Iterator[Callable[[int, int], None]]:
        """A bar on stderr while the block runs; to be told what is done, and the total."""
        from tqdm.auto import tqdm

        with tqdm(desc=label, disable=self.quiet) as bar:

            def update(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            yield update

    def show(self, result: Measurement) -> None:
        """Print the tables of a measurement, and write its figures."""
        from rid_eval.report import print_tables
        from rid_eval.results import write_result

        print_tables(result)
        if self.json_path is not None:
            write_result(self.json_path, result)


output_options = grouped(
    "output", OutputOptions,
    path_option("--json", "json_path", help="Write the figures."),
    quiet_option,
)  # fmt: skip
