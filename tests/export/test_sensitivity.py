"""Which layers are worth float: measured in torch, ordered by noise per multiply-add."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rid_export.sensitivity import MOST_IN_FLOAT, Sensitivity, float_order, sensitivity


def chain(noise: dict[str, float], products: dict[str, int] | None = None) -> Sensitivity:
    """``a`` reads the image, ``b`` what ``a`` gives, ``c`` a sum."""
    sources = {"a": "a.input", "b": "a", "c": "c.input"}
    return Sensitivity(noise, sources, products or {"a": 10, "b": 10, "c": 10})


def test_a_layer_takes_its_own_rounding_along() -> None:
    quiet = {"a.input": 0.0, "a": 0.0, "b": 0.0, "c.input": 0.0, "c": 0.0}
    assert float_order(chain(quiet)) == []
    assert float_order(chain(quiet | {"c.input": 1e-3})) == ["c"]


def test_what_is_read_by_an_integer_layer_stays_rounded() -> None:
    quiet = {"a.input": 0.0, "a": 1e-3, "b": 0.0, "c.input": 0.0, "c": 0.0}
    assert sorted(float_order(chain(quiet))) == ["a", "b"]  # neither alone is worth anything


def test_small_layers_come_first() -> None:
    noise = {"a.input": 2e-3, "a": 0.0, "b": 0.0, "c.input": 1e-3, "c": 0.0}
    assert float_order(chain(noise, {"a": 90, "b": 40, "c": 1}))[0] == "c"


def test_layers_that_are_in_float_anyway_are_not_planned_and_count() -> None:
    noise = dict.fromkeys(("a.input", "a", "b", "c.input", "c"), 1e-3)
    assert float_order(chain(noise, {"a": 10, "b": 60, "c": 30}), frozenset("c")) == ["a"]
    sizes = {"a": 50, "b": 20, "c": 30}
    assert "a" not in float_order(chain(noise, sizes), frozenset("c"))  # 80 % would be in float
    quiet = dict.fromkeys(noise, 0.0) | {"a": 1e-3}
    # A layer that was not measured, such as one that has another name in torch, does no harm.
    assert float_order(chain(quiet), frozenset(("b", "else"))) == [
        "a"
    ]  # its reader is in float already


def test_most_of_the_network_stays_in_integers() -> None:
    noise = dict.fromkeys(("a.input", "a", "b", "c.input", "c"), 1e-3)
    found = float_order(chain(noise, {"a": 40, "b": 40, "c": 20}))
    assert sum({"a": 40, "b": 40, "c": 20}[name] for name in found) <= 100 * MOST_IN_FLOAT


def test_measured_on_a_network(small_checkpoint: Path, small_images: Any) -> None:
    from rid_core.checkpoint import load_checkpoint
    from rid_core.quantization.grids import calibrate

    portraits, calibration = small_images
    defender, _ = load_checkpoint(small_checkpoint)
    grids = calibrate(defender, calibration)
    found = sensitivity(defender, grids, list(portraits))
    assert found.noise.keys() == grids.grids.keys()
    assert found.noise["stem.input"] < 1e-6  # 8-bit images are on the grid already
    assert 1e-7 < max(found.noise.values()) < 0.1
    order = float_order(found)
    assert len(set(order)) == len(order)
    assert set(order) <= set(found.products)
