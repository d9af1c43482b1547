"""From measurements to a report: Markdown, JSON, one HTML page, and a section for model cards.

Whatever a report says is a :class:`~rid_eval.report.content.Claim`, written from figures
of a measurement's JSON by the module of its kind; Markdown, page and card only arrange claims.
"""
