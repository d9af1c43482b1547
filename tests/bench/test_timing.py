from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rid_bench.portable.records import Measured
from rid_bench.portable.timing import percentile, summarize


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_percentiles_are_numpys(share: float, count: int) -> None:
    values = sorted(np.random.default_rng(count).random(count))
    assert percentile(values, share) == pytest.approx(np.percentile(values, share * 100))


def test_summary_of_samples_in_any_order() -> None:
    found = summarize([0.3, 0.1, 0.2, 0.5, 0.4])
    assert (found.count, found.minimum, found.median) == (5, 0.1, 0.3)
    assert found.p90 == pytest.approx(0.46)
    assert found.mean == pytest.approx(0.3)
    assert found.spread == pytest.approx((0.46 - 0.14) / 0.3)
    assert found.scaled(2).median == 0.6
    assert found.scaled(2).spread == found.spread


def test_no_samples_is_an_error() -> None:
    with pytest.raises(ValueError, match="no samples"):
        summarize([])


def test_doubts(cell: Callable[..., Measured]) -> None:
    assert cell(spread=0.1, cpu_share=0.9).doubt is None
    assert cell(spread=0.1, cpu_share=None).doubt is None
    assert "43%" in cell(spread=0.43, cpu_share=0.9).doubt
    assert "31% of its cores" in cell(spread=0.01, cpu_share=0.31).doubt
