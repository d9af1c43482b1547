"""Commands that measure elsewhere: ssh and adb."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from rid_bench.commands.common import PATH, numbers, output_option, show
from rid_core.errors import RidError


@click.command("ssh")
@click.argument("target", metavar="USER@BOARD")
@click.argument("bundle", type=PATH)
@output_option("board.json")
@click.option("--port", type=click.IntRange(1, 65535))
@click.option("--identity", metavar="FILE", help="Private key.")
@click.option("--config", metavar="FILE", help="ssh configuration instead of your own.")
@click.option("--python", default="python3", show_default=True, help="On the board.")
@click.option("--folder", help="Where to work on the board.  [its folder for temporary files]")
@click.option("--threads", callback=numbers(int), default="", metavar="LIST", help="Such as 1,2,4.")
@click.option("--rounds", default=10, show_default=True, type=click.IntRange(1))
@click.option("--seconds", default=1800.0, show_default=True, help="The run may take.")
def ssh_command(
    target: str,
    bundle: Path,
    output: Path,
    port: int | None,
    identity: str | None,
    config: str | None,
    python: str,
    folder: str | None,
    threads: Sequence[int],
    rounds: int,
    seconds: float,
) -> int:
    """Run a BUNDLE on a board by the system's ssh, and bring the results back."""
    from rid_bench.devices import ssh
    from rid_core.report.terminal import progress

    arguments = ["--rounds", str(rounds), "--name", target]
    if threads:
        arguments += ["--threads", ",".join(map(str, threads))]
    board = ssh.Board(target, port, identity, config, python, folder)
    with progress(f"measuring on {target}") as bar:
        runs = ssh.run(board, bundle, output, arguments, seconds=seconds, notify=bar.line)
    for run in runs:
        show(run)
    click.echo(f"written to {output}")
    return 0


@click.command("adb")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@output_option("phone.json")
@click.option("--serial", help="Of the phone, if several are connected.")
@click.option("--package", help="Of the app.  [the demo's]")
@click.option("--threads", default=4, show_default=True, type=click.IntRange(1))
@click.option("--runs", default=50, show_default=True, type=click.IntRange(1))
@click.option("--delegate", default="cpu", show_default=True, help="cpu, gpu or npu.")
@click.option("--seconds", default=600.0, show_default=True, help="To wait for the results.")
def adb_command(
    files: tuple[str, ...],
    output: Path,
    serial: str | None,
    package: str | None,
    threads: int,
    runs: int,
    delegate: str,
    seconds: float,
) -> int:
    """Run FILES on a phone by the demo app's benchmark, and bring the results back."""
    import tempfile

    from PIL import Image

    from rid_bench.artefacts import open_artefact
    from rid_bench.devices import adb
    from rid_bench.photos import photo_at
    from rid_core.report.terminal import progress

    artefacts = [open_artefact(file) for file in files]
    sizes = {artefact.metadata.resolution for artefact in artefacts}
    if len(sizes) > 1:
        raise RidError("all files of a run must have one resolution")
    phone = adb.Phone(serial, package or adb.PACKAGE)
    with tempfile.TemporaryDirectory() as folder, progress("measuring on the phone") as bar:
        photo = Path(folder) / "portrait.png"
        Image.fromarray(photo_at(sizes.pop())).save(photo)
        found = adb.run(
            phone,
            artefacts,
            photo,
            output,
            threads=threads,
            runs=runs,
            delegate=delegate,
            seconds=seconds,
            notify=bar.line,
        )
    for run in found:
        show(run)
    click.echo(f"written to {output}")
    return 0
