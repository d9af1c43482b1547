"""``rid-eval personalize``: does the attack itself fail on protected photos?"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rid_core.cli.common import CONTEXT
from rid_core.errors import MissingExtraError, RidError

if TYPE_CHECKING:
    from rid_core.evaluation.personalization.settings import AttackSettings

_EPILOG = """\b
Examples:
  rid-eval personalize --surrogate runs/face-ldm/face-ldm --people ../shared/data/people \\
      -o runs/personalize
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
    help="Checkpoint or bundled preset; repeatable.",
)
@click.option(
    "--against",
    "peers",
    multiple=True,
    default=("aspl", "photoguard"),
    show_default=True,
    metavar="METHOD",
    help="Slow methods of rid-train pairs beside it, or none; repeatable.",
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
    For each person and set: clean, each --defender, each --against, random signs of the same bound,
    and noise with the spectrum and the values of the first defender's perturbation.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        import diffusers  # noqa: F401
        import peft  # noqa: F401
        import torch
        from tqdm.auto import tqdm

        from rid_core.training.memory import enough_memory
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "a package", "train") from None

    if options["threads"]:
        torch.set_num_threads(options["threads"])
    advice = "lower --batch, or give a device with more memory"
    with enough_memory(advice), _reproducible():
        works = _run(options, tqdm)
    if not works and not options["force"]:
        raise click.exceptions.Exit(1)


def _run(options: dict[str, Any], tqdm: Any) -> bool:
    """Do it all; whether the attack works."""
    import numpy as np

    from rid_core.budget import Budget
    from rid_core.evaluation import lpips
    from rid_core.evaluation.judges import load_judge
    from rid_core.evaluation.people import list_people
    from rid_core.evaluation.personalization import protections as conditions
    from rid_core.evaluation.personalization import settings as presets
    from rid_core.evaluation.personalization.model import load_model, model_digest
    from rid_core.evaluation.personalization.study import Study
    from rid_core.evaluation.personalization.subjects import (
        judge_threshold,
        load_subjects,
        targets,
    )
    from rid_core.surrogates import DiffusionSurrogate, Ensemble, load_surrogate
    from rid_core.training.make_pairs import parse_shard

    shard = parse_shard(options["shard"])
    output, source = options["output"], options["surrogate"]
    given = presets.parse_settings(options["changes"])
    options["peers"] = tuple(peer for peer in options["peers"] if peer != "none")
    defenders, levels = conditions.open_defenders(options["defenders"], options["levels"])
    device = _device(options["device"])
    model = load_model(source, device, options["method"])
    name = options["preset"] or presets.preset_for(model.parameters)
    attack, of_peers = _settings(name, options, given)
    judge = load_judge(options["judge_name"])
    folders = list_people(options["people"], options["limit"])
    with tqdm(total=len(folders), desc="People", disable=options["quiet"]) as bar:
        subjects = load_subjects(
            options["people"], judge, model.side, output / "people", aligned=options["aligned"],
            limit=options["limit"], on_person=bar.update,
        )  # fmt: skip
    dealt = targets(subjects, options["sets"], options["photos"])
    threshold, origin = judge_threshold(subjects, judge)

    opened: dict[str, DiffusionSurrogate] = {}

    def surrogate() -> DiffusionSurrogate:
        if "one" not in opened:
            loaded = load_surrogate("stable-diffusion", path=source, prompt=attack.class_prompt)
            Ensemble([loaded]).to(device)
            assert isinstance(loaded, DiffusionSurrogate)
            opened["one"] = loaded
        return opened["one"]

    digest = model_digest(source)
    study = Study(
        model=model,
        judge=judge,
        protections=conditions.Protections(
            budget=Budget(levels),
            defenders=defenders,
            methods=conditions.method_settings(options["peers"], of_peers),
            ensemble=lambda: Ensemble([surrogate()]).to(device),
            cache=output / "protected",
            device=device,
            attacked=f"{digest} {attack.class_prompt}",
            seed=options["seed"],
        ),
        targets=dealt,
        threshold=threshold,
        settings=attack,
        output=output / options["method"] / options["channel"],
        measured=surrogate,
        channel=options["channel"],
        seed=options["seed"],
        shard=shard,
        identity={
            "model": digest, "judge": judge.name, "aligned": options["aligned"],
            "sets": options["sets"], "photos": options["photos"],
        },
        lpips=_lpips(options),
    )  # fmt: skip
    _check_time(study, options["yes"])
    left = study.left()
    shown = f"{model.name}, {attack.method} ({name}), {len(dealt)} sets of {len(subjects)} people"
    click.echo(f"{shown}, {len(left)} attacks to do on {device}")
    with tqdm(total=len(left), desc="Attacks", unit="attack", disable=options["quiet"]) as bar:

        def on_attack(text: str) -> None:
            bar.set_postfix_str(text)
            bar.update()

        verdict = study.run(on_attack, options["force"])
    if shard[1] > 1:
        click.echo(f"shard {options['shard']} is done; merge by the same command without --shard")
        if not verdict.works:
            click.echo(f"so far the attack is broken: {verdict.reason}", err=True)
        return bool(verdict.works)
    about = {
        "surrogate": model.name, "preset": name, "device": _device_name(device),
        "people": [s.name for s in subjects],
        "left_out": {s.name: s.left_out for s in subjects if s.left_out},
        "levels": levels, "channel": options["channel"],
        "judge": {"name": judge.name, "threshold": threshold, "from": origin},
        "lpips": "measured" if study.lpips else lpips.UNAVAILABLE,
    }  # fmt: skip
    references = np.concatenate([s.embeddings for s in subjects])
    return _report(study, verdict, about, references, list(defenders), options["json_path"])


def _report(
    study: Any, verdict: Any, about: dict[str, Any], references: Any, defenders: list[str],
    json_path: Path | None,
) -> bool:  # fmt: skip
    """Print and write what was found; whether the attack works."""
    from rid_core.evaluation.personalization.summary import effect_kept, summarize, table
    from rid_core.evaluation.results import result, write_result

    found = summarize(
        study.targets, study.labels, study.record, study.threshold, references, defenders
    )
    if study.channel != "plain":
        found["kept"] = effect_kept(
            study.targets, list(found["conditions"]), study.record, study.plain_record,
            study.threshold,
        )  # fmt: skip
    if verdict.works:
        click.echo(table(found))
        click.echo(f"The attack works: {verdict.reason}.")
    else:
        if len(found["conditions"]) > 2:
            click.echo(table(found))
        click.echo(
            f"The attack is broken: {verdict.reason}. Nothing here measures protection; make the "
            "model stronger, or change the attack's settings.",
            err=True,
        )
    content = result(
        "personalization",
        attack="works" if verdict.works else "broken",
        gate=dataclasses.asdict(verdict),
        settings=dataclasses.asdict(study.settings),
        protections={label: study.protections.describe(label)
                     for label in study.protections.labels},
        **about,
        **found,
    )  # fmt: skip
    for path in filter(None, (study.output / "personalization.json", json_path)):
        write_result(path, content)
    click.echo(f"Figures: {study.output / 'personalization.json'}, beside them a sheet of each set")
    return bool(verdict.works)


def _settings(
    name: str, options: dict[str, Any], given: dict[str, str]
) -> tuple[AttackSettings, dict[str, dict[str, Any]]]:
    """Of the attack, and of the slow methods, from preset and command line."""
    from rid_core.evaluation.personalization import settings as presets
    from rid_core.imagewise.registry import settings_of

    shortcuts = {key: options[key] for key in ("steps", "batch", "lr", "samples", "guidance")
                 if options[key] is not None}  # fmt: skip
    own = {key: value for key, value in given.items() if "." not in key}
    attack = presets.change(presets.preset(name, options["method"]), {**shortcuts, **own})
    peers = {method: dict(values) for method, values in presets.peer_settings(name).items()
             if method in options["peers"]}  # fmt: skip
    for key, value in given.items():
        method, dot, setting = key.partition(".")
        if not dot:
            continue
        if method not in options["peers"]:
            raise RidError(f"--set {key}: {method!r} is not among --against")
        default = settings_of(method).get(setting)
        try:
            read = type(default)(value) if default is not None else value
        except ValueError:
            raise RidError(f"--set {key} must be of type {type(default).__name__}") from None
        peers.setdefault(method, {})[setting] = read
    return attack, peers


def _device(name: str) -> Any:
    """The device asked for."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise RidError(f"--device {name}: no such kind of device; auto, cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RidError("--device cuda: no GPU is to be seen here; leave it out to use the CPU")
    return device


@contextlib.contextmanager
def _reproducible() -> Iterator[None]:
    """Of several ways to compute on a GPU, the one that gives the same result every time."""
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        memory.fill_uninitialized_memory = filled


def _device_name(device: Any) -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _lpips(options: dict[str, Any]) -> Any:
    from rid_core.evaluation.lpips import load_lpips

    if options["lpips_backbone"] is None and options["lpips_heads"] is None:
        return None
    return load_lpips(options["lpips_backbone"], options["lpips_heads"])


def _check_time(study: Any, yes: bool) -> None:
    """Refuse what takes too long without a GPU, unless told to go on.

    Raises:
        RidError: says how long.
    """
    from rid_core.evaluation.personalization.study import PATIENCE, estimated_hours

    attacks = len(study.left())
    if study.model.device.type != "cpu" or yes or not attacks:
        return
    hours = estimated_hours(study.model, study.settings, attacks)
    if hours > PATIENCE:
        raise RidError(
            f"{study.model.name}: {attacks} attacks take about {hours:,.0f} hours on this CPU; "
            "use a GPU (--device cuda), fewer --limit, --sets or --steps, or say --yes"
        )
