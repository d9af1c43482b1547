"""From what was asked for to a study that can run, and from a study to its figures."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from rid_core.assignments import Setting
from rid_core.attacks.registry import method_settings
from rid_core.devices import device_named
from rid_core.errors import RidError
from rid_core.surrogates import DiffusionSurrogate, Ensemble, load_surrogate, moved
from rid_eval import lpips
from rid_eval.judges import load_judge
from rid_eval.personalization.figures import AttackCheck, JudgeUse, PersonalizationResult
from rid_eval.personalization.model import load_model, model_digest
from rid_eval.personalization.protections import Protections, open_defenders
from rid_eval.personalization.request import StudyRequest
from rid_eval.personalization.settings import (
    AttackSettings,
    change,
    method_presets,
    preset,
    preset_for,
)
from rid_eval.personalization.slow import (
    AttackedSurrogates,
    ModelIdentity,
    open_transfer,
    slow_methods,
)
from rid_eval.personalization.study import PATIENCE, Study, estimated_hours
from rid_eval.personalization.subjects import (
    Subject,
    judge_threshold,
    load_subjects,
    targets,
)
from rid_eval.personalization.summary import effect_kept, summarize
from rid_eval.results import exact


@dataclass(frozen=True)
class OpenedStudy:
    """A study with what its report says of it.

    Attributes:
        study: ready to run.
        preset: whose settings it has.
        subjects: all people.
        threshold_from: how the judge's threshold was set.
        left_out: a line for each condition that was asked for and cannot be made.
    """

    study: Study
    preset: str
    subjects: list[Subject]
    threshold_from: str
    left_out: list[str]


def open_study(
    request: StudyRequest, progress: Callable[[int, int], None] = lambda done, total: None
) -> OpenedStudy:
    """Load model, defenders, judge and people; ``progress`` is told after each person.

    Raises:
        RidError: anything that is missing, unknown or unfit, before any attack is made.
    """
    conditions, people = request.conditions, request.people
    device = device_named(request.device)
    model = load_model(request.surrogate, device, request.attack.method)
    name = request.attack.preset or preset_for(model.parameters)
    attack, methods = chosen_settings(name, request)
    if conditions.transfer and not methods:
        raise RidError("--transfer is attacked by slow methods; name one with --against")
    defenders, budget = open_defenders(_named(conditions.defenders), conditions.levels)
    judge = load_judge(request.judge.judge)
    subjects = load_subjects(
        people.people, judge, model.side, request.folder / "people", aligned=people.aligned,
        limit=people.limit, progress=progress,
    )  # fmt: skip
    chosen = targets(subjects, people.sets, people.photos)
    threshold, origin = judge_threshold(subjects, judge)
    digest = model_digest(request.surrogate)

    @cache
    def measured() -> DiffusionSurrogate:
        """The frozen model under the class prompt, loaded when it is first asked for."""
        loaded = load_surrogate(
            "stable-diffusion", path=request.surrogate, prompt=attack.class_prompt
        )
        assert isinstance(loaded, DiffusionSurrogate)
        return moved(loaded, device)

    slow, left_out = slow_methods(
        methods,
        AttackedSurrogates([ModelIdentity(model.name, digest, attack.class_prompt)],
                           lambda: Ensemble([measured()]).to(device)),
        open_transfer(conditions.transfer, attack.class_prompt),
        device,
    )  # fmt: skip
    backbone, heads = request.judge.lpips_backbone, request.judge.lpips_heads
    study = Study(
        model=model,
        judge=judge,
        protections=Protections(
            budget=budget,
            defenders=defenders,
            methods=slow,
            cache=request.folder / "protected",
            device=device,
            seed=request.seed,
            shares=conditions.shares,
            equal_look=conditions.equal_look,
            signs_bound=conditions.signs_bound,
        ),
        targets=chosen,
        threshold=threshold,
        settings=attack,
        output=request.folder / request.attack.method / request.channel,
        measured=measured,
        channel=request.channel,
        seed=request.seed,
        shard=request.shard,
        identity={"model": digest, "judge": judge.name, "aligned": people.aligned,
                  "sets": people.sets, "photos": people.photos},
        lpips=lpips.load_lpips(backbone, heads) if backbone or heads else None,
    )  # fmt: skip
    return OpenedStudy(study, name, subjects, origin, left_out)


def chosen_settings(
    name: str, request: StudyRequest
) -> tuple[AttackSettings, dict[str, dict[str, Setting]]]:
    """Settings of the attack and of the slow methods: the preset's, and over them the changes.

    Raises:
        RidError: an unknown setting, a value of another type, or a method that is not asked for.
    """
    given = request.attack.assignments()
    own = {key: value for key, value in given.items() if "." not in key}
    others = {key: value for key, value in given.items() if "." in key}
    attack = change(preset(name, request.attack.method), own)
    return attack, method_settings(_named(request.conditions.methods), others, method_presets(name))


def check_patience(study: Study) -> None:
    """Refuse what takes too long without a GPU.

    Raises:
        RidError: says how long.
    """
    attacks = len(study.left())
    if study.model.device.type != "cpu" or not attacks:
        return
    hours = estimated_hours(study.model, study.settings, attacks)
    if hours > PATIENCE:
        raise RidError(
            f"{study.model.name}: {attacks} attacks take about {hours:,.0f} hours on this CPU; "
            "use a GPU (--device cuda), fewer --limit, --sets or --steps, or say --yes"
        )


def figures(opened: OpenedStudy, check: AttackCheck) -> PersonalizationResult:
    """All that was measured so far."""
    study = opened.study
    references = np.concatenate([s.embeddings for s in opened.subjects])
    found = summarize(study.targets, study.labels, study.record, study.threshold, references,
                      list(study.protections.defenders))  # fmt: skip
    kept = None
    if study.channel != "plain":
        kept = effect_kept(study.targets, list(found.conditions), study.record,
                           study.plain_record, study.threshold)  # fmt: skip
    device = study.model.device
    return PersonalizationResult(
        attack="works" if check.works else "broken",
        gate=check,
        surrogate=study.model.name,
        preset=opened.preset,
        settings=exact(dataclasses.asdict(study.settings)),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        people=[s.name for s in opened.subjects],
        left_out={s.name: s.left_out for s in opened.subjects if s.left_out},
        levels=study.protections.budget.levels,
        channel=study.channel,
        conditions_left_out=opened.left_out,
        judge=JudgeUse(study.judge.name, study.threshold, opened.threshold_from),
        protections={
            label: dataclasses.replace(about, settings=exact(about.settings))
            if (about := study.protections.describe(label)).settings is not None else about
            for label in study.protections.labels
        },
        lpips="measured" if study.lpips else lpips.UNAVAILABLE,
        photos_to_person=found.photos_to_person,
        conditions=found.conditions,
        ratios=found.ratios,
        rows=found.rows,
        kept=kept,
    )  # fmt: skip


@contextlib.contextmanager
def reproducible() -> Iterator[None]:
    """Of several ways to compute on a GPU, the one that gives the same result every time."""
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


def _named(names: tuple[str, ...]) -> tuple[str, ...]:
    """Without the name that stands for none."""
    return tuple(name for name in names if name != "none")
