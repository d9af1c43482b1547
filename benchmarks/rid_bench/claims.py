"""What the defenders are compared with, in the same run: the paper's network, and the slow peers.

The peers optimise one photo for many steps through Stable Diffusion. Here a few steps of projected
gradient descent are timed on a tiny encoder and multiplied by the steps that their authors publish:
a LOWER bound of their cost, since Stable Diffusion's own encoder is far larger, and two of the
three go through its U-Net as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rid_bench.compare import LEAST
from rid_bench.portable.timing import NOISY, STARVED, doubt
from rid_bench.results import Row, label, measured
from rid_core.errors import RidError

PAPER_SECONDS = 1.0
"""What the paper claims for its network on a CPU (abstract of arXiv 2412.09844: 1.1 s)."""
PGD_STEPS = 2
"""Steps in one timed repetition."""


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


def cells(
    photo: str,
    threads: Sequence[int],
    *,
    onnx: bool = False,
    surrogate: str = "",
    config: dict[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Cells for the paper's network and for steps of PGD.

    Args:
        photo: an ``.npy`` file, uint8 RGB [512, 512, 3].
        threads: numbers of threads.
        onnx: whether the paper's network runs in ONNX Runtime as well (heavy).
        surrogate: encoder of a tiny autoencoder; empty for one of TAESD's shape, random weights.
        config: fields of the paper's network that differ (for tests).
    """
    about = {"resolution": 512, "config": config or {}}
    if config and "image_size" in config:
        about["resolution"] = config["image_size"]
    made = []
    for count in threads:
        common = {"threads": count, "photo": photo, "rounds": 4}
        networks = [("rid_bench.sessions:RandomSession", "torch")]
        if onnx:
            networks.append(("rid_bench.sessions:RandomOnnxSession", "ONNX"))
        for opener, kind in networks:
            labels = {"peer": "network", "name": "rid-dit", "format": kind, "precision": "fp32"}
            made.append(
                common | {"opener": opener, "path": "rid-dit", "about": about, "labels": labels}
            )
        labels = {"peer": "pgd", "name": "PGD", "surrogate": surrogate or "random, TAESD's shape"}
        made.append(
            common
            | {
                "opener": "rid_bench.sessions:PgdSession",
                "path": surrogate,
                "about": {"resolution": about["resolution"], "steps": PGD_STEPS},
                "labels": labels,
            }
        )
    return made


def rows(results: Sequence[Row]) -> list[Row]:
    """Peers' rows out of the results of :func:`cells`: seconds per photo, scaled ones saying so."""
    found: list[Row] = []
    for result in results:
        common: Row = {"threads": result["threads"], "error": result.get("error")}
        if result["peer"] == "network":
            row = {key: value for key, value in result.items() if key != "peer"}
            found.append(row | {"scaled": None, "note": "the paper's network, random weights"})
            continue
        timed = result.get("network")
        for peer in PEERS:
            row = common | {"name": peer.name, "runtime": result.get("runtime")}
            if timed:
                share = peer.steps / PGD_STEPS
                row["total"] = {
                    key: timed[key] * share for key in ("minimum", "median", "p90", "p99", "mean")
                } | {"count": timed["count"], "spread": timed["spread"]}
            row["scaled"] = {"timed_steps": PGD_STEPS, "steps": peer.steps}
            row["source"] = peer.source
            row["note"] = (
                f"at least: {PGD_STEPS} steps timed on an encoder ({result['surrogate']}), scaled "
                f"to {peer.steps}; left out: {peer.left_out}"
            )
            found.append(row)
    return found


def base_of(cells: Sequence[Row], name: str, threads: int) -> Row | None:
    """The fp32 cell of a defender that others are compared with: LiteRT's, else the fastest."""
    fit = [
        cell
        for cell in measured(cells)
        if cell["name"] == name and cell["threads"] == threads and cell.get("precision") == "fp32"
    ]
    usual = [cell for cell in fit if cell.get("kernels") in (None, "xnnpack")]
    apps = [cell for cell in usual if cell["format"] == "TFLite"]
    return min(apps or usual, key=lambda cell: float(cell["total"]["median"]), default=None)


@dataclass(frozen=True)
class Verdict:
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


def gate_latency(cells: Sequence[Row], bound: float) -> list[Verdict]:
    """Hold every measured cell, pre- and post-processing included, to ``bound`` seconds."""
    return [_judge(label(cell), _interval(cell), bound, "s") for cell in measured(cells)]


def gate_ratio(cells: Sequence[Row], peers: Sequence[Row], given: Sequence[str]) -> list[Verdict]:
    """Hold cells to a share of the time of the paper's network in torch, same threads, same run.

    Raises:
        RidError: a ratio that is none, or the paper's network was not measured.
    """
    verdicts = []
    for text in given:
        name, bound = parse_ratio(text)
        chosen = [cell for cell in measured(cells) if name in (None, cell["name"])]
        if not chosen:
            raise RidError(f"--max-ratio {text}: no {name or 'defender'} was measured")
        for cell in chosen:
            slow = next(
                (
                    peer
                    for peer in measured(peers)
                    if peer["name"] == "rid-dit"
                    and peer["format"] == "torch"
                    and peer["threads"] == cell["threads"]
                ),
                None,
            )
            if slow is None:
                raise RidError("--max-ratio needs the paper's network: leave --no-peers away")
            ours, theirs = _interval(cell), _interval(slow)
            most = ours[2] / theirs[0] if theirs[0] else float("inf")
            ratio = (ours[0] / theirs[2], ours[1] / theirs[1], most)
            verdicts.append(_judge(f"{label(cell)} to rid-dit in torch", ratio, bound, "x"))
    return verdicts


def gate_int8(cells: Sequence[Row]) -> list[Verdict]:
    """Hold int8 in LiteRT to the time of float32 in it, network alone, plus :data:`LEAST`.

    Raises:
        RidError: there is no such pair of cells.
    """
    keys = ("name", "resolution", "kernels", "threads")
    found = {
        (cell["precision"], *(cell.get(key) for key in keys)): cell
        for cell in measured(cells)
        if cell.get("runtime_key") == "litert"
    }
    pairs = [
        (cell, found["fp32", *rest])
        for (precision, *rest), cell in found.items()
        if precision == "int8" and ("fp32", *rest) in found
    ]
    if not pairs:
        raise RidError("--int8-no-slower needs a network as fp32 and as int8, both in LiteRT")
    verdicts = []
    for ours, plain in pairs:
        text = f"{label(ours)} to fp32"
        ratio = ours["network"]["median"] / plain["network"]["median"]
        why = doubt(ours) or doubt(plain)
        if why:
            verdicts.append(Verdict(None, f"{text}: {ratio:.3g} x, but {why}"))
        else:
            verdicts.append(_judge(text, (ratio, ratio, ratio), 1 + LEAST, "x"))
    return verdicts


def _interval(cell: Row) -> tuple[float, float, float]:
    """Lowest, middle and highest value that the samples allow; one point if there is no doubt."""
    total = cell["total"]
    middle = float(total["median"])
    if doubt(cell) is None:
        return middle, middle, middle
    # What shared its cores could be faster by any amount; what only varied, as fast as its fastest.
    starved = total["spread"] <= NOISY or (cell.get("cpu_share") or 1) < STARVED
    return 0.0 if starved else float(total["minimum"]), middle, float(total["p90"])


def _judge(what: str, found: tuple[float, float, float], bound: float, unit: str) -> Verdict:
    low, middle, high = found
    text = f"{what}: {middle:.4g} {unit}, at most {bound:.4g} allowed"
    if low > bound or (low == high and middle > bound):
        return Verdict(False, f"too slow: {text}")
    if high <= bound:
        return Verdict(True, text)
    return Verdict(
        None, f"the machine is too noisy to tell: {text}, anything from {low:.4g} to {high:.4g}"
    )
