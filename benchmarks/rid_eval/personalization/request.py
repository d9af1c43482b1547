"""What is asked of a study, as on the command line of ``rid-eval personalize``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rid_core.assignments import read_assignments


@dataclass(frozen=True)
class PeopleOptions:
    """Who is cloned.

    Attributes:
        people: folder with a folder of photos per person.
        sets: attacks per person, each on photos of its own.
        photos: of the attacker, per set; all others are the reference.
        limit: at most so many people.
        aligned: whether faces are brought into the position the face model was trained on.
    """

    people: Path
    sets: int = 2
    photos: int = 4
    limit: int | None = None
    aligned: bool = True


@dataclass(frozen=True)
class AttackOptions:
    """How the attacker trains and samples.

    Attributes:
        method: of personalization.
        preset: of its settings; None chooses by the size of the model.
        steps: over the preset's, as all that follow.
        batch: photos of a step.
        lr: learning rate.
        samples: pictures that the attacker draws.
        guidance: classifier-free; 1 for none.
        changes: any other setting as ``KEY=VALUE``; ``METHOD.KEY=VALUE`` is one of a slow method.
    """

    method: str = "dreambooth"
    preset: str | None = None
    steps: int | None = None
    batch: int | None = None
    lr: float | None = None
    samples: int | None = None
    guidance: float | None = None
    changes: tuple[str, ...] = ()

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
    """What stands on the attacker's photos.

    Attributes:
        defenders: checkpoints or presets; ``none`` stands for none.
        methods: slow methods beside them, on the attacked model; ``none`` stands for none.
        transfer: files or folders of other surrogates that these also attack, all at once.
        equal_look: whether slow methods are also scaled to the first defender's look.
        signs_bound: whether random signs of the full bound are a condition too.
        shares: per cent of the photos that are under the first defender, each a condition.
        levels: bound; None takes the defenders'.
    """

    defenders: tuple[str, ...] = ("rid-s",)
    methods: tuple[str, ...] = ("aspl", "photoguard")
    transfer: tuple[str, ...] = ()
    equal_look: bool = False
    signs_bound: bool = False
    shares: tuple[int, ...] = ()
    levels: int | None = None


@dataclass(frozen=True)
class JudgeOptions:
    """Who judges.

    Attributes:
        judge: of faces.
        lpips_backbone: file of AlexNet, for LPIPS; without it LPIPS is left out.
        lpips_heads: file of its linear layers.
    """

    judge: str = "sface"
    lpips_backbone: Path | None = None
    lpips_heads: Path | None = None


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
