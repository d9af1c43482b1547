"""``rid-eval personalize``: does the attack itself fail on protected photos?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rid_core.assignments import split_assignment
from rid_core.cli.common import CONTEXT, parse_shard
from rid_core.errors import MissingExtraError

if TYPE_CHECKING:
    from rid_eval.personalization.setup import Request

_EPILOG = """\b
Examples:
  rid-eval personalize --surrogate weights/face-ldm --people ../shared/data/people \\
      -o runs/personalize
  rid-eval personalize --surrogate weights/face-ldm --people ../shared/data/people \
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


@click.command("personalize", context_settings=CONTEXT, epilog=_EPILOG)
@click.option(
    "--surrogate",
    required=True,
    metavar="MODEL",
    help="A StableDiffusionPipeline in diffusers' layout: folder, or name on the hub.",
)
@click.option(
    "--people",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder with a folder of photos per person.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of everything that is made; a finished attack is not made again.",
)
@click.option(
    "--method",
    default="dreambooth",
    show_default=True,
    type=click.Choice(["dreambooth", "lora", "textual-inversion"]),
)
@click.option(
    "--preset",
    type=click.Choice(["paper", "face-ldm"]),
    help="Settings of the attack [default: by the size of the model].",
)
@click.option(
    "--defender",
    "defenders",
    multiple=True,
    default=("rid-s",),
    show_default=True,
    metavar="NAME|FILE",
    help="Checkpoint or bundled preset, or none; repeatable.",
)
@click.option(
    "--against",
    "peers",
    multiple=True,
    default=("aspl", "photoguard"),
    show_default=True,
    metavar="METHOD",
    help="Slow methods of rid-train pairs beside it, or none, on the attacked model; repeatable.",
)
@click.option(
    "--transfer",
    multiple=True,
    metavar="FILE|FOLDER",
    help="Encoder or diffusion model that the slow methods also attack, all of these at once, "
    "without knowing the attacked model; repeatable.",
)
@click.option(
    "--equal-look",
    is_flag=True,
    help="Also scale the slow methods to the JOD of the first defender's photos.",
)
@click.option("--signs-bound", is_flag=True, help="Also random signs of the full bound.")
@click.option(
    "--mixed",
    "shares",
    type=click.IntRange(1, 99),
    multiple=True,
    metavar="PERCENT",
    help="Also protect only so many of a person's photos, by the first defender; repeatable.",
)
@click.option("--levels", type=int, help="Bound in 8-bit levels [default: the defenders'].")
@click.option(
    "--channel",
    default="plain",
    show_default=True,
    type=click.Choice(["plain", "jpeg75", "half"]),
    help="What all photos, clean ones too, go through before the attacker has them.",
)
@click.option(
    "--sets",
    default=2,
    show_default=True,
    type=click.IntRange(1),
    help="Attacks per person, each on photos of its own.",
)
@click.option(
    "--photos",
    default=4,
    show_default=True,
    type=click.IntRange(1),
    help="Of the attacker, per set; all others are the reference.",
)
@click.option("--limit", type=click.IntRange(1), help="At most so many people.")
@click.option(
    "--align/--no-align",
    "aligned",
    default=True,
    show_default=True,
    help="Bring faces into the position the face model was trained on, or crop the centre.",
)
@click.option("--steps", type=int, help="Of training.")
@click.option("--batch", type=int, help="Photos of a step.")
@click.option("--lr", type=float, help="Learning rate.")
@click.option("--samples", type=int, help="Pictures the attacker draws.")
@click.option("--guidance", type=float, help="Classifier-free; 1 for none.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other setting of the attack (rank=8, text_encoder=false, prior=0), or of a slow "
    "method (aspl.rounds=20).",
)
@click.option("--seed", default=0, show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 ...")
@click.option("--threads", type=click.IntRange(1), help="Of the CPU.")
@click.option("--judge", "judge_name", default="sface", show_default=True, help="sface or dlib.")
@click.option("--lpips-backbone", type=click.Path(path_type=Path), help="AlexNet, for LPIPS.")
@click.option("--lpips-heads", type=click.Path(path_type=Path), help="Its linear layers.")
@click.option("--shard", default="0/1", metavar="I/N", help="Do one part of N, the first is 0.")
@click.option("--finished", is_flag=True, help="Start no attack; figures of the finished ones.")
@click.option("--force", is_flag=True, help="Go on although the attack on clean photos fails.")
@click.option("--yes", is_flag=True, help="Start even what takes many hours on this device.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write it here.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def personalize(**options: Any) -> None:
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
        import torch

        from rid_core.memory import enough_memory
        from rid_eval.personalization.setup import reproducible
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "a package", "train") from None

    if options["threads"]:
        torch.set_num_threads(options["threads"])
    advice = "lower --batch, or give a device with more memory"
    with enough_memory(advice), reproducible():
        works = _run(options)
    if not works and not options["force"]:
        raise click.exceptions.Exit(1)


def _run(options: dict[str, Any]) -> bool:
    """Do what is left and report; whether the attack works."""
    from tqdm.auto import tqdm

    from rid_eval.people import list_people
    from rid_eval.personalization.setup import check_patience, figures, open_study
    from rid_eval.personalization.summary import table
    from rid_eval.results import write_result

    request, quiet = _request(options), options["quiet"]
    folders = list_people(request.people, request.limit)
    with tqdm(total=len(folders), desc="People", disable=quiet) as bar:
        opened = open_study(request, bar.update)
    for line in opened.left_out:
        click.echo(line, err=True)
    study = opened.study
    start = not options["finished"]
    if start and not options["yes"]:
        check_patience(study)
    left = len(study.left()) if start else 0
    click.echo(
        f"{study.model.name}, {request.method} ({opened.preset}), {len(study.targets)} sets of "
        f"{len(opened.subjects)} people, {left} attacks to do on {study.model.device}"
    )
    with tqdm(total=left, desc="Attacks", unit="attack", disable=quiet) as bar:

        def on_attack(text: str) -> None:
            bar.set_postfix_str(text)
            bar.update()

        verdict = study.run(on_attack, options["force"], start)
    if request.shard[1] > 1:
        click.echo(f"shard {options['shard']} is done; the same command without --shard merges")
        if not verdict.works:
            click.echo(f"so far the attack is broken: {verdict.reason}", err=True)
        return verdict.works
    content = figures(opened, verdict)
    if len(content["conditions"]) > 2:
        click.echo(table(content))
    if verdict.works:
        click.echo(f"The attack works: {verdict.reason}.")
    else:
        click.echo(
            f"The attack is broken: {verdict.reason}. Nothing here measures protection; make the "
            "model stronger, or change the attack's settings.",
            err=True,
        )
    for path in filter(None, (study.output / "personalization.json", options["json_path"])):
        write_result(path, content)
    click.echo(f"Figures: {study.output / 'personalization.json'}, beside them a sheet of each set")
    return verdict.works


def _request(options: dict[str, Any]) -> Request:
    """What the command line asks for."""
    from rid_eval.personalization.setup import Request

    shortcuts = {key: options[key] for key in ("steps", "batch", "lr", "samples", "guidance")
                 if options[key] is not None}  # fmt: skip
    same = ("surrogate", "people", "output", "method", "preset", "shares", "levels", "channel",
            "sets", "photos", "limit", "aligned", "seed", "device", "transfer", "equal_look",
            "signs_bound")  # fmt: skip
    return Request(
        **{name: options[name] for name in same},
        changes={**shortcuts, **dict(map(split_assignment, options["changes"]))},
        defenders=tuple(name for name in options["defenders"] if name != "none"),
        peers=tuple(peer for peer in options["peers"] if peer != "none"),
        judge=options["judge_name"],
        lpips=(options["lpips_backbone"], options["lpips_heads"]),
        shard=parse_shard(options["shard"]),
    )
