"""``rid-eval personalize``: does the attack itself fail on protected photos?"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rid_core.cli.common import CONTEXT, parse_shard
from rid_core.cli.options import count_option, grouped, path_option
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

people_options = grouped(
    "people", PeopleOptions,
    path_option("--people", required=True, help="Folder with a folder of photos per person."),
    count_option("--sets", default=2, show_default=True,
                 help="Attacks per person, each on photos of its own."),
    count_option("--photos", default=4, show_default=True,
                 help="Of the attacker, per set; all others are the reference."),
    count_option("--limit", help="At most so many people."),
    click.option("--align/--no-align", "aligned", default=True, show_default=True,
                 help="Bring faces into the position the face model was trained on, or crop the "
                      "centre."),
)  # fmt: skip

attack_options = grouped(
    "attack", AttackOptions,
    click.option("--method", default="dreambooth", show_default=True,
                 type=click.Choice(["dreambooth", "lora", "textual-inversion"])),
    click.option("--preset", type=click.Choice(["paper", "face-ldm"]),
                 help="Settings of the attack [default: by the size of the model]."),
    click.option("--steps", type=int, help="Of training."),
    click.option("--batch", type=int, help="Photos of a step."),
    click.option("--lr", type=float, help="Learning rate."),
    click.option("--samples", type=int, help="Pictures the attacker draws."),
    click.option("--guidance", type=float, help="Classifier-free; 1 for none."),
    click.option("--set", "changes", multiple=True, metavar="KEY=VALUE",
                 help="Any other setting of the attack (rank=8, text_encoder=false, prior=0), or "
                      "of a slow method (aspl.rounds=20)."),
)  # fmt: skip

condition_options = grouped(
    "conditions", ConditionOptions,
    click.option("--defender", "defenders", multiple=True, default=("rid-s",), show_default=True,
                 metavar="NAME|FILE", help="Checkpoint or bundled preset, or none; repeatable."),
    click.option("--against", "methods", multiple=True, default=("aspl", "photoguard"),
                 show_default=True, metavar="METHOD",
                 help="Slow methods of rid-train pairs beside it, or none, on the attacked model; "
                      "repeatable."),
    click.option("--transfer", multiple=True, metavar="FILE|FOLDER",
                 help="Encoder or diffusion model that the slow methods also attack, all of these "
                      "at once, without knowing the attacked model; repeatable."),
    click.option("--equal-look", is_flag=True,
                 help="Also scale the slow methods to the JOD of the first defender's photos."),
    click.option("--signs-bound", is_flag=True, help="Also random signs of the full bound."),
    click.option("--mixed", "shares", type=click.IntRange(1, 99), multiple=True, metavar="PERCENT",
                 help="Also protect only so many of a person's photos, by the first defender; "
                      "repeatable."),
    click.option("--levels", type=int, help="Bound in 8-bit levels [default: the defenders']."),
)  # fmt: skip

judge_options = grouped(
    "judge", JudgeOptions,
    click.option("--judge", default="sface", show_default=True, help="sface or dlib."),
    path_option("--lpips-backbone", help="AlexNet, for LPIPS."),
    path_option("--lpips-heads", help="Its linear layers."),
)  # fmt: skip


@dataclass(frozen=True)
class StartOptions:
    """Which attacks are started.

    Attributes:
        shard: part of the work, as ``I/N``.
        finished: whether none is started.
        force: whether to go on although the attack on clean photos fails.
        yes: whether to start what takes many hours.
    """

    shard: str
    finished: bool
    force: bool
    yes: bool


start_options = grouped(
    "start", StartOptions,
    click.option("--shard", default="0/1", metavar="I/N",
                 help="Do one part of N, the first is 0."),
    click.option("--finished", is_flag=True,
                 help="Start no attack; figures of the finished ones."),
    click.option("--force", is_flag=True,
                 help="Go on although the attack on clean photos fails."),
    click.option("--yes", is_flag=True,
                 help="Start even what takes many hours on this device."),
)  # fmt: skip


@click.command("personalize", context_settings=CONTEXT, epilog=_EPILOG)
@click.option("--surrogate", required=True, metavar="MODEL",
              help="A StableDiffusionPipeline in diffusers' layout: folder, or name on the "
                   "hub.")  # fmt: skip
@path_option("-o", "--output", "folder", required=True,
             help="Folder of everything that is made; a finished attack is not made "
                  "again.")  # fmt: skip
@people_options
@attack_options
@condition_options
@click.option("--channel", default="plain", show_default=True,
              type=click.Choice(["plain", "jpeg75", "half"]),
              help="What all photos, clean ones too, go through before the attacker has "
                   "them.")  # fmt: skip
@judge_options
@click.option("--seed", default=0, show_default=True)
@compute_options("auto")
@start_options
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
