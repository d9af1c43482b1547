"""What the defenders are compared with, in the same run: the paper's network, and the slow peers.

The peers optimise one photo for many steps through Stable Diffusion. Here a few steps of projected
gradient descent are timed on a tiny encoder and multiplied by the steps that their authors publish:
a LOWER bound of their cost, since Stable Diffusion's own encoder is far larger, and two of the
three go through its U-Net as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rid_bench.compare import LEAST
from rid_bench.portable.records import (
    NOISY,
    STARVED,
    Cell,
    Measured,
    Scaled,
    label,
    measured,
)
from rid_bench.portable.worker import Job
from rid_core.errors import RidError

PAPER_SECONDS = 1.0
"""What the paper claims for its network on a CPU (abstract of arXiv 2412.09844: 1.1 s)."""
PGD_STEPS = 2
"""Steps in one timed repetition."""
_RANDOM = "random, of TAESD's shape"
_PAPER = "the paper's network, random weights"


@dataclass(frozen=True)
class Peer:
    """A published image-wise method.

    Attributes:
        name: of the method.
        steps: gradient steps that every photo takes, as its authors run it.
        source: where that number stands.
        left_out: what it does besides, which is not counted here.
    """

    name: str
    steps: int
    source: str
    left_out: str


PEERS = (
    Peer(
        "PhotoGuard, encoder attack",
        200,
        "arXiv 2302.06588; MadryLab/photoguard, demo/app.py: iters=200",
        "nothing but the size of Stable Diffusion's encoder",
    ),
    Peer(
        "Anti-DreamBooth, ASPL",
        300,
        "arXiv 2303.15433; VinAIResearch/Anti-DreamBooth, scripts/attack_with_aspl.sh: "
        "max_train_steps=50, max_adv_train_steps=6",
        "the U-Net in every step, and 2 x 3 training steps of the U-Net in each of the 50 rounds",
    ),
    Peer(
        "Mist",
        100,
        "arXiv 2305.12683; psyker-team/mist, mist_v3.py: steps=100",
        "the U-Net in every step",
    ),
)


def jobs(
    photo: str,
    threads: Sequence[int],
    *,
    onnx: bool = False,
    surrogate: str = "",
    config: Mapping[str, int] | None = None,
) -> list[Job]:
    """Jobs for the paper's network and for steps of PGD.

    Args:
        photo: an ``.npy`` file, uint8 RGB [512, 512, 3].
        threads: numbers of threads.
        onnx: whether the paper's network runs in ONNX Runtime as well (heavy).
        surrogate: encoder of a tiny autoencoder; empty for one of TAESD's shape, random weights.
        config: fields of the paper's network that differ (for tests).
    """
    config = dict(config or {})
    options = {"side": config.get("image_size", 512), "config": config}
    kinds = [("RandomNetwork", "torch"), *([("RandomOnnx", "ONNX")] if onnx else [])]
    encoder = f"an encoder ({surrogate or _RANDOM})"
    made = []
    for count in threads:
        for kind, form in kinds:
            cell = Cell("rid-dit", form, "fp32", threads=count, note=_PAPER)
            made.append(Job(f"rid_bench.peers:{kind}", cell, photo, "rid-dit", 4, options))
        cell = Cell("PGD", threads=count, note=encoder)
        steps = {"steps": PGD_STEPS}
        made.append(Job("rid_bench.peers:Pgd", cell, photo, surrogate, 4, steps))
    return made


def rows(results: Sequence[Cell]) -> list[Cell]:
    """Peers out of the results of :func:`jobs`: seconds per photo, scaled ones saying so."""
    found: list[Cell] = []
    for result in results:
        if result.name != "PGD":
            found.append(result)
            continue
        for peer in PEERS:
            note = (
                f"at least: {PGD_STEPS} steps timed on {result.note}, scaled to {peer.steps}; "
                f"left out: {peer.left_out}"
            )
            row = Cell(
                peer.name,
                threads=result.threads,
                error=result.error,
                runtime=result.runtime,
                note=note,
                scaled=Scaled(PGD_STEPS, peer.steps),
                source=peer.source,
            )
            if isinstance(result, Measured):
                row = Measured(**vars(row), total=result.alone.scaled(peer.steps / PGD_STEPS))
            found.append(row)
    return found


def base_of(cells: Sequence[Cell], name: str, threads: int) -> Measured | None:
    """The fp32 cell of a defender that others are compared with: LiteRT's, else the fastest."""
    fit = [
        cell
        for cell in measured(cells)
        if (cell.name, cell.threads, cell.precision) == (name, threads, "fp32")
    ]
    usual = [cell for cell in fit if cell.kernels == "xnnpack"]
    apps = [cell for cell in usual if cell.format == "TFLite"]
    return min(apps or usual, key=lambda cell: cell.total.median, default=None)


@dataclass(frozen=True)
class GateVerdict:
    """What a gate says.

    Attributes:
        passed: True, False, or None where the machine was too noisy to tell.
        text: one line for people.
    """

    passed: bool | None
    text: str


def parse_ratio(text: str) -> tuple[str | None, float]:
    """``1/300``, ``0.0033`` or ``rid-s=1/300``: (defender or None for all, ratio).

    Raises:
        RidError: neither.
    """
    name, _, value = text.rpartition("=")
    above, _, below = value.partition("/")
    try:
        ratio = float(above) / (float(below) if below else 1.0)
    except (ValueError, ZeroDivisionError):
        ratio = 0.0
    if not ratio > 0:
        raise RidError(f"--max-ratio takes 1/300 or rid-s=1/300, not {text!r}")
    return name or None, ratio


def gate_latency(cells: Sequence[Cell], bound: float) -> list[GateVerdict]:
    """Hold every measured cell, pre- and post-processing included, to ``bound`` seconds."""
    return [_judge(label(cell), _interval(cell), bound, "s") for cell in measured(cells)]


def gate_ratio(
    cells: Sequence[Cell], peers: Sequence[Cell], given: Sequence[str]
) -> list[GateVerdict]:
    """Hold cells to a share of the time of the paper's network in torch, same threads, same run.

    Raises:
        RidError: a ratio that is none, or the paper's network was not measured.
    """
    paper = {
        peer.threads: peer
        for peer in measured(peers)
        if (peer.name, peer.format) == ("rid-dit", "torch")
    }
    verdicts = []
    for text in given:
        name, bound = parse_ratio(text)
        chosen = [cell for cell in measured(cells) if name in (None, cell.name)]
        if not chosen:
            raise RidError(f"--max-ratio {text}: no {name or 'defender'} was measured")
        for cell in chosen:
            if cell.threads not in paper:
                raise RidError("--max-ratio needs the paper's network: leave --no-peers away")
            ours, theirs = _interval(cell), _interval(paper[cell.threads])
            most = ours[2] / theirs[0] if theirs[0] else float("inf")
            ratio = (ours[0] / theirs[2], ours[1] / theirs[1], most)
            verdicts.append(_judge(f"{label(cell)} to rid-dit in torch", ratio, bound, "x"))
    return verdicts


def gate_int8(cells: Sequence[Cell]) -> list[GateVerdict]:
    """Hold int8 in LiteRT to the time of float32 in it, network alone, plus :data:`LEAST`.

    Raises:
        RidError: there is no such pair of cells.
    """
    fit = [cell for cell in measured(cells) if cell.runtime_key == "litert"]
    found = {(c.precision, c.name, c.resolution, c.kernels, c.threads): c for c in fit}
    pairs = [
        (cell, plain)
        for cell in fit
        if cell.precision == "int8"
        and (plain := found.get(("fp32", cell.name, cell.resolution, cell.kernels, cell.threads)))
    ]
    if not pairs:
        raise RidError("--int8-no-slower needs a network as fp32 and as int8, both in LiteRT")
    verdicts = []
    for ours, plain in pairs:
        text = f"{label(ours)} to fp32"
        ratio = ours.alone.median / plain.alone.median
        why = ours.doubt or plain.doubt
        if why:
            verdicts.append(GateVerdict(None, f"{text}: {ratio:.3g} x, but {why}"))
        else:
            verdicts.append(_judge(text, (ratio, ratio, ratio), 1 + LEAST, "x"))
    return verdicts


def _interval(cell: Measured) -> tuple[float, float, float]:
    """Lowest, middle and highest value that the samples allow; one point if there is no doubt."""
    total = cell.total
    if cell.doubt is None:
        return total.median, total.median, total.median
    # What shared its cores could be faster by any amount; what only varied, as fast as its fastest.
    starved = total.spread <= NOISY or (cell.cpu_share or 1) < STARVED
    return 0.0 if starved else total.minimum, total.median, total.p90


def _judge(what: str, found: tuple[float, float, float], bound: float, unit: str) -> GateVerdict:
    low, middle, high = found
    text = f"{what}: {middle:.4g} {unit}, at most {bound:.4g} allowed"
    if low > bound or (low == high and middle > bound):
        return GateVerdict(False, f"too slow: {text}")
    if high <= bound:
        return GateVerdict(True, text)
    return GateVerdict(
        None, f"the machine is too noisy to tell: {text}, anything from {low:.4g} to {high:.4g}"
    )
