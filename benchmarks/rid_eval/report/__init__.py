"""From measurements to a report: Markdown, JSON, one HTML page, and a section for model cards.

Whatever a report says is a :class:`~rid_eval.report.content.MeasuredClaim`, written from figures
of a measurement by the module of its kind; :mod:`rid_core.report` makes pages of it.
"""

from rid_eval.report import large_photos as large_photos  # registers itself, as all of these
from rid_eval.report import personalization as personalization
from rid_eval.report import robustness as robustness
from rid_eval.report import visibility as visibility
from rid_eval.report.content import (
    Evaluation,
    MeasuredClaim,
    MeasurementSummary,
    print_tables,
    read_evaluation,
    summarize,
    write_between,
)

__all__ = ["Evaluation", "MeasuredClaim", "MeasurementSummary", "print_tables", "read_evaluation",
           "summarize", "write_between"]  # fmt: skip
