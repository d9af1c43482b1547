"""Thousands of damaged photos: each is protected, or refused in one line with nothing left over."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from corpus import situations
from mutate import mutant
from standin import Checkerboard

from rid_core.errors import RidError
from rid_core.image import io as photo
from rid_core.protection import protect_file

MUTANTS = {"jpg": 3000, "png": 3000, "webp": 1500, "heic": 1500, "avif": 500, "tif": 500}
"""How many of each: 10,000 together."""


@pytest.mark.slow
@pytest.mark.full
@pytest.mark.parametrize("ending", MUTANTS)
def test_every_mutant_is_protected_or_refused_in_one_line(tmp_path, monkeypatch, ending):
    # A header that claims a large photo is refused; to decode those would only take long.
    monkeypatch.setattr(photo, "MAX_PIXELS", 100_000)
    seeds = [each.make() for each in situations() if each.file.endswith(f".{ending}")]
    seeds = [seed for seed in seeds if 100 < len(seed) < 60_000]
    assert len(seeds) >= 4
    source = tmp_path / f"photo.{ending}"
    target = tmp_path / "out" / "photo.png"
    outcomes: Counter[str] = Counter()
    for number in range(MUTANTS[ending]):
        chance = random.Random(f"{ending} {number}")
        data = mutant(chance.choice(seeds), seeds, chance)
        source.write_bytes(data)
        try:
            outcome = protect_file(source, target, Checkerboard())
        except RidError as error:
            text = str(error)
            assert text.startswith(f"{source}: "), (number, text)
            assert "\n" not in text, (number, text)
            assert not target.exists(), number
            outcomes["refused"] += 1
        except BaseException:
            kept = Path(tmp_path, f"mutant-{number}.{ending}")
            kept.write_bytes(data)
            print(f"mutant {number} is kept as {kept}")
            raise
        else:
            assert 0 < outcome.max_levels <= Checkerboard.levels
            assert target.is_file(), number
            target.unlink()
            outcomes["protected"] += 1
        assert source.read_bytes() == data
    print(f"{ending}: {dict(outcomes)}")
    # A mutator that breaks everything, or nothing, tests nothing.
    assert min(outcomes["protected"], outcomes["refused"]) > MUTANTS[ending] // 100
    assert [path.name for path in target.parent.iterdir()] == []


def test_the_mutator_gives_the_same_again():
    data = bytes(range(256)) * 4
    first, second = ([mutant(data, [data], random.Random(n)) for n in range(50)] for _ in range(2))
    assert first == second
    assert len(set(first)) == 50
    lengths = np.array([len(each) for each in first])
    assert lengths.min() < len(data) < lengths.max()
