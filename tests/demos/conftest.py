"""The demos' checks fetch compilers and browsers, gigabytes of them: they run when asked to.

RID_DEMOS names what is checked: ``1`` (or ``all``), or any of PARTS with commas between, such as
``RID_DEMOS=web,android-core``. What only reads sources runs always.
"""

from __future__ import annotations

import os

import pytest

PARTS = frozenset({"android", "android-core", "ios", "web"})
"""``android-core`` is the part of ``android`` that needs Kotlin and JUnit only."""


def chosen() -> frozenset[str]:
    """The parts that RID_DEMOS names."""
    words = {word.strip() for word in os.environ.get("RID_DEMOS", "").split(",")} - {"", "0"}
    if words & {"1", "all"}:
        return PARTS
    if not words <= PARTS:
        unknown = ", ".join(sorted(words - PARTS))
        known = ", ".join(sorted(PARTS))
        raise pytest.UsageError(f"RID_DEMOS: {unknown} is not known; 1, all, or of: {known}")
    return frozenset(words)


@pytest.fixture(scope="session")
def parts() -> frozenset[str]:
    """What this run checks."""
    return chosen()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    parts = chosen()
    for item in items:
        if "demos" not in item.path.parts or item.get_closest_marker("slow") is None:
            continue
        demo = item.path.stem.removeprefix("test_")
        if parts & {demo, f"{demo}-core"}:
            continue
        reason = (
            f"the {demo} demo was not checked: RID_DEMOS={demo} (or `make demos`, for all) does, "
            "with gigabytes of tools"
        )
        item.add_marker(pytest.mark.skip(reason=reason))
