"""The operations, by family. Importing this package registers them all.

Semantics follow the public documentation of coremltools' MIL operations (``ops/defs``), checked op
by op against torch in ``tests/export/test_mil_ops.py``.
"""

from __future__ import annotations

from rid_export.mil.ops import (  # noqa: F401
    activation,
    compression,
    convolution,
    elementwise,
    linear,
    normalization,
    reduction,
    resize,
    shape,
    shuffle,
)
