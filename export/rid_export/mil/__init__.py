"""A reference interpreter for Core ML packages, so that they can be proved without a Mac.

``MilProgram.load(path)`` reads an ``.mlpackage`` that holds an ML program; ``predict`` runs it as
an app would, and ``run`` gives the bare tensors and shows every layer to an observer. Operations
that it does not know are refused, never guessed; so are damaged packages.

Reading a package needs coremltools (for its protobuf classes, on any system) and torch; importing
this package needs neither.
"""

from __future__ import annotations

from rid_export.mil.dtypes import MilError
from rid_export.mil.features import Feature
from rid_export.mil.program import MilProgram

__all__ = ["Feature", "MilError", "MilProgram"]
