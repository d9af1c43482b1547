"""Reports: Markdown, JSON (see :mod:`rid_bench.results`) and one page of HTML."""
