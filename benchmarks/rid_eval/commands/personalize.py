"""``rid-eval personalize``: does the attack itself fail on protected photos?"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rid_core.cli.common import CONTEXT, parse_shard
from rid_core.cli.options import grouped, option, path_option
from rid_core.errors import MissingExtraError
from rid_eval.commands.options import (
    ComputeOptions,
    OutputOptions,
    compute_options,
    output_options,
)
from rid_eval.personalization.request import (
    AttackOptions,
    ConditionOptions,
    JudgeOptions,
    PeopleOptions,
    StudyRequest,
)

if TYPE_CHECKING:
    from rid_eval.personalization.figures import AttackCheck
    from rid_eval.personalization.setup import OpenedStudy

_EPILOG = """\b
Examples:
  rid-eval personalize --surrogate weights/face-ldm --people ../shared/data/people \\
      -o runs/personalize
  rid-eval personalize --surrogate weights/face-ldm --people ../shared/data/people \\
      --transfer weights/taesd --transfer weights/taesd3 --equal-look -o runs/equal
  rid-eval personalize --surrogate SD-FOLDER --preset paper --method lora --no-align \\
      --people my-people/ -o runs/sd --device cuda
Two processes share the work, a third call merges it (the same command without --shard):
  rid-eval personalize ... -o runs/personalize --shard 0/2 &
  rid-eval personalize ... -o runs/personalize --shard 1/2 & wait
  rid-eval personalize ... -o runs/personalize --json personalization.json
What is left after a messenger:
  rid-eval personalize ... -o runs/personalize --channel jpeg75
"""


@dataclass(frozen=True)
class StartOptions:
    """Which attacks are started."""

    shard: str = option("--shard", default="0/1", metavar="I/N",
                        help="Do one part of N, the first is 0.")  # fmt: skip
    finished: bool = option("--finished", is_flag=True,
                            help="Start no attack; figures of the finished ones.")  # fmt: skip
    force: bool = option("--force", is_flag=True,
                         help="Go on although the attack on clean photos fails.")  # fmt: skip
    yes: bool = option("--yes", is_flag=True,
                       help="Start even what takes many hours on this device.")  # fmt: skip


@click.command("personalize", context_settings=CONTEXT, epilog=_EPILOG)
@click.option("--surrogate", required=True, metavar="MODEL",
              help="A StableDiffusionPipeline in diffusers' layout: folder, or name on the "
                   "hub.")  # fmt: skip
@path_option("-o", "--output", "folder", required=True,
             help="Folder of everything that is made; a finished attack is not made "
                  "again.")  # fmt: skip
@grouped("people", PeopleOptions)
@grouped("attack", AttackOptions)
@grouped("conditions", ConditionOptions)
@click.option("--channel", default="plain", show_default=True,
              type=click.Choice(["plain", "jpeg75", "half"]),
              help="What all photos, clean ones too, go through before the attacker has "
                   "them.")  # fmt: skip
@grouped("judge", JudgeOptions)
@click.option("--seed", default=0, show_default=True)
@compute_options("auto")
@grouped("start", StartOptions)
@output_options
def personalize(
    surrogate: str,
    folder: Path,
    people: PeopleOptions,
    attack: AttackOptions,
    conditions: ConditionOptions,
    channel: str,
    judge: JudgeOptions,
    seed: int,
    compute: ComputeOptions,
    start: StartOptions,
    output: OutputOptions,
) -> None:
    """Personalize a diffusion model on clean and on protected photos of people, and judge samples.

    First the attack has to work: trained on clean photos, samples must be recognised as the person
    for most attacks, and clearly more than those of the untuned model. If not, the command says so,
    marks its JSON "attack": "broken" and exits with 1, unless --force is given.

    Protections are put on photos at the size at which the attacker trains, and rounded to 8 bits.
    For each person and set: clean, each --defender, each --against (METHOD on the attacked model,
    METHOD-transfer on --transfer, with --equal-look METHOD-look and METHOD-transfer-look), signs:
    random signs at the strength at which photos have the JOD of the first defender's, and noise
    with the spectrum and the values of the first defender's perturbation.
    """
    # Asked for by cuBLAS, before a GPU is used, for the same result every time.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        import diffusers  # noqa: F401
        import peft  # noqa: F401

        from rid_core.devices import enough_memory
        from rid_eval.personalization.setup import reproducible
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "a package", "train") from None

    request = StudyRequest(surrogate, folder, people, attack, conditions, judge, channel, seed,
                           compute.device, parse_shard(start.shard))  # fmt: skip
    compute.prepare()
    advice = "lower --batch, or give a device with more memory"
    with enough_memory(advice), reproducible():
        works = _run(request, start, output)
    if not works and not start.force:
        raise click.exceptions.Exit(1)


def _run(request: StudyRequest, start: StartOptions, output: OutputOptions) -> bool:
    """Do what is left and report; whether the attack works."""
    from rid_eval.personalization.setup import check_patience, open_study

    with output.progress("People") as update:
        opened = open_study(request, update)
    for line in opened.left_out:
        click.echo(line, err=True)
    study = opened.study
    if not start.finished and not start.yes:
        check_patience(study)
    left = 0 if start.finished else len(study.left())
    click.echo(
        f"{study.model.name}, {request.attack.method} ({opened.preset}), {len(study.targets)} sets "
        f"of {len(opened.subjects)} people, {left} attacks to do on {study.model.device}"
    )
    with output.progress("Attacks") as update:
        check = study.run(update, start.force, not start.finished)
    if request.shard[1] > 1:
        click.echo(f"shard {start.shard} is done; the same command without --shard merges")
        if not check.works:
            click.echo(f"so far the attack is broken: {check.reason}", err=True)
        return check.works
    return _report(opened, check, output)


def _report(opened: OpenedStudy, check: AttackCheck, output: OutputOptions) -> bool:
    """Print and write the figures; whether the attack works."""
    from rid_eval.personalization.setup import figures
    from rid_eval.results import write_result

    result = figures(opened, check)
    file = opened.study.output / "personalization.json"
    write_result(file, result)
    output.show(result)
    if check.works:
        click.echo(f"The attack works: {check.reason}.")
    else:
        click.echo(
            f"The attack is broken: {check.reason}. Nothing here measures protection; make the "
            "model stronger, or change the attack's settings.",
            err=True,
        )
    click.echo(f"Figures: {file}, beside them a sheet of each set")
    return check.works
