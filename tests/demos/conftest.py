"""The demos' checks fetch compilers and browsers, gigabytes of them: they run when asked to."""

from __future__ import annotations

import os

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("RID_DEMOS"):
        return
    reason = (
        "the demos were not checked: RID_DEMOS=1 (or `make demos`) does, with gigabytes of tools"
    )
    for item in items:
        if "demos" in item.path.parts:
            item.add_marker(pytest.mark.skip(reason=reason))
