"""Write the golden vectors that every language checks; see README.md beside this file.

python tests/golden/generate.py            everything, with the bundled rid-s
python tests/golden/generate.py --check    exit code 1 if a file is stale
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rid_core.budget import Budget
from rid_core.checkpoint import bundled_checkpoint, weights_digest
from rid_core.image import tiling
from rid_core.protection import protect_photo, working_perturbation

HERE = Path(__file__).parent
SCHEMA = 1
GRID = 64
CELL = 8
ROUNDING = 1e-6
"""Of floats computed on another machine."""
PALETTE = 128
"""Colours of the model's test image: a palette keeps it small, and every decoder agrees on it."""


def floats(array: np.ndarray) -> Any:
    """Nested lists with the shortest decimals that give each float32 back."""
    if array.ndim:
        return [floats(row) for row in array]
    return float(str(np.float32(array)))


def levels(array: np.ndarray) -> Any:
    return array.astype(int).tolist()


def noise(seed: int, *shape: int) -> np.ndarray:
    """Smooth and rough at once, so that filters and clips have something to do."""
    rng = np.random.default_rng(seed)
    rough = rng.random(shape, dtype=np.float32)
    slope = np.linspace(0, 1, shape[0], dtype=np.float32).reshape(-1, *(1,) * (len(shape) - 1))
    return 0.6 * rough + 0.4 * slope


def photo(seed: int, height: int, width: int) -> np.ndarray:
    return np.rint(255 * noise(seed, height, width, 3)).astype(np.uint8)


# -- the algorithms of rid_core -------------------------------------------------------------------


def budget_cases() -> list[dict[str, Any]]:
    image = np.array([0, 1, 2, 7, 8, 9, 100, 127, 128, 200, 247, 248, 254, 255], np.uint8)
    units = {
        "whole range": np.linspace(-1, 1, image.size, dtype=np.float32),
        "clipped": np.linspace(-3, 3, image.size, dtype=np.float32),
        "down": np.full(image.size, -1, np.float32),
        "up": np.full(image.size, 1, np.float32),
        # Exactly between two levels: halves go to the even neighbour.
        "halves": (np.arange(image.size) - 7).astype(np.float32) / 16 + np.float32(1 / 16),
    }
    cases = []
    for bound, strength in ((8, 1.0), (8, 0.5), (6, 1.0), (4, 0.3), (16, 0.75)):
        for name, unit in units.items():
            protected = Budget(bound, strength).apply_uint8(image, unit)
            cases.append(
                {
                    "name": f"{name}, {bound} levels, strength {strength:g}",
                    "levels": bound,
                    "strength": strength,
                    "image": levels(image),
                    "unit": floats(unit),
                    "protected": levels(protected),
                }
            )
    return cases


def size_cases() -> list[dict[str, Any]]:
    sizes = [(3024, 4032), (4032, 3024), (512, 512), (512, 513), (511, 700), (100, 101), (1, 1)]
    sizes += [(1080, 1920), (2000, 3001), (8000, 600), (64, 4096), (333, 777)]
    return [
        {"height": h, "width": w, "short": short, "working": list(tiling.working_size(h, w, short))}
        for short in (512, 16)
        for h, w in sizes
    ]


def start_cases() -> list[dict[str, Any]]:
    pairs = [(512, 512), (513, 512), (683, 512), (960, 512), (961, 512), (1024, 512), (5000, 512)]
    pairs += [(16, 16), (17, 16), (30, 16), (31, 16), (45, 16), (100, 16)]
    return [{"length": n, "tile": t, "starts": tiling.starts(n, t)} for n, t in pairs]


def weight_cases() -> list[dict[str, Any]]:
    return [
        {"length": n, "tile": t, "weights": [floats(w) for w in tiling.weights(n, t)]}
        for n, t in ((16, 16), (17, 16), (25, 16), (45, 16), (70, 32))
    ]


def tap_cases() -> list[dict[str, Any]]:
    cases = []
    for n, m in ((5, 5), (4, 7), (3, 12), (12, 3), (10, 7), (7, 1), (1, 4), (9, 8)):
        index, weight = tiling.taps(n, m)
        cases.append({"from": n, "to": m, "index": levels(index), "weight": floats(weight)})
    return cases


def resample_cases() -> list[dict[str, Any]]:
    cases = []
    for seed, (source, target) in enumerate(
        (((6, 5), (3, 4)), ((4, 5), (9, 7)), ((7, 4), (3, 8)), ((3, 8), (7, 4)), ((5, 5), (5, 5)))
    ):
        image = photo(seed, *source)
        result = tiling.resample(image, *target)
        cases.append({"image": levels(image), "size": list(target), "result": floats(result)})
    return cases


def sharpen_cases() -> list[dict[str, Any]]:
    cases = []
    for seed, (height, width) in enumerate(((5, 4), (1, 6), (6, 1))):
        unit = 2 * noise(seed + 20, height, width, 3) - 1
        cases.append({"unit": floats(unit), "result": floats(tiling.sharpen(unit))})
    return cases


class Formula:
    """A network that can be written down: what the end-to-end cases run instead of a model.

    For the tile's value v in [0, 1] at (row, column, channel): ``u = 4 v - 2``, plus 0.5 where row
    plus column plus channel is odd and minus 0.5 where it is even, clipped to [-1, 1].
    """

    name = "formula"
    preset = "formula"
    levels = 8
    stride = 1

    def __init__(self, side: int) -> None:
        self.fixed_size = side

    def perturb(self, image: np.ndarray) -> np.ndarray:
        odd = np.indices(image.shape).sum(axis=0) % 2 == 1
        unit: np.ndarray = 4 * image - 2 + np.where(odd, np.float32(0.5), np.float32(-0.5))
        return unit.clip(-1, 1)


def photo_cases() -> list[dict[str, Any]]:
    cases = []
    for seed, (height, width, tile, strength) in enumerate(
        (
            (16, 16, 16, 1.0),  # nothing is scaled
            (16, 21, 16, 1.0),  # two tiles
            (26, 19, 16, 1.0),  # larger than the working view: sharpened
            (11, 14, 16, 0.5),  # smaller
            (18, 47, 16, 1.0),  # three tiles, sharpened
        )
    ):
        pixels = photo(seed + 40, height, width)
        network = Formula(tile)
        unit = working_perturbation(pixels, network)
        protected = protect_photo(pixels, network, Budget(8, strength))
        cases.append(
            {
                "tile": tile,
                "levels": 8,
                "strength": strength,
                "image": levels(pixels),
                "working_unit": floats(unit),
                "protected": levels(protected),
            }
        )
    return cases


TOPICS: dict[str, Callable[[], dict[str, Any]]] = {
    "budget": lambda: {"apply_uint8": budget_cases()},
    "tiling": lambda: {
        "working_size": size_cases(),
        "starts": start_cases(),
        "weights": weight_cases(),
    },
    "resample": lambda: {
        "taps": tap_cases(),
        "resample": resample_cases(),
        "sharpen": sharpen_cases(),
    },
    "photo": lambda: {"protect": photo_cases()},
}


def topic_text(name: str) -> str:
    """JSON with one case a line."""
    return _text({"schema": SCHEMA} | TOPICS[name]())


def _text(document: dict[str, Any]) -> str:
    def one(value: Any) -> str:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)

    entries = []
    for key, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            entries.append(f'"{key}": [\n' + ",\n".join(map(one, value)) + "\n]")
        else:
            entries.append(f'"{key}": {one(value)}')
    return "{\n" + ",\n".join(entries) + "\n}\n"


# -- the model ------------------------------------------------------------------------------------


def portrait_png() -> bytes:
    """The first bundled portrait, 512 x 512, in few colours: decodes to the same anywhere."""
    from PIL import Image

    from rid_export.portraits import bundled_portraits

    pixels = np.rint(bundled_portraits(512)[0] * 255).astype(np.uint8)
    few = Image.fromarray(pixels).quantize(
        PALETTE, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
    )
    buffer = io.BytesIO()
    few.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def decoded(png: bytes) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def grid() -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the positions, [64, 64] each; one in every cell of 8 x 8 pixels."""
    i, j = np.indices((GRID, GRID))
    return CELL * i + 3 * i % CELL, CELL * j + (5 * j + i) % CELL


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()


def model_document(checkpoint: Path, png: bytes) -> dict[str, Any]:
    """What the float32 network answers on ``portrait.png``."""
    from rid_core.runtimes.torch import TorchRuntime

    runtime = TorchRuntime(checkpoint)
    pixels = decoded(png)
    delta = runtime.perturb(pixels.astype(np.float32) / np.float32(255))
    protected = Budget(runtime.levels).apply_uint8(pixels, delta)
    rows, columns = grid()
    return {
        "schema": SCHEMA,
        "preset": runtime.preset,
        "weights": weights_digest(runtime.defender),
        "levels": runtime.levels,
        "image": {
            "file": "portrait.png",
            "size": [pixels.shape[0], pixels.shape[1]],
            "rgb_sha256": hashlib.sha256(pixels.tobytes()).hexdigest(),
        },
        "grid": {"cells": GRID, "cell": CELL},
        "delta": _base64(delta[rows, columns].astype("<f4")),
        "protected": _base64(protected[rows, columns]),
        "whole": {
            "delta_mean": floats(delta.mean(dtype=np.float64)),
            "delta_rms": floats(np.sqrt(np.square(delta, dtype=np.float64).mean())),
            "changed_share": floats((protected != pixels).mean()),
        },
        "tolerance": _tolerances(),
    }


def _tolerances() -> dict[str, dict[str, float]]:
    """The gate's own bounds, by precision."""
    from rid_export.parity import FIDELITY

    return {
        precision: {bound.name: bound.bound for bound in bounds}
        for precision, bounds in FIDELITY.items()
    }


def model_delta(document: dict[str, Any]) -> np.ndarray:
    """``delta`` of the document: float32 [64, 64, 3]."""
    raw = base64.b64decode(document["delta"])
    return np.frombuffer(raw, "<f4").reshape(GRID, GRID, 3)


# -- the program ----------------------------------------------------------------------------------


def stale() -> list[str]:
    """What differs from the files on disk, one line each."""
    return [line for name in TOPICS for line in stale_topic(name)] + stale_model()


def stale_topic(name: str) -> list[str]:
    """Whole numbers and names must be equal; floats may differ in their last digits."""
    text, fresh = _read(HERE / f"{name}.json"), topic_text(name)
    if text == fresh:
        return []
    try:
        place = _difference(json.loads(text), json.loads(fresh), f"{name}.json")
    except ValueError:
        place = f"{name}.json, which is missing or no JSON,"
    return [f"{place} differs from what rid_core computes"] if place else []


def _difference(found: Any, fresh: Any, place: str) -> str | None:
    """Where two documents differ first; None if nowhere."""
    if type(found) is not type(fresh):
        return place
    if isinstance(fresh, float):
        return None if abs(found - fresh) <= ROUNDING * max(1.0, abs(fresh)) else place
    if not isinstance(fresh, dict | list):
        return None if found == fresh else place
    if len(found) != len(fresh):
        return place
    keys = fresh if isinstance(fresh, dict) else range(len(fresh))
    for key in keys:
        if isinstance(found, dict) and key not in found:
            return f"{place}: {key}"
        where = _difference(found[key], fresh[key], f"{place}: {key}" if len(place) < 60 else place)
        if where:
            return where
    return None


def stale_model() -> list[str]:
    """The model's vectors; another machine may round the last digits of a float otherwise."""
    text, png = _read(HERE / "model.json"), HERE / "portrait.png"
    if not text or not png.is_file():
        return ["model.json or portrait.png is missing"]
    found = json.loads(text)
    fresh = model_document(bundled_checkpoint(found["preset"]), png.read_bytes())
    problems = [
        f"model.json has another {key} than the bundled {found['preset']}"
        for key in ("schema", "weights", "levels", "image", "grid", "tolerance")
        if found[key] != fresh[key]
    ]
    worst = float(np.abs(model_delta(found) - model_delta(fresh)).max())
    if worst > 1e-4:
        problems.append(f"model.json: delta differs by {worst:.3g}")
    problems += [
        f"model.json: {name} of the whole is {found['whole'][name]}, not {value}"
        for name, value in fresh["whole"].items()
        if abs(found["whole"][name] - value) > 1e-4
    ]
    return problems


def _read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def write(checkpoint: Path) -> None:
    for name in TOPICS:
        (HERE / f"{name}.json").write_text(topic_text(name))
    png = portrait_png()
    (HERE / "portrait.png").write_bytes(png)
    (HERE / "model.json").write_text(_text(model_document(checkpoint, png)))


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the golden vectors.")
    parser.add_argument("--check", action="store_true", help="change nothing, say what is stale")
    parser.add_argument("--checkpoint", type=Path, help="default: the bundled rid-s")
    options = parser.parse_args()
    if not options.check:
        write(options.checkpoint or bundled_checkpoint())
    problems = stale() if options.check else []
    for line in problems:
        print(line, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
