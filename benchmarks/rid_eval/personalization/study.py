"""A whole study: every person, every protection, one attack each, and first whether it works."""

from __future__ import annotations

import dataclasses
import math
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rid_core.data import to_batch, to_pixels
from rid_core.errors import RidError
from rid_core.files import replacing
from rid_core.surrogates import DiffusionSurrogate
from rid_core.visibility import psnr
from rid_eval import metrics
from rid_eval.judges import Judge
from rid_eval.latent_shift import CHANNELS
from rid_eval.personalization.attack import (
    Personalized,
    draw_latents,
    personalize,
    untuned,
)
from rid_eval.personalization.figures import AttackCheck
from rid_eval.personalization.model import AttackedModel, Encoded
from rid_eval.personalization.protections import (
    CLEAN,
    Protections,
    is_mixed,
)
from rid_eval.personalization.records import (
    PhotoFigures,
    Record,
    claim,
    read_record,
    write_record,
)
from rid_eval.personalization.settings import AttackSettings
from rid_eval.personalization.sheet import write_sheet
from rid_eval.personalization.subjects import AttackTarget
from rid_eval.personalization.summary import check_attack
from rid_eval.results import Plain

UNTUNED = "untuned"
PATIENCE = 6.0
"""Hours of a study on a CPU above which it starts only when told to."""
_DRAWS = 4  # timesteps at which a photo's gradient is measured

Lpips = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Study:
    """Attacks on targets under conditions, kept one by one in a folder.

    Attributes:
        model: attacked.
        judge: of faces.
        protections: what stands on the photos.
        targets: all of them, also those of other shards.
        threshold: of the judge, of comparisons with a mean.
        settings: of the attack.
        output: folder of this method and channel.
        channel: of :data:`rid_eval.latent_shift.CHANNELS`; every photo goes through it, clean
            ones too, before the attacker has it.
        seed: of everything random.
        shard: number of this process and how many there are: it takes every n-th target.
        identity: what else results depend on, by name.
        lpips: distance of images, or None.
        measured: the frozen model under the class prompt; called when photos are measured.
    """

    model: AttackedModel
    judge: Judge
    protections: Protections
    targets: list[AttackTarget]
    threshold: float
    settings: AttackSettings
    output: Path
    measured: Callable[[], DiffusionSurrogate]
    channel: str = "plain"
    seed: int = 0
    shard: tuple[int, int] = (0, 1)
    identity: Mapping[str, Plain] = dataclasses.field(default_factory=dict)
    lpips: Lpips | None = None
    _prior: Encoded | None = None

    @property
    def mine(self) -> list[AttackTarget]:
        """Targets of this shard."""
        number, count = self.shard
        return self.targets[number::count]

    @property
    def labels(self) -> list[str]:
        """Conditions of the report, in its order."""
        return [UNTUNED, *self.protections.labels]

    def left(self) -> list[tuple[AttackTarget, str]]:
        """Attacks of this shard that are not finished, clean ones first."""
        pairs = [(t, CLEAN) for t in self.mine]
        pairs += [(t, label) for t in self.mine for label in self.protections.labels[1:]]
        return [(t, label) for t, label in pairs if self.record(t.key, label) is None]

    def record(self, key: str, label: str) -> Record | None:
        """A finished attack; the untuned samples are the same for all targets."""
        return read_record(self.output, UNTUNED if label == UNTUNED else key, label)

    def plain_record(self, key: str, label: str) -> Record | None:
        """The same attack on photos that went through no channel, if it was made in this folder."""
        return read_record(self.output.parent / "plain", key, label)

    def run(
        self,
        progress: Callable[[int, int], None] = lambda done, total: None,
        force: bool = False,
        start: bool = True,
    ) -> AttackCheck:
        """Do what is left of this shard; stop after the clean attacks if these do not work.

        Args:
            progress: told after each attack how many of how many are done.
            force: go on with a broken attack.
            start: False makes no attack, and judges those that are finished.

        Returns:
            The verdict on all targets whose clean attack is finished.

        Raises:
            RidError: the folder holds attacks of other settings.
        """
        labels = self.protections.labels
        claim(self.output, {**dataclasses.asdict(self.settings), **self.identity,
                            "seed": self.seed, "channel": self.channel},
              {label: self.protections.describe(label).plain() for label in labels})  # fmt: skip
        if self.record("", UNTUNED) is None:
            self._keep(UNTUNED, UNTUNED, untuned(self.model, self.settings),
                       PhotoFigures(), time.monotonic())  # fmt: skip
        todo = self.left() if start else []
        clean = sum(label == CLEAN for _, label in todo)
        for number, (target, label) in enumerate(todo):
            if number == clean and not self._may_go_on(force):
                break
            self.attack(target, label)
            progress(number + 1, len(todo))
        if not self._may_go_on(force):
            return self.verdict()
        for target in self.mine:
            write_sheet(self.output, target, labels, self.published)
        return self.verdict()

    def _may_go_on(self, force: bool) -> bool:
        """Whether the clean attacks that are finished do not say that all others are useless."""
        check = self.verdict()
        # A small shard knows too little to stop: the call that merges has the last word.
        return check.works or force or check.attacks < len(self.targets) / 2

    def verdict(self) -> AttackCheck:
        """Whether the attack works, by all clean attacks that are finished."""
        untouched = self.record("", UNTUNED)
        finished = [(t, r) for t in self.targets if (r := self.record(t.key, CLEAN))]
        if untouched is None or not finished:
            raise RidError(f"{self.output}: no clean attack is finished; run it without --shard")
        return check_attack([(t, r, untouched) for t, r in finished], self.threshold)

    def published(self, label: str, target: AttackTarget) -> np.ndarray:
        """The photos as the attacker has them: protected, then through the channel; uint8."""
        photos = self.protections.apply(label, target)
        if self.channel == "plain":
            return photos
        return to_pixels(CHANNELS[self.channel](to_batch(photos)))

    def attack(self, target: AttackTarget, label: str) -> None:
        """One attack, from the photos to the judged samples."""
        photos = self.published(label, target)
        prior = self.prior()
        begun = time.monotonic()
        measures = self.measure(label, target, photos)
        seed = zlib.crc32(target.key.encode(), self.seed) & 0x7FFFFFFF
        encoded = self.model.encode(to_batch(photos))
        tuned = personalize(self.model, encoded, self.settings, seed, prior)
        self._keep(target.key, label, tuned, measures, begun)

    def _keep(
        self, key: str, label: str, tuned: Personalized, measures: PhotoFigures, begun: float
    ) -> None:
        latents = draw_latents(self.model, tuned, self.settings, self.settings.samples, self.seed)
        samples = to_pixels(self.model.decode(latents))
        embeddings = self.judge.embed(list(samples))
        part = max(1, len(tuned.losses) // 10)
        losses = [float(np.mean(x)) if x else math.nan
                  for x in (tuned.losses[:part], tuned.losses[-part:])]  # fmt: skip
        record = Record(key, label, embeddings, measures, (losses[0], losses[1]),
                        time.monotonic() - begun, str(self.model.device))  # fmt: skip
        write_record(self.output, record, samples)

    def measure(self, label: str, target: AttackTarget, photos: np.ndarray) -> PhotoFigures:
        """Figures of a protection on its photos; how visible it is before the channel."""
        surrogate = self.measured()
        attacked = to_batch(photos).to(self.model.device)
        gradient = metrics.gradient_norm(surrogate, attacked, _DRAWS, self.seed)
        if label == CLEAN or is_mixed(label):
            return PhotoFigures(gradient_norm=gradient)
        protected = self.protections.apply(label, target)
        clean = to_batch(self.published(CLEAN, target)).to(self.model.device)
        pair = to_batch(target.photos), to_batch(protected)
        budget = self.protections.budget_of(label, target)
        return PhotoFigures(
            gradient_norm=gradient,
            lpips=float(self.lpips(*pair).mean()) if self.lpips else None,
            jod=metrics.jod(target.photos, protected),
            strength=budget.strength,
            levels=budget.levels * budget.strength,
            psnr=float(psnr(*pair).mean()),
            latent_shift=metrics.latent_shift(surrogate, clean, attacked),
            denoising_rise=metrics.denoising_rise(surrogate, clean, attacked, seed=self.seed),
        )

    def prior(self) -> Encoded | None:
        """Class images, drawn by the model itself, once for all attacks and shards."""
        if not self.settings.prior:
            return None
        if self._prior is None:
            self._prior = self._class_images()
        return self._prior

    def _class_images(self) -> Encoded:
        count = self.settings.class_images
        file = self.output / f"class-{count}.npy"
        stored = _read_images(file, count)
        if stored is None:
            tuned = untuned(self.model, self.settings)
            latents = draw_latents(self.model, tuned, self.settings, count, self.seed + 1)
            stored = to_pixels(self.model.decode(latents))
            with replacing(file) as fresh:
                np.save(fresh, stored)
        return self.model.encode(to_batch(stored))


def estimated_hours(model: AttackedModel, settings: AttackSettings, attacks: int) -> float:
    """How long attacks would take here, from the time of one pass through the UNet.

    A training step counts as three passes per photo; autoencoder, judge and slow protections are
    left out.
    """
    side = model.side // model.stride
    latent = torch.zeros(1, model.unet.config.in_channels, side, side, device=model.device)
    with torch.no_grad():
        text = model.text_encoder(model.tokens([""]))[0]
        begun = time.monotonic()
        model.unet(latent, 1, encoder_hidden_states=text)
        seconds = time.monotonic() - begun
    guided = 2 if settings.guidance > 1 else 1
    training = 3 * settings.steps * settings.batch * (2 if settings.prior else 1)
    drawing = settings.sampling_steps * guided
    passes = attacks * (training + settings.samples * drawing)
    passes += settings.class_images * drawing if settings.prior else 0
    return passes * seconds / 3600


def _read_images(file: Path, count: int) -> np.ndarray | None:
    try:
        stored: np.ndarray = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return stored if len(stored) == count and stored.dtype == np.uint8 else None
