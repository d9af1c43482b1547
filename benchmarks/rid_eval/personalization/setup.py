"""From what was asked for to a study that can run, and from a study to its figures."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rid_core.attacks.registry import settings_of
from rid_core.budget import Budget
from rid_core.errors import RidError
from rid_core.surrogates import DiffusionSurrogate, Ensemble, load_surrogate
from rid_eval import lpips
from rid_eval.devices import device_named
from rid_eval.judges import load_judge
from rid_eval.personalization.model import load_model, model_digest
from rid_eval.personalization.protections import (
    Protections,
    method_settings,
    open_defenders,
)
from rid_eval.personalization.settings import (
    AttackSettings,
    change,
    peer_settings,
    preset,
    preset_for,
)
from rid_eval.personalization.slow import Opponent, open_transfer, slow_methods
from rid_eval.personalization.study import PATIENCE, Study, estimated_hours
from rid_eval.personalization.subjects import (
    Subject,
    judge_threshold,
    load_subjects,
    targets,
)
from rid_eval.personalization.summary import Gate, effect_kept, summarize
from rid_eval.results import exact, result


@dataclass(frozen=True)
class Request:
    """What is asked for, as on the command line of ``rid-eval personalize``.

    Attributes:
        surrogate: folder of a pipeline, or its name on the hub.
        people: folder with a folder of photos per person.
        output: folder of everything that is made.
        method: of the attack.
        preset: of its settings; None chooses by the size of the model.
        changes: settings over the preset's; ``method.setting`` for those of a slow method.
        defenders: checkpoints or presets.
        peers: slow methods beside them, on the attacked model.
        transfer: files or folders of other surrogates that these also attack, all at once.
        equal_look: whether slow methods are also scaled to the first defender's look.
        signs_bound: whether random signs of the full bound are a condition too.
        shares: per cent of the photos that are under the first defender, each a condition.
        levels: bound; None takes the defenders'.
        channel: what photos go through.
        sets: attacks per person.
        photos: of the attacker, per set.
        limit: at most so many people.
        aligned: whether faces are brought into position.
        seed: of everything random.
        device: ``auto``, or a name of torch's.
        judge: of faces.
        lpips: files of its backbone and heads; None leaves it out.
        shard: number of this process, and how many there are.
    """

    surrogate: str
    people: Path
    output: Path
    method: str
    preset: str | None
    changes: Mapping[str, Any]
    defenders: tuple[str, ...]
    peers: tuple[str, ...]
    transfer: tuple[str, ...]
    equal_look: bool
    signs_bound: bool
    shares: tuple[int, ...]
    levels: int | None
    channel: str
    sets: int
    photos: int
    limit: int | None
    aligned: bool
    seed: int
    device: str
    judge: str
    lpips: tuple[Path | None, Path | None]
    shard: tuple[int, int]


@dataclass(frozen=True)
class Opened:
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


def open_study(request: Request, on_person: Callable[[], None] = lambda: None) -> Opened:
    """Load model, defenders, judge and people.

    Raises:
        RidError: anything that is missing, unknown or unfit, before any attack is made.
    """
    if request.transfer and not request.peers:
        raise RidError("--transfer is attacked by slow methods; name one with --against")
    defenders, levels = open_defenders(request.defenders, request.levels)
    device = device_named(request.device)
    model = load_model(request.surrogate, device, request.method)
    name = request.preset or preset_for(model.parameters)
    attack, peers = chosen_settings(name, request)
    judge = load_judge(request.judge)
    subjects = load_subjects(
        request.people, judge, model.side, request.output / "people", aligned=request.aligned,
        limit=request.limit, on_person=on_person,
    )  # fmt: skip
    dealt = targets(subjects, request.sets, request.photos)
    threshold, origin = judge_threshold(subjects, judge)
    measured = _lazily(request.surrogate, attack.class_prompt, device)
    digest = model_digest(request.surrogate)
    own = {"name": model.name, "digest": digest, "prompt": attack.class_prompt}
    methods, left_out = slow_methods(
        method_settings(request.peers, peers),
        Opponent([own], lambda: Ensemble([measured()]).to(device)),
        open_transfer(request.transfer, attack.class_prompt),
        device,
    )
    protections = Protections(
        budget=Budget(levels),
        defenders=defenders,
        methods=methods,
        cache=request.output / "protected",
        device=device,
        seed=request.seed,
        shares=request.shares,
        equal_look=request.equal_look,
        signs_bound=request.signs_bound,
    )
    backbone, heads = request.lpips
    study = Study(
        model=model,
        judge=judge,
        protections=protections,
        targets=dealt,
        threshold=threshold,
        settings=attack,
        output=request.output / request.method / request.channel,
        measured=measured,
        channel=request.channel,
        seed=request.seed,
        shard=request.shard,
        identity={"model": digest, "judge": judge.name, "aligned": request.aligned,
                  "sets": request.sets, "photos": request.photos},
        lpips=lpips.load_lpips(backbone, heads) if backbone or heads else None,
    )  # fmt: skip
    return Opened(study, name, subjects, origin, left_out)


def chosen_settings(
    name: str, request: Request
) -> tuple[AttackSettings, dict[str, dict[str, Any]]]:
    """Settings of the attack and of the slow methods: the preset's, and over them the changes.

    Raises:
        RidError: an unknown setting, a value of another type, or a method that is not asked for.
    """
    own = {key: value for key, value in request.changes.items() if "." not in key}
    attack = change(preset(name, request.method), own)
    peers = {method: dict(values) for method, values in peer_settings(name).items()
             if method in request.peers}  # fmt: skip
    for key in request.changes.keys() - own.keys():
        method, _, setting = key.partition(".")
        if method not in request.peers:
            raise RidError(f"--set {key}: {method!r} is not among --against")
        default, text = settings_of(method).get(setting), request.changes[key]
        try:
            value = text if default is None else type(default)(text)
        except ValueError:
            kind = type(default).__name__
            raise RidError(f"--set {key} must be of type {kind}, not {text!r}") from None
        peers.setdefault(method, {})[setting] = value
    return attack, peers


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


def figures(opened: Opened, verdict: Gate) -> dict[str, Any]:
    """All that was measured so far, as the JSON says it."""
    study = opened.study
    references = np.concatenate([s.embeddings for s in opened.subjects])
    found = summarize(study.targets, study.labels, study.record, study.threshold, references,
                      list(study.protections.defenders))  # fmt: skip
    if study.channel != "plain":
        found["kept"] = effect_kept(study.targets, list(found["conditions"]), study.record,
                                    study.plain_record, study.threshold)  # fmt: skip
    device = study.model.device
    cuda = device.type == "cuda"
    return result(
        "personalization",
        attack="works" if verdict.works else "broken",
        gate=dataclasses.asdict(verdict),
        surrogate=study.model.name,
        preset=opened.preset,
        settings=exact(dataclasses.asdict(study.settings)),
        device=torch.cuda.get_device_name(device) if cuda else str(device),
        people=[s.name for s in opened.subjects],
        left_out={s.name: s.left_out for s in opened.subjects if s.left_out},
        levels=study.protections.budget.levels,
        channel=study.channel,
        conditions_left_out=opened.left_out,
        judge={"name": study.judge.name, "threshold": study.threshold,
               "from": opened.threshold_from},
        protections={label: exact(study.protections.describe(label))
                     for label in study.protections.labels},
        lpips="measured" if study.lpips else lpips.UNAVAILABLE,
        **found,
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


def _lazily(source: str, prompt: str, device: torch.device) -> Callable[[], DiffusionSurrogate]:
    """The frozen model under a prompt, loaded when it is first asked for."""
    opened: list[DiffusionSurrogate] = []

    def surrogate() -> DiffusionSurrogate:
        if not opened:
            loaded = load_surrogate("stable-diffusion", path=source, prompt=prompt)
            Ensemble([loaded]).to(device)
            assert isinstance(loaded, DiffusionSurrogate)
            opened.append(loaded)
        return opened[0]

    return surrogate
