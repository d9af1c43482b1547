"""Personalization: DreamBooth, LoRA and Textual Inversion on the latents of a few photos.

Written anew after diffusers' example scripts (``train_dreambooth.py``,
``train_dreambooth_lora.py``, ``textual_inversion.py``) and DreamBooth (Ruiz et al., arXiv
2208.12242), LoRA (Hu et al., arXiv 2106.09685), Textual Inversion (Gal et al., arXiv 2208.01618).
No augmentation: photos are encoded once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rid_core.devices import seeded
from rid_core.errors import RidError
from rid_eval.personalization.model import AttackedModel, Encoded
from rid_eval.personalization.settings import (
    ATTENTION,
    CONVOLUTIONS,
    AttackSettings,
)

_TEXT_ATTENTION = ["q_proj", "k_proj", "v_proj", "out_proj"]
_LARGEST_BATCH = 32

Progress = Callable[[int, int], None]
"""Told how many steps of how many are done."""


class NewWords(nn.Module):
    """A token embedding with a few rows of its own; the others stay frozen.

    Args:
        old: the model's embedding.
        numbers: of the new tokens.
        begin: of what token they begin.
    """

    def __init__(self, old: nn.Module, numbers: list[int], begin: int) -> None:
        super().__init__()
        self.old = old
        self.numbers = numbers
        weight: Any = old.weight
        # Equal vectors would stay equal: each begins a little off.
        start = weight[begin].detach().expand(len(numbers), -1).clone()
        noise = torch.randn(start.shape, generator=torch.Generator().manual_seed(0))
        self.new = nn.Parameter(start + 0.01 * weight.detach().std() * noise.to(start))

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, length] -> [B, length, D]."""
        known = tokens
        for number in self.numbers:
            known = known.masked_fill(known == number, 0)
        embedded: Tensor = self.old(known)
        for place, number in enumerate(self.numbers):
            embedded = torch.where((tokens == number)[..., None], self.new[place], embedded)
        return embedded


@dataclass(frozen=True)
class Personalized:
    """A model after the attack.

    Attributes:
        unet: the tuned one, or the model's own.
        text: the states of the attacker's prompt and of the empty one, [2, length, D].
        losses: training loss of each step, class images included.
    """

    unet: Any
    text: Tensor
    losses: list[float]


def untuned(model: AttackedModel, settings: AttackSettings) -> Personalized:
    """The model as it was, asked for the class: what it draws without any photo."""
    with torch.no_grad():
        text = model.text_encoder(model.tokens([settings.class_prompt, ""]))[0]
    return Personalized(model.unet, text, [])


def personalize(
    model: AttackedModel,
    photos: Encoded,
    settings: AttackSettings,
    seed: int,
    prior: Encoded | None = None,
    progress: Progress = lambda done, total: None,
) -> Personalized:
    """Train on photos of a person; the model itself stays as it was.

    The same seed gives the same result on the same machine: noise, timesteps and order are drawn
    on the CPU.

    Args:
        model: attacked.
        photos: of the person, encoded.
        settings: how.
        seed: of everything random.
        prior: class images, encoded; needed where ``settings.prior`` is above 0.
        progress: told after each step.

    Raises:
        RidError: the loss is not finite, or a token that cannot be added.
    """
    with seeded(seed):
        unet, text_encoder, tokenizer, groups = _prepare(model, settings)
    optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)
    scheduler = _scheduler(optimizer, settings)
    prompts = [settings.prompt, ""]
    use_prior = settings.prior > 0 and prior is not None
    if use_prior:
        prompts.append(settings.class_prompt)
    tokens = model.tokens(prompts, tokenizer)
    learns_text = any(p.requires_grad for p in text_encoder.parameters())
    fixed = None if learns_text else text_encoder(tokens)[0].detach()
    generator = torch.Generator().manual_seed(seed)
    order = _Order(len(photos.mean), generator)
    class_order = _Order(len(prior.mean), generator) if use_prior and prior else None
    losses: list[Tensor] = []
    for step in range(settings.steps):
        latents = photos.draw(order.take(settings.batch), generator)
        if class_order is not None and prior is not None:
            drawn = prior.draw(class_order.take(settings.batch), generator)
            latents = torch.cat([latents, drawn])
        text = fixed if fixed is not None else text_encoder(tokens)[0]
        per_photo = _denoising(model, unet, latents, text, settings.batch, generator)
        loss = per_photo[: settings.batch].mean()
        if use_prior:
            loss = loss + settings.prior * per_photo[settings.batch :].mean()
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        scheduler.step()
        losses.append(loss.detach())
        progress(step + 1, settings.steps)
    curve = torch.stack(losses).tolist()
    if not all(value == value and abs(value) < 1e6 for value in curve):
        raise RidError(f"the attack diverged after {len(curve)} steps; lower lr ({settings.lr:g})")
    with torch.no_grad():
        states = text_encoder(tokens[:2])[0].detach()
    return Personalized(unet.requires_grad_(False), states, curve)


def _scheduler(
    optimizer: torch.optim.Optimizer, settings: AttackSettings
) -> torch.optim.lr_scheduler.LRScheduler:
    """The rates of all groups, step by step."""
    end = 0.0 if settings.lr_scheduler == "linear" else 1.0
    return torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, end, settings.steps)


def _denoising(
    model: AttackedModel, unet: Any, latents: Tensor, text: Tensor, batch: int,
    generator: torch.Generator,
) -> Tensor:  # fmt: skip
    """The training loss of each latent, [B]; the first ``batch`` under the person's prompt."""
    schedule = model.training_schedule
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    t = torch.randint(schedule.config.num_train_timesteps, (len(latents),), generator=generator)
    t = t.to(latents.device)
    noisy = schedule.add_noise(latents, noise, t)
    prompts = [text[:1].expand(batch, -1, -1)]
    if len(latents) > batch:
        prompts.append(text[2:].expand(len(latents) - batch, -1, -1))
    output = unet(noisy, t, encoder_hidden_states=torch.cat(prompts), return_dict=False)[0]
    kind = schedule.config.prediction_type
    if kind == "v_prediction":
        target = schedule.get_velocity(latents, noise, t)
    elif kind in ("epsilon", "sample"):
        target = noise if kind == "epsilon" else latents
    else:
        raise RidError(f"{model.name}: prediction type {kind!r} is unknown")
    loss: Tensor = (output - target).square().flatten(1).mean(dim=1)
    return loss


@torch.no_grad()
def draw_latents(
    model: AttackedModel, tuned: Personalized, settings: AttackSettings, count: int, seed: int
) -> Tensor:
    """Sample by DPM-Solver++ (Lu et al., arXiv 2211.01095), always out of the same noise.

    Args:
        model: its schedule and size.
        tuned: network and prompt.
        settings: steps and guidance.
        count: pictures.
        seed: of the noise.

    Returns:
        Scaled latents [count, C, h, w].
    """
    from diffusers import DPMSolverMultistepScheduler

    side = model.side // model.stride
    generator = torch.Generator().manual_seed(seed)
    shape = (count, model.unet.config.in_channels, side, side)
    start = torch.randn(shape, generator=generator)
    finished = []
    for part in torch.split(start, _LARGEST_BATCH):
        scheduler = DPMSolverMultistepScheduler.from_config(
            model.scheduler.config, algorithm_type="dpmsolver++", solver_order=2
        )
        scheduler.set_timesteps(settings.sampling_steps, device=model.device)
        z = part.to(model.device) * scheduler.init_noise_sigma
        guided = settings.guidance > 1
        text = tuned.text[:2] if guided else tuned.text[:1]
        states = text.repeat_interleave(len(z), dim=0)
        for t in scheduler.timesteps:
            inputs = scheduler.scale_model_input(torch.cat([z, z]) if guided else z, t)
            output = tuned.unet(inputs, t, encoder_hidden_states=states, return_dict=False)[0]
            if guided:
                asked, empty = output.chunk(2)
                output = empty + settings.guidance * (asked - empty)
            z = scheduler.step(output, t, z, return_dict=False)[0]
        finished.append(z)
    return torch.cat(finished)


def _prepare(
    model: AttackedModel, settings: AttackSettings
) -> tuple[Any, Any, Any, list[dict[str, Any]]]:
    """Copies that may learn: UNet, text encoder, tokenizer, and groups of their parameters."""
    unet, text_encoder, tokenizer = model.unet, model.text_encoder, model.tokenizer
    groups: list[dict[str, Any]] = []
    tunes_text = settings.text_encoder and settings.method != "textual-inversion"
    if tunes_text or settings.token:
        text_encoder = copy.deepcopy(text_encoder)
    if settings.method == "dreambooth":
        unet = copy.deepcopy(unet).requires_grad_(True)
        groups.append({"params": list(unet.parameters()), "lr": settings.lr})
    elif settings.method == "lora":
        targets = [*ATTENTION, *(CONVOLUTIONS if settings.convolutions else ())]
        unet = _with_lora(copy.deepcopy(unet), settings.rank, targets)
        groups.append({"params": _learning(unet), "lr": settings.lr})
    if tunes_text:
        if settings.method == "lora":
            text_encoder = _with_lora(text_encoder, settings.rank, _TEXT_ATTENTION)
        else:
            text_encoder.requires_grad_(True)
        groups.append({"params": _learning(text_encoder), "lr": settings.text_lr or settings.lr})
    if settings.token:
        tokenizer = copy.deepcopy(tokenizer)
        words = _add_words(text_encoder, tokenizer, settings)
        groups.append({"params": [words.new], "lr": settings.token_lr or settings.lr,
                       "weight_decay": 0.0})  # fmt: skip
    return unet, text_encoder, tokenizer, groups


def _with_lora(part: Any, rank: int, targets: list[str]) -> Any:
    from peft import LoraConfig

    part.add_adapter(LoraConfig(
        r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=targets
    ))  # fmt: skip
    return part


def _learning(part: nn.Module) -> list[nn.Parameter]:
    return [p for p in part.parameters() if p.requires_grad]


def _add_words(text_encoder: Any, tokenizer: Any, settings: AttackSettings) -> NewWords:
    if tokenizer.add_tokens(settings.words) != len(settings.words):
        raise RidError(f"the tokenizer already knows one of {', '.join(settings.words)}")
    begin = tokenizer(settings.word, add_special_tokens=False).input_ids[0]
    numbers = tokenizer.convert_tokens_to_ids(settings.words)
    length = len(tokenizer(settings.prompt).input_ids)
    if length > tokenizer.model_max_length:
        raise RidError(f"the prompt has {length} tokens where the model takes "
                       f"{tokenizer.model_max_length}; lower token ({settings.token})")  # fmt: skip
    words = NewWords(text_encoder.get_input_embeddings(), numbers, begin)
    words.old.requires_grad_(False)
    text_encoder.set_input_embeddings(words)
    return words


class _Order:
    """Numbers 0 to N - 1 in an endless order that visits each once a round."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self._count = count
        self._generator = generator
        self._left: list[int] = []

    def take(self, count: int) -> Tensor:
        while len(self._left) < count:
            self._left += torch.randperm(self._count, generator=self._generator).tolist()
        taken, self._left = self._left[:count], self._left[count:]
        return torch.tensor(taken)
