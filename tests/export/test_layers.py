"""Per-layer errors, and layers kept in float until the figures are enough."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from rid_export.layers import (
    LayerError,
    Node,
    Notes,
    layer_errors,
    ranked,
    settle,
    shortfall,
    table,
    with_activations,
)

LEAST = {"delta_sqnr_db": 22.0}


def figures(db: float) -> dict[str, float]:
    return {"delta_sqnr_db": db}


def test_errors_are_compared_layer_by_layer() -> None:
    nodes = [Node("a", "Conv", "ta", ("image",)), Node("b", "Conv", "tb", ("ta",))]
    exact = {"ta": np.ones(100), "tb": np.ones(100), "image": np.ones(3)}
    wrong = {"ta": np.ones(100), "tb": np.full(100, 1.1), "image": np.ones(3)}
    rows = layer_errors(nodes, lambda _: exact, lambda _: wrong, [np.zeros(1)])
    assert [row.name for row in rows] == ["a", "b"]
    assert rows[1].sqnr_db == pytest.approx(20, abs=0.01)
    assert rows[0].sqnr_db == 200
    assert ranked(rows)[0].name == "b"
    assert table(rows).splitlines()[2].split() == ["b", "Conv", "20.0", "200.0"]


def test_tensors_that_are_gone_are_left_out() -> None:
    nodes = [Node("a", "Conv", "ta", ())]
    assert layer_errors(nodes, lambda _: {"ta": np.ones(1)}, lambda _: {}, [np.zeros(1)]) == []


def test_a_layer_ends_behind_its_own_relu() -> None:
    nodes = [
        Node("a", "Conv", "ta", ("x",)),
        Node("a/relu", "Relu", "tr", ("ta",)),
        Node("b", "Conv", "tb", ("tr",)),
        Node("sum", "Add", "ts", ("tb", "tr")),
        Node("b/relu", "Relu", "tq", ("tb",)),
    ]
    found = with_activations(nodes)
    assert [(n.name, n.tensor) for n in found[:2]] == [("a", "tr"), ("b", "tb")]
    assert found[0].bent
    assert not found[1].bent  # something else reads it before the ReLU


def test_enough_at_once() -> None:
    done = settle(lambda f: f, lambda f: figures(30), lambda f: [], LEAST)
    assert done.float_layers == ()
    assert done.before == done.after


def test_the_shortest_beginning_of_a_plan() -> None:
    built = []

    def build(layers: frozenset[str]) -> frozenset[str]:
        built.append(len(layers))
        return layers

    plan = [f"l{n}" for n in range(16)]
    done = settle(build, lambda f: figures(18 + len(f)), lambda f: [], LEAST, plan=lambda: plan)
    assert done.float_layers == ("l0", "l1", "l2", "l3", "l4")  # 22 and the margin
    assert done.before == figures(18)
    assert done.after == figures(23)
    assert len(built) <= 6


def test_a_plan_that_is_not_enough_is_taken_whole() -> None:
    plan = ["a", "b"]
    done = settle(lambda f: f, lambda f: figures(len(f)), lambda f: [], LEAST, plan=lambda: plan)
    assert done.float_layers == ("a", "b")
    assert shortfall(done.after, LEAST)


def test_without_a_plan_only_layers_that_help_stay_in_float() -> None:
    worth = {"a": 0.0, "b": 3.0, "c": 3.0}

    def judge(layers: frozenset[str]) -> Mapping[str, float]:
        return figures(18 + sum(worth[name] for name in layers))

    rows = [LayerError(name, "Conv", 20, 30, added) for added, name in enumerate("cba")]
    done = settle(lambda f: f, judge, lambda f: ranked(rows), LEAST)
    assert done.float_layers == ("b", "c")


def test_notes_survive_json() -> None:
    import dataclasses
    import json

    notes = Notes(("a",), figures(20), figures(23), (LayerError("a", "Conv", 1, 2, 0.5),))
    assert Notes.from_dict(json.loads(json.dumps(dataclasses.asdict(notes)))) == notes
