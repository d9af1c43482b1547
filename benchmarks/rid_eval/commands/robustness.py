"""``rid-eval robustness``: what is left of the effect after channels and purifications."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rid_core.cli.common import CONTEXT
from rid_core.cli.options import count_option, grouped, path_option
from rid_core.errors import MissingExtraError, RidError
from rid_eval.commands.options import (
    ComputeOptions,
    OutputOptions,
    compute_options,
    levels_option,
    output_options,
    photo_options,
)
from rid_eval.photos import PhotoFolder

if TYPE_CHECKING:
    import torch

    from rid_core.budget import Budget
    from rid_eval.comparison import LoadedDefender
    from rid_eval.steps import Chain, Link

_EPILOG = """\b
Examples:
  rid-eval robustness rid-s --images ../shared/data/portraits --pattern '04[5-9]?.jpg' --limit 16 \\
      --encoder ../shared/weights/taef2_encoder.pth --vae ../shared/weights/taef2_encoder.pth \\
      --combine jpeg75+median --json robustness.json
  rid-eval robustness rid-s rid-n --images faces/ --encoder taef2_encoder.pth \\
      --encoder encoder-s8 --pgd 40 --diffusion face-ldm --train portraits/ --device cuda
"""


@dataclass(frozen=True)
class StepOptions:
    """What happens to photos.

    Attributes:
        channels: names; none for all, ``none`` for none of them.
        purifications: the same of filters.
        combinations: chains, such as ``jpeg75+median``.
        vae: autoencoder to purify through.
        diffusion: model to purify by img2img on.
        prompt: of img2img.
        strengths: of img2img.
    """

    channels: tuple[str, ...]
    purifications: tuple[str, ...]
    combinations: tuple[str, ...]
    vae: Path | None
    diffusion: Path | None
    prompt: str
    strengths: tuple[float, ...]

    def links(self, device: torch.device) -> list[Link]:
        """Every step but learned inverses; models are on ``device``."""
        from rid_core.surrogates.stable_diffusion import load_stable_diffusion
        from rid_eval.purifiers import img2img_links, open_round_trip, round_trip_link
        from rid_eval.steps import CHANNELS, PURIFICATIONS, select

        found = [*select(self.channels, CHANNELS, "channel"),
                 *select(self.purifications, PURIFICATIONS, "purification")]  # fmt: skip
        if self.vae is not None:
            found.append(round_trip_link(open_round_trip(self.vae).to(device)))
        if self.diffusion is not None:
            model = load_stable_diffusion(self.diffusion, prompt=self.prompt, decoder=True)
            found += img2img_links(model.to(device), self.strengths)
        return found

    def chains(self, links: list[Link]) -> list[Chain]:
        """Each link by itself, then the combinations."""
        from rid_eval.steps import CHANNELS, PURIFICATIONS, Chain, parse_chain

        known = {**CHANNELS, **PURIFICATIONS, **{link.name: link for link in links}}
        combined = [parse_chain(text, known) for text in self.combinations]
        return [*(Chain((link,)) for link in links), *combined]


step_options = grouped(
    "steps", StepOptions,
    click.option("--channel", "channels", multiple=True, metavar="NAME",
                 help="Only these channels; repeatable, or 'none' (default: all)."),
    click.option("--purification", "purifications", multiple=True, metavar="NAME",
                 help="Only these filters; repeatable, or 'none' (default: all)."),
    click.option("--combine", "combinations", multiple=True, metavar="A+B",
                 help="Also steps in a row, such as jpeg75+median; repeatable."),
    path_option("--vae", help="Also purify through this autoencoder and back."),
    path_option("--diffusion", help="Also purify by img2img on this model, a folder of diffusers."),
    click.option("--prompt", default="", help="Of img2img."),
    click.option("--strength", "strengths", multiple=True, type=float, default=(0.1, 0.2, 0.3),
                 show_default=True, help="Of img2img; repeatable."),
)  # fmt: skip


@dataclass(frozen=True)
class InverseOptions:
    """Training of a network that takes off what a defender adds.

    Attributes:
        train: folder of photos; None for no such network.
        train_steps: how many.
        work: folder of the networks; a run that was cut off goes on.
    """

    train: Path | None
    train_steps: int
    work: Path

    def links(
        self, defenders: list[LoadedDefender], budget: Budget, size: int, measured: list[str],
        device: torch.device, output: OutputOptions,
    ) -> list[Link]:  # fmt: skip
        """A learned inverse of each defender, trained without the photos ``measured``."""
        from rid_core.data import list_portraits
        from rid_eval.inverse import InverseSettings, inverse_link, train_inverse

        if self.train is None:
            return []
        clean = list_portraits(self.train, [Path(name).name for name in measured])
        settings = InverseSettings(steps=self.train_steps, short_side=size)
        found = []
        for one in defenders:
            with output.progress(f"Inverse of {one.label}") as update:
                network = train_inverse(one.network, budget, clean, self.work, settings, device,
                                        update)  # fmt: skip
            found.append(inverse_link(one.label, network))
        return found


inverse_options = grouped(
    "inverse", InverseOptions,
    path_option("--train", help="Also train a network on this folder that takes off what each "
                                "defender adds; photos that are measured on are left out of it."),
    count_option("--train-steps", default=1000, show_default=True),
    path_option("--work", default=Path("runs/robustness"), show_default=True,
                help="Folder of those networks; a run that was cut off goes on."),
)  # fmt: skip


@click.command("robustness", context_settings=CONTEXT, epilog=_EPILOG)
@click.argument("defenders", nargs=-1, required=True)
@photo_options
@count_option("--size", least=32, default=256, show_default=True,
              help="Side to scale and crop to, pixels.")  # fmt: skip
@click.option("--encoder", "encoders", multiple=True, required=True, metavar="PATH",
              help="Encoder to measure on: a file of the TAESD family, or a folder of diffusers; "
                   "repeatable. PGD attacks the first.")  # fmt: skip
@levels_option
@count_option("--pgd", "pgd_steps", least=0, default=0,
              help="Also measure PGD with so many steps.")  # fmt: skip
@step_options
@inverse_options
@compute_options()
@count_option("--batch", default=8, show_default=True)
@output_options
def robustness(
    defenders: tuple[str, ...],
    photos: PhotoFolder,
    size: int,
    encoders: tuple[str, ...],
    levels: int | None,
    pgd_steps: int,
    steps: StepOptions,
    inverse: InverseOptions,
    compute: ComputeOptions,
    batch: int,
    output: OutputOptions,
) -> None:
    """What JPEG, resizing, filters, models and chains of them leave of the effect.

    DEFENDERS are checkpoints or bundled presets. Measured beside them: random signs at the bound,
    PGD (--pgd), and for each noise of equal norm as floor. Printed is the share of the plain effect
    that is left, and in brackets the floor on the same scale; see docs/evaluation.md.
    """
    try:
        import torch

        from rid_eval import robustness as measures
        from rid_eval.comparison import load_defenders
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "a package", "train") from None

    device = compute.prepare()
    loaded, budget = load_defenders(defenders, levels)
    for one in loaded:
        if size % one.network.stride or one.network.fixed_size not in (None, size):
            raise RidError(f"{one.label} cannot work at {size} pixels; choose another --size")
        one.network.to(device)
    opened = measures.open_encoders(encoders, size, device)
    links = steps.links(device)
    images = photos.load(size)
    links += inverse.links(loaded, budget, size, list(images), device, output)
    chains = steps.chains(links)
    makers = measures.protections_of(loaded, opened, budget, pgd_steps)
    with output.progress("Protecting") as update:
        protected = measures.protect_all(makers, list(images.values()), budget, device, update)
    with output.progress("Measuring") as update:
        matrix = measures.measure(
            protected, torch.cat(list(images.values())), chains, opened,
            batch=batch, device=device, progress=update,
        )  # fmt: skip
    output.show(measures.summarize(
        protected, loaded, chains, matrix, photos.describe(len(images), size), budget, str(device)
    ))  # fmt: skip
