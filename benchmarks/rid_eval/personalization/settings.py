"""How an attacker trains and samples, and presets of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rid_core.assignments import Setting
from rid_core.errors import RidError, did_you_mean

METHODS = ("dreambooth", "lora", "textual-inversion")
PRESETS = ("paper", "face-ldm")
SCHEDULERS = ("constant", "linear")
_FULL_SIZE = 200_000_000

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
"""What LoRA adapts in diffusers' scripts and in the paper: the attention of the UNet."""
CONVOLUTIONS = (
    "conv1",
    "conv2",
    "conv_shortcut",
    "proj_in",
    "proj_out",
    "ff.net.0.proj",
    "ff.net.2",
)
"""What it can adapt besides; a small UNet has little attention."""


@dataclass(frozen=True)
class AttackSettings:
    """One way to personalize a model.

    >>> preset("paper", "lora").rank
    32

    Attributes:
        method: one of :data:`METHODS`.
        steps: of the optimiser.
        batch: photos of a step; as many class images go with them where the prior counts.
        lr: learning rate of the network, or of its LoRA.
        lr_scheduler: ``constant``, or ``linear``: all rates fall to 0 by the last step.
        text_encoder: whether the text encoder learns too.
        text_lr: its learning rate; 0 for ``lr``.
        token: how many vectors of a new word are learned; 0 for none, then the word is ``sks``.
        token_lr: their learning rate; 0 for ``lr``.
        word: with what they begin, a word that the tokenizer knows.
        prior: weight of the class images' loss (prior preservation); 0 for none.
        class_images: how many are drawn, once for all attacks.
        rank: of LoRA.
        convolutions: whether LoRA adapts them as well as attention.
        weight_decay: of AdamW.
        instance_prompt: ``{}`` stands for the word.
        class_prompt: of the class images.
        samples: pictures that the attacker draws.
        sampling_steps: of DPM-Solver++.
        guidance: classifier-free; 1 for none.
    """

    method: str
    steps: int
    batch: int
    lr: float
    lr_scheduler: str = "constant"
    text_encoder: bool = False
    text_lr: float = 0.0
    token: int = 0
    token_lr: float = 0.0
    word: str = "person"
    prior: float = 0.0
    class_images: int = 0
    rank: int = 32
    convolutions: bool = False
    weight_decay: float = 1e-2
    instance_prompt: str = "a photo of {} person"
    class_prompt: str = "a photo of a person"
    samples: int = 16
    sampling_steps: int = 30
    guidance: float = 7.5

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise RidError(f"method {self.method!r} is unknown; known: {', '.join(METHODS)}")
        if self.lr_scheduler not in SCHEDULERS:
            raise RidError(f"lr_scheduler {self.lr_scheduler!r} is unknown; "
                           f"known: {', '.join(SCHEDULERS)}")  # fmt: skip
        for name in ("steps", "batch", "samples", "sampling_steps", "rank"):
            if getattr(self, name) < 1:
                raise RidError(f"{name} must be 1 or more, not {getattr(self, name)}")
        for name in ("lr", "text_lr", "token_lr", "prior", "weight_decay", "token", "class_images"):
            if getattr(self, name) < 0:
                raise RidError(f"{name} must not be negative")
        if self.guidance < 1:
            raise RidError(f"guidance must be 1 or more, not {self.guidance:g}")
        if "{}" not in self.instance_prompt:
            raise RidError("instance_prompt needs {} where the new word goes")
        if self.prior and not self.class_images:
            raise RidError("prior preservation needs class_images; or set prior=0")
        if self.method == "textual-inversion" and not self.token:
            raise RidError("textual-inversion learns a new word; token must be 1 or more")

    @property
    def words(self) -> list[str]:
        """The new tokens, or the rare one that stands for the person."""
        return [f"<rid-{number}>" for number in range(self.token)] or ["sks"]

    @property
    def prompt(self) -> str:
        """What the attacker trains and asks with."""
        return self.instance_prompt.replace("{}", " ".join(self.words))


def preset(name: str, method: str) -> AttackSettings:
    """Settings by name.

    ``paper``: LoRA with Textual Inversion, rank 32, learning rate 3e-4, 220 steps, and DreamBooth
    at 8e-7, as RID's paper states (arXiv 2412.09844). What it does not state is that of diffusers'
    example scripts: 1,000 steps of DreamBooth with 200 class images, 3,000 of Textual Inversion at
    5e-4, guidance 7.5; batch and text encoder of Anti-DreamBooth.

    ``face-ldm``: for the small face model of ``configs/face-ldm.toml``. Chosen on clean photos
    alone; threshold of the judge 0.384. Of two people, ISM (untuned 0.08 and 0.07): DreamBooth at
    1e-3 for 200 steps 0.48 and 0.29, for 400 steps 0.41 on the second; at 5e-4 for 200 steps 0.31
    on the first; LoRA 0.44 on the first. Of all eight, two sets each: 400 steps at a constant rate
    0.52 on average, above the threshold in 94 % of the attacks; 200 steps at a rate that falls to
    0 half as long, 0.57 and 100 %.

    Raises:
        RidError: an unknown preset or method.
    """
    if name not in PRESETS:
        raise RidError(f"no preset is called {name!r}; known: {', '.join(PRESETS)}")
    if method not in METHODS:
        raise RidError(f"method {method!r} is unknown; known: {', '.join(METHODS)}")
    return (_PAPER if name == "paper" else _FACE_LDM)[method]


_PAPER = {
    "dreambooth": AttackSettings(
        "dreambooth", steps=1000, batch=2, lr=8e-7, text_encoder=True, prior=1.0, class_images=200,
    ),
    "lora": AttackSettings(
        "lora", steps=220, batch=1, lr=3e-4, token=1, instance_prompt="a photo of {}",
    ),
    "textual-inversion": AttackSettings(
        "textual-inversion", steps=3000, batch=1, lr=5e-4, token=1, weight_decay=1e-2,
        instance_prompt="a photo of {}",
    ),
}  # fmt: skip

_FACES = {"word": "face", "class_prompt": "a photo of a face", "sampling_steps": 20}

_FACE_LDM = {
    "dreambooth": AttackSettings(
        "dreambooth", steps=200, batch=4, lr=1e-3, lr_scheduler="linear", text_encoder=True,
        prior=0.5, class_images=64,
        instance_prompt="a photo of {} face", guidance=2.0, **_FACES,  # type: ignore[arg-type]
    ),
    "lora": AttackSettings(
        "lora", steps=220, batch=4, lr=2e-3, token=1, token_lr=5e-3, convolutions=True,
        prior=0.5, class_images=64,
        instance_prompt="a photo of {} face", guidance=2.0, **_FACES,  # type: ignore[arg-type]
    ),
    "textual-inversion": AttackSettings(
        "textual-inversion", steps=300, batch=4, lr=2e-2, token=8, weight_decay=0.0,
        instance_prompt="a photo of {}", guidance=2.0, **_FACES,  # type: ignore[arg-type]
    ),
}  # fmt: skip


def preset_for(parameters: int) -> str:
    """The preset that suits a UNet of so many parameters; Stable Diffusion's have 860 million."""
    return "paper" if parameters > _FULL_SIZE else "face-ldm"


def method_presets(name: str) -> dict[str, dict[str, Setting]]:
    """Settings of the slow methods that go with a preset, by method, over their authors'.

    ASPL fine-tunes its copy of the model at the rate of the preset's DreamBooth, as its authors'
    script does; their rate would not move the small model at all. 100 steps of PhotoGuard shift the
    small model's latents as far as 200 do (0.52 and 0.53).
    """
    if name == "paper":
        return {}
    return {"aspl": {"learning_rate": _FACE_LDM["dreambooth"].lr}, "photoguard": {"steps": 100}}


def change(settings: AttackSettings, given: Mapping[str, Any]) -> AttackSettings:
    """Settings with some values replaced; each is read as the setting's own type.

    Raises:
        RidError: an unknown setting (the nearest is named), or no such value.
    """
    known = {f.name: type(getattr(settings, f.name)) for f in dataclasses.fields(settings)
             if f.name != "method"}  # fmt: skip
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            hint = did_you_mean(key, sorted(known))
            raise RidError(f"an attack has no setting {key!r}; {hint}")
        values[key] = _read(key, str(value), known[key])
    return replace(settings, **values)


def _read(key: str, text: str, kind: type) -> Setting:
    if kind is bool:
        if text.lower() in ("true", "1", "yes", "false", "0", "no"):
            return text.lower() in ("true", "1", "yes")
        raise RidError(f"{key} is true or false, not {text!r}")
    try:
        found: Setting = kind(text)
    except ValueError:
        raise RidError(f"{key} must be of type {kind.__name__}, not {text!r}") from None
    return found
