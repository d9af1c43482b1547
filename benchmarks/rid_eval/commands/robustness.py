"""``rid-eval robustness``: what is left of the effect after channels and purifications."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from rid_core.cli.common import CONTEXT
from rid_core.errors import MissingExtraError, RidError

_EPILOG = """\b
Examples:
  rid-eval robustness rid-s --images ../shared/data/portraits --pattern '04[5-9]?.jpg' --limit 16 \\
      --encoder ../shared/weights/taef2_encoder.pth --vae ../shared/weights/taef2_encoder.pth \\
      --combine jpeg75+median --json robustness.json
  rid-eval robustness rid-s rid-n --images faces/ --encoder taef2_encoder.pth \\
      --encoder encoder-s8 --pgd 40 --diffusion face-ldm --train portraits/ --device cuda
"""


@click.command("robustness", context_settings=CONTEXT, epilog=_EPILOG)
@click.argument("defenders", nargs=-1, required=True)
@click.option("--images", required=True, type=click.Path(path_type=Path), help="Portraits.")
@click.option("--pattern", default="*", show_default=True, help="Which files of the folder.")
@click.option("--limit", type=click.IntRange(1), help="At most so many images.")
@click.option("--size", default=256, show_default=True, type=click.IntRange(32),
              help="Side to scale and crop to, pixels.")  # fmt: skip
@click.option("--encoder", "encoders", multiple=True, required=True, metavar="PATH",
              help="Encoder to measure on: a file of the TAESD family, or a folder of diffusers; "
                   "repeatable. PGD attacks the first.")  # fmt: skip
@click.option("--levels", type=int, help="Bound in 8-bit levels (default: the checkpoints').")
@click.option("--pgd", "pgd_steps", default=0, help="Also measure PGD with so many steps.")
@click.option("--channel", "channels", multiple=True, metavar="NAME",
              help="Only these channels; repeatable, or 'none' (default: all).")  # fmt: skip
@click.option("--purification", "purifications", multiple=True, metavar="NAME",
              help="Only these filters; repeatable, or 'none' (default: all).")  # fmt: skip
@click.option("--combine", "combinations", multiple=True, metavar="A+B",
              help="Also steps in a row, such as jpeg75+median; repeatable.")  # fmt: skip
@click.option("--vae", type=click.Path(path_type=Path),
              help="Also purify through this autoencoder and back.")  # fmt: skip
@click.option("--diffusion", type=click.Path(path_type=Path),
              help="Also purify by img2img on this model, a folder of diffusers.")  # fmt: skip
@click.option("--prompt", default="", help="Of img2img.")
@click.option("--strength", "strengths", multiple=True, type=float, default=(0.1, 0.2, 0.3),
              show_default=True, help="Of img2img; repeatable.")  # fmt: skip
@click.option("--train", type=click.Path(path_type=Path),
              help="Also train a network on this folder that takes off what each defender adds; "
                   "photos that are measured on are left out of it.")  # fmt: skip
@click.option("--train-steps", default=1000, show_default=True, type=click.IntRange(1))
@click.option("--work", type=click.Path(path_type=Path), default=Path("runs/robustness"),
              show_default=True, help="Folder of those networks; a cut run goes on.")  # fmt: skip
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--batch", default=8, show_default=True, type=click.IntRange(1))
@click.option("--threads", type=click.IntRange(1), help="CPU threads (default: torch's choice).")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def robustness(
    defenders: tuple[str, ...],
    images: Path,
    pattern: str,
    limit: int | None,
    size: int,
    encoders: tuple[str, ...],
    levels: int | None,
    pgd_steps: int,
    channels: tuple[str, ...],
    purifications: tuple[str, ...],
    combinations: tuple[str, ...],
    vae: Path | None,
    diffusion: Path | None,
    prompt: str,
    strengths: tuple[float, ...],
    train: Path | None,
    train_steps: int,
    work: Path,
    device: str,
    batch: int,
    threads: int | None,
    json_path: Path | None,
    quiet: bool,
) -> None:
    """What JPEG, resizing, filters, models and chains of them leave of the effect.

    DEFENDERS are checkpoints or bundled presets. Measured beside them: random signs at the bound,
    PGD (--pgd), and for each noise of equal norm as floor. Printed is the share of the plain effect
    that is left, and in brackets the floor on the same scale; see docs/evaluation.md.
    """
    try:
        from tqdm.auto import tqdm

        from rid_eval import robustness as measures
        from rid_eval import shift
        from rid_eval.results import result, write_result
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "a package", "train") from None
    import torch

    from rid_core.budget import Budget
    from rid_core.checkpoint import find_checkpoint, load_checkpoint, weights_digest
    from rid_core.data import list_portraits
    from rid_core.surrogates import open_encoder
    from rid_core.surrogates.stable_diffusion import load_stable_diffusion
    from rid_eval.devices import device_named
    from rid_eval.inverse import InverseSettings, inverse_link, train_inverse
    from rid_eval.purifiers import (
        img2img_links,
        open_round_trip,
        round_trip_link,
    )
    from rid_eval.steps import CHANNELS, PURIFICATIONS, Chain, parse_chain, select

    device = str(device_named(device))
    if threads is not None:
        torch.set_num_threads(threads)
    links = [*select(channels, CHANNELS, "channel"),
             *select(purifications, PURIFICATIONS, "purification")]  # fmt: skip
    loaded = {Path(name).stem: load_checkpoint(find_checkpoint(name)) for name in defenders}
    if len(loaded) < len(defenders):
        raise RidError("two defenders have the same name; rename one of the files")
    bounds = {levels or card.levels for _, card in loaded.values()}
    if len(bounds) > 1:
        raise RidError(f"the checkpoints have different bounds, {sorted(bounds)}; give --levels")
    budget = Budget(bounds.pop())
    for name, (defender, _) in loaded.items():
        if size % defender.stride or defender.fixed_size not in (None, size):
            raise RidError(f"{name} cannot work at {size} pixels; choose another --size")
        defender.to(device)
    surrogates = [open_encoder(path) for path in encoders]
    for surrogate in surrogates:
        if size % surrogate.stride:
            raise RidError(f"{surrogate.name} takes multiples of {surrogate.stride} pixels")
        surrogate.to(device)  # type: ignore[attr-defined]
    if len({surrogate.name for surrogate in surrogates}) < len(surrogates):
        raise RidError("two encoders have the same name; rename one of the files")
    photos = shift.load_images(images, pattern, size, limit)
    if not photos:
        raise RidError(f"{images}: no portrait matches {pattern!r}")

    if vae is not None:
        links.append(round_trip_link(open_round_trip(vae).to(device)))
    if diffusion is not None:
        model = load_stable_diffusion(diffusion, prompt=prompt, decoder=True).to(device)
        links += img2img_links(model, strengths)
    if train is not None:
        clean = list_portraits(train, [Path(name).name for name in photos])
        settings = InverseSettings(steps=train_steps, short_side=size)
        for name, (defender, _) in loaded.items():
            with tqdm(
                total=train_steps, unit="step", desc=f"inverse of {name}", disable=quiet
            ) as bar:
                network = train_inverse(defender, budget, clean, work, settings, device,
                                        lambda done: bar.update(done - bar.n))  # fmt: skip
            links.append(inverse_link(name, network))
    known = {**CHANNELS, **PURIFICATIONS, **{link.name: link for link in links}}
    chains = [Chain((link,)) for link in links]
    chains += [parse_chain(text, known) for text in combinations]

    makers: dict[str, tuple[shift.Protection, list[str]]] = {
        "random": (lambda image: shift.random_signs(image.cpu()), [])
    }
    if pgd_steps:
        first = surrogates[0]
        makers[f"pgd-{pgd_steps}"] = (
            shift.slow_protection("pgd", first, budget, {"steps": pgd_steps}), [first.name]
        )  # fmt: skip
    for name, (defender, card) in loaded.items():
        makers[name] = (shift.defender_protection(defender), card.surrogates)
    protected = {}
    with tqdm(
        total=len(makers) * len(photos), unit="photo", desc="protecting", disable=quiet
    ) as bar:
        for name, (protection, trained_on) in makers.items():
            protected[name] = measures.protect(
                protection, list(photos.values()), budget, device, trained_on, bar.update
            )
    pieces = -(-len(photos) // batch)
    with tqdm(
        total=(len(chains) + 1) * pieces, unit="step", desc="measuring", disable=quiet
    ) as bar:
        matrix = measures.measure(
            protected, torch.cat(list(photos.values())), chains, surrogates,
            batch=batch, device=device, on_chain=bar.update,
        )  # fmt: skip
    click.echo(measures.table(matrix))
    weights = {name: weights_digest(network)[:16] for name, (network, _) in loaded.items()}
    if json_path is not None:
        write_result(json_path, result(
            "robustness",
            images={"folder": images.name, "pattern": pattern, "count": len(photos), "size": size},
            levels=budget.levels,
            device=device,
            protections={
                name: {"defender": name in loaded, "rms_levels": p.rms_levels, "psnr": p.psnr,
                       "trained_on": p.trained_on, "weights": weights.get(name, "")}
                for name, p in protected.items()
            },
            steps={chain.name: {"kind": chain.kind, "text": chain.text}
                   for chain in (Chain(()), *chains)},
            matrix=dataclasses.asdict(matrix),
        ))  # fmt: skip
