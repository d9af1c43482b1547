"""``rid-eval shift``: how far latents move, how visible it is, and how slow methods compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rid_core.assignments import read_assignments
from rid_core.cli.common import CONTEXT
from rid_core.errors import MissingExtraError, RidError

if TYPE_CHECKING:
    from rid_core.budget import Budget
    from rid_core.checkpoint import ModelCard
    from rid_core.defenders import Defender
    from rid_core.surrogates import Surrogate
    from rid_eval.shift import Protection

_EPILOG = """\b
Examples:
  rid-eval shift rid-s rid-n --images ../shared/data/portraits --pattern '04[5-9]?.jpg' \\
      --surrogate ../shared/weights/taef2_encoder.pth --against pgd --json shift.json
  rid-eval shift runs/mine/rid-s.safetensors --images faces/ --surrogate taef2_encoder.pth
  rid-eval shift rid-s --images faces/ --surrogate weights/face-ldm --against pgd \\
      --against aspl --set pgd.steps=20 --set aspl.learning_rate=1e-3
"""


_PHOTO_OPTIONS = (
    click.option("--images", required=True, type=click.Path(path_type=Path), help="Portraits."),
    click.option("--pattern", default="*", show_default=True, help="Which files of the folder."),
    click.option("--limit", type=click.IntRange(1), help="At most so many images."),
    click.option(
        "--size", default=512, show_default=True, help="Side to scale and crop to, pixels."
    ),
    click.option(
        "--levels",
        type=click.IntRange(1, 255),
        help="Bound in 8-bit levels [default: the checkpoint's].",
    ),
)


def photo_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options by which a command takes photos, and the bound."""
    for option in reversed(_PHOTO_OPTIONS):
        command = option(command)
    return command


@click.command("shift", context_settings=CONTEXT, epilog=_EPILOG)
@click.argument("checkpoints", nargs=-1, required=True)
@photo_options
@click.option(
    "--surrogate",
    "surrogates",
    multiple=True,
    required=True,
    metavar="FILE|FOLDER",
    help="Encoder of the TAESD family, or a whole diffusion model, whose training loss is then "
    "measured too; repeatable.",
)
@click.option(
    "--look",
    default=9.8,
    show_default=True,
    type=click.FloatRange(0, 10, max_open=True),
    metavar="JOD",
    help="Quality at which protections are compared; 10 is no visible difference.",
)
@click.option(
    "--against",
    "peers",
    multiple=True,
    metavar="METHOD",
    help="Slow method of rid-train pairs to measure beside them, such as pgd or aspl, on the first "
    "surrogate that it can attack; repeatable.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="METHOD.KEY=VALUE",
    help="A setting of a slow method, such as pgd.steps=20; repeatable.",
)
@click.option("--device", default="cpu", show_default=True, help="Where to compute: cpu, cuda …")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures.")
@click.option("--update-card", is_flag=True, help="Write the figures into the checkpoints' cards.")
def shift(
    checkpoints: tuple[str, ...],
    images: Path,
    pattern: str,
    limit: int | None,
    size: int,
    surrogates: tuple[str, ...],
    levels: int | None,
    look: float,
    peers: tuple[str, ...],
    changes: tuple[str, ...],
    device: str,
    json_path: Path | None,
    update_card: bool,
) -> None:
    """Relative latent shift and effect: plain, after JPEG 75, and after 0.5 x resize and back.

    CHECKPOINTS are files or bundled presets. The shift is at full strength. In brackets stands the
    effect: the shift at the strength at which the protection has the JOD of --look, over that of
    random signs of the same JOD.
    """
    try:
        from rid_eval import shift as measures
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "a package", "train") from None
    from rid_core.checkpoint import find_checkpoint, save_checkpoint
    from rid_core.surrogates import distils, open_surrogate
    from rid_eval.devices import device_named
    from rid_eval.results import result, rounded, write_result

    place = device_named(device)
    encoders = [open_surrogate(path) for path in surrogates]
    for encoder in encoders:
        encoder.to(place)  # type: ignore[attr-defined]
    opened = open_protections(checkpoints, levels, peers, changes, encoders)
    batch = measures.load_images(images, pattern, size, limit)
    if not batch:
        raise RidError(f"{images}: no portrait matches {pattern!r}")
    photos = [image.to(place) for image in batch.values()]
    with click.progressbar(length=len(opened.protections) * len(batch), label="Measuring") as bar:
        rows = measures.measure(
            opened.protections, photos, encoders, opened.budget, look, lambda: bar.update(1)
        )
    click.echo(measures.table(rows, opened.budget, look))
    floor = rows[measures.FLOOR]
    report = result(
        "relative latent shift",
        images={"folder": images.name, "pattern": pattern, "count": len(batch), "size": size},
        levels=opened.budget.levels,
        look=look,
        device=str(place),
        encoders={encoder.name: distils(encoder.name) for encoder in encoders},
        against=opened.about,
        weights=opened.weights,
        rows={
            label: {**dataclasses.asdict(row), "effect": measures.effect(row, floor)}
            for label, row in rows.items()
        },
    )
    if json_path is not None:
        write_result(json_path, report)
    if update_card:
        for name, label in opened.labels.items():
            defender, card = opened.loaded[name]
            key = f"shift at {size}, {len(batch)} portraits, {opened.budget.levels} levels"
            figures = {**card.figures, key: rounded(report["rows"][label])}
            fresh = dataclasses.replace(card, figures=figures)
            save_checkpoint(find_checkpoint(name), defender.cpu(), fresh)


@dataclass(frozen=True)
class Opened:
    """Protections to measure, and what each is.

    Attributes:
        protections: by label; random signs first, then slow methods, then defenders.
        budget: the bound of all.
        loaded: defenders with their cards, by the name that was given.
        labels: of the defenders, by that name.
        weights: digests of their weights by label.
        about: what each slow method is, by label.
    """

    protections: dict[str, Protection]
    budget: Budget
    loaded: dict[str, tuple[Defender, ModelCard]]
    labels: dict[str, str]
    weights: dict[str, str]
    about: dict[str, dict[str, Any]]


def open_protections(
    checkpoints: tuple[str, ...],
    levels: int | None,
    peers: tuple[str, ...],
    changes: tuple[str, ...],
    encoders: list[Surrogate],
) -> Opened:
    """Load defenders and make ready what they are held against.

    Raises:
        RidError: one cannot be loaded, their bounds differ and none is given, or a slow method is
            unknown or has nothing to attack.
    """
    from rid_core.budget import Budget
    from rid_core.checkpoint import find_checkpoint, load_checkpoint, weights_digest
    from rid_eval import shift as measures

    stems = [Path(name).stem for name in checkpoints]
    # Checkpoints of several runs have one name: then the paths tell them apart.
    labels = {name: stem if stems.count(stem) == 1 else name
              for name, stem in zip(checkpoints, stems, strict=True)}  # fmt: skip
    loaded = {name: load_checkpoint(find_checkpoint(name)) for name in checkpoints}
    bounds = {levels or card.levels for _, card in loaded.values()}
    if len(bounds) > 1:
        raise RidError(f"the checkpoints have different bounds, {sorted(bounds)}; give --levels")
    budget = Budget(bounds.pop())
    slow, about = _slow(peers, changes, encoders, budget)
    protections: dict[str, Protection] = {measures.FLOOR: measures.random_signs, **slow}
    for name, (defender, _) in loaded.items():
        protections[labels[name]] = measures.defender_protection(defender)
    weights = {labels[n]: weights_digest(d)[:16] for n, (d, _) in loaded.items()}
    return Opened(protections, budget, loaded, labels, weights, about)


def _slow(
    peers: tuple[str, ...], changes: tuple[str, ...], encoders: list[Surrogate], budget: Budget
) -> tuple[dict[str, Protection], dict[str, dict[str, Any]]]:
    """The slow methods as protections, and what each is, by label."""
    from rid_core.attacks.registry import first_attackable, settings_of
    from rid_eval.results import exact
    from rid_eval.shift import slow_protection

    given: dict[str, dict[str, Any]] = {name: {} for name in peers}
    for key, value in read_assignments(changes).items():
        name, _, setting = key.partition(".")
        if name not in given:
            raise RidError(f"--set {key}: {name!r} is not among --against")
        given[name][setting] = value
    protections, about = {}, {}
    for name, changed in given.items():
        settings = settings_of(name, changed)
        if not encoders:
            raise RidError(f"--against {name} needs a --surrogate to attack")
        surrogate = first_attackable(name, encoders)
        label = f"{name}-{settings['steps']}" if "steps" in settings else name
        protections[label] = slow_protection(name, surrogate, budget, settings)
        about[label] = {"method": name, "settings": exact(settings), "attacks": surrogate.name}
    return protections, about
