"""What is asked of a study, as on the command line of ``rid-eval personalize``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from rid_core.assignments import read_assignments
from rid_core.cli.options import option

_COUNT, _PATH = click.IntRange(1), click.Path(path_type=Path)


@dataclass(frozen=True)
class PeopleOptions:
    """Who is cloned."""

    people: Path = option("--people", type=_PATH, required=True,
                          help="Folder with a folder of photos per person.")  # fmt: skip
    sets: int = option("--sets", type=_COUNT, default=2, show_default=True,
                       help="Attacks per person, each on photos of its own.")  # fmt: skip
    photos: int = option(
        "--photos", type=_COUNT, default=4, show_default=True,
        help="Of the attacker, per set; all others are the reference.",
    )  # fmt: skip
    limit: int | None = option("--limit", type=_COUNT, help="At most so many people.")
    aligned: bool = option(
        "--align/--no-align", default=True, show_default=True,
        help="Bring faces into the position the face model was trained on, or crop the centre.",
    )  # fmt: skip


@dataclass(frozen=True)
class AttackOptions:
    """How the attacker trains and samples; what is not given is the preset's."""

    method: str = option("--method", default="dreambooth", show_default=True,
                         type=click.Choice(["dreambooth", "lora", "textual-inversion"])
                         )  # fmt: skip
    preset: str | None = option("--preset", type=click.Choice(["paper", "face-ldm"]),
                                help="Settings of the attack [default: by the size of the model]."
                                )  # fmt: skip
    steps: int | None = option("--steps", type=int, help="Of training.")
    batch: int | None = option("--batch", type=int, help="Photos of a step.")
    lr: float | None = option("--lr", type=float, help="Learning rate.")
    samples: int | None = option("--samples", type=int, help="Pictures the attacker draws.")
    guidance: float | None = option("--guidance", type=float,
                                    help="Classifier-free; 1 for none.")  # fmt: skip
    changes: tuple[str, ...] = option(
        "--set", multiple=True, metavar="KEY=VALUE",
        help="Any other setting of the attack (rank=8, text_encoder=false, prior=0), or of a slow "
             "method (aspl.rounds=20).",
    )  # fmt: skip

    def assignments(self) -> dict[str, Any]:
        """Everything that is not left to the preset, by key.

        Raises:
            RidError: a change that is no assignment.
        """
        names = ("steps", "batch", "lr", "samples", "guidance")
        short = {name: value for name in names if (value := getattr(self, name)) is not None}
        return {**short, **read_assignments(self.changes)}


@dataclass(frozen=True)
class ConditionOptions:
    """What stands on the attacker's photos."""

    defenders: tuple[str, ...] = option(
        "--defender", multiple=True, default=("rid-s",), show_default=True, metavar="NAME|FILE",
        help="Checkpoint or bundled preset, or none; repeatable.",
    )  # fmt: skip
    methods: tuple[str, ...] = option(
        "--against", multiple=True, default=("aspl", "photoguard"), show_default=True,
        metavar="METHOD", help="Slow methods of rid-train pairs beside it, or none, on the "
                               "attacked model; repeatable.",
    )  # fmt: skip
    transfer: tuple[str, ...] = option(
        "--transfer", multiple=True, metavar="FILE|FOLDER",
        help="Encoder or diffusion model that the slow methods also attack, all of these at once, "
             "without knowing the attacked model; repeatable.",
    )  # fmt: skip
    equal_look: bool = option(
        "--equal-look", is_flag=True,
        help="Also scale the slow methods to the JOD of the first defender's photos.",
    )  # fmt: skip
    signs_bound: bool = option("--signs-bound", is_flag=True,
                               help="Also random signs of the full bound.")  # fmt: skip
    shares: tuple[int, ...] = option(
        "--mixed", type=click.IntRange(1, 99), multiple=True, metavar="PERCENT",
        help="Also protect only so many of a person's photos, by the first defender; repeatable.",
    )  # fmt: skip
    levels: int | None = option("--levels", type=int,
                                help="Bound in 8-bit levels [default: the defenders']."
                                )  # fmt: skip


@dataclass(frozen=True)
class JudgeOptions:
    """Who judges."""

    judge: str = option("--judge", default="sface", show_default=True, help="sface or dlib.")
    lpips_backbone: Path | None = option("--lpips-backbone", type=_PATH, help="AlexNet, for LPIPS.")
    lpips_heads: Path | None = option("--lpips-heads", type=_PATH, help="Its linear layers.")


@dataclass(frozen=True)
class StudyRequest:
    """Everything that is asked for.

    Attributes:
        surrogate: folder of a pipeline, or its name on the hub.
        folder: of everything that is made.
        people: who is cloned.
        attack: how.
        conditions: what stands on the photos.
        judge: who judges.
        channel: what photos go through before the attacker has them.
        seed: of everything random.
        device: ``auto``, or a name of torch's.
        shard: number of this process, and how many there are.
    """

    surrogate: str
    folder: Path
    people: PeopleOptions
    attack: AttackOptions
    conditions: ConditionOptions
    judge: JudgeOptions
    channel: str = "plain"
    seed: int = 0
    device: str = "auto"
    shard: tuple[int, int] = (0, 1)
