"""The documentation: short pages, names of what exists, examples that run, figures in one place."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from repository import make_targets, missing_paths

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
RESULTS = DOCS / "report" / "report.md"
PAGES = sorted(page for page in DOCS.rglob("*.md") if page != RESULTS)
OUTSIDE = [
    ROOT / name
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CODE_OF_CONDUCT.md",
        "tests/golden/README.md",
    )
]
WORDS = 1200
"""At most, of a page."""

_FENCE = re.compile(r"^```\w*\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]\[]*\]\((?P<target>[^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_EXAMPLE = re.compile(r"^<!-- run -->\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FIGURE = re.compile(
    r"(?<![\w.])\d+(?:[.,]\d+)?\s?"
    r"(?:ms|s|seconds?|minutes|hours|fps|JOD|MB/s|GFLOPS|times as far|times as much|times faster)\b"
    r"|\[\d\.\d+, \d\.\d+\]"
    r"|\bJOD (?:of|is|was) \d+\.\d+"
    r"|\b(?:ISM|FDFR|SSIMULACRA2|FLIP|PSNR|LPIPS) (?:of|is|was) \d"
    r"|\b(?:peak of|took|takes|needs) (?:about )?\d+(?:\.\d+)? (?:MB|GB)\b"
)
"""What only a measurement can say."""
SETTINGS = frozenset({"JOD of 9.8"})
"""Choices that look like figures: the look at which effects are compared."""


def figures(text: str) -> list[str]:
    """What reads like a measured figure, outside of code."""
    return [found for found in _FIGURE.findall(_FENCE.sub("", text)) if found not in SETTINGS]


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as the site and a forge make them alike."""
    titles = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", title).strip().lower() for title in titles)
    return {re.sub(r"[-\s]+", "-", title) for title in plain}


@functools.cache
def known_tests() -> frozenset[str]:
    """Names of all tests, and of their files."""
    files = [*(ROOT / "tests").rglob("test_*.py")]
    named = (re.findall(r"def (test_\w+)", file.read_text("utf-8")) for file in files)
    return frozenset({file.stem for file in files}.union(*named))


def broken(page: Path) -> list[str]:
    """Links that lead nowhere; paths, tests and make targets in code that are not there."""
    text = page.read_text("utf-8")
    prose = _FENCE.sub("", text)
    faults = []
    for target in _LINK.findall(prose):
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        if re.match(r"\w+:", target):
            continue
        if not there.exists() or (anchor and anchor not in anchors(there)):
            faults.append(target)
    for code in (*_CODE.findall(prose), *_FENCE.findall(text)):
        faults += missing_paths(code)
        faults += set(re.findall(r"\btest_\w+", code)) - known_tests()
        faults += set(re.findall(r"^make ([a-z-]+)", code, re.MULTILINE)) - make_targets()
    return faults


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_a_page_is_short_and_holds_no_figure(page: Path) -> None:
    text = page.read_text("utf-8")
    assert len(text.split()) <= WORDS
    assert figures(text) == [], "figures belong into docs/results/*.json and the page of results"


@pytest.mark.parametrize(
    "page", [*PAGES, RESULTS, *OUTSIDE], ids=lambda p: str(p.relative_to(ROOT))
)
def test_nothing_is_named_that_is_not_there(page: Path) -> None:
    assert broken(page) == []


@pytest.mark.parametrize(
    "fault",
    ["a photo takes 0.4 s", "a JOD of 9.85", "0.35 [0.29, 0.40]", "4.7 times as far",
     "SSIMULACRA2 is 72", "a peak of 916 MB", "in 12 minutes"],
)  # fmt: skip
def test_a_figure_is_found(fault: str) -> None:
    assert figures(fault) != []


@pytest.mark.parametrize(
    "fine", ["a JOD of 9.8", "512 pixels", "```\n3.2 s\n```\n", "8 of 255", "22 dB"]
)
def test_a_setting_is_no_figure(fine: str) -> None:
    assert figures(fine) == []


def test_what_is_not_there_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page\n\n[a](nothing.md) [b](#nowhere) [c](#a-page) [d](https://example.org/x)\n"
        "`rid_core/cover.py` `rid_core/budget.py` `test_nothing_of_this` `test_docs`\n"
        "```\nmake everything\nmake docs\nrid-eval look --json docs/results/new.json\n```\n"
    )
    assert broken(page) == [
        "nothing.md",
        "#nowhere",
        "rid_core/cover.py",
        "test_nothing_of_this",
        "everything",
    ]


EXAMPLES = [
    pytest.param(body, id=f"{page.relative_to(DOCS)}-{number}")
    for page in PAGES
    for number, body in enumerate(_EXAMPLE.findall(page.read_text("utf-8")))
]


@pytest.mark.parametrize("body", EXAMPLES)
def test_an_example_runs(body: str, tmp_path: Path) -> None:
    """In a process of its own, in a folder with nothing but a photo."""
    portrait = next((ROOT / "rid_core" / "assets" / "portraits").glob("*.jpg"))
    shutil.copy(portrait, tmp_path / "photo.jpg")
    command = [sys.executable, "-c", body]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.iterdir())) > 1, "the example wrote nothing"


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 2


def hooks() -> Any:
    """The site's own module; it is no part of a package."""
    found = importlib.util.spec_from_file_location("hooks", DOCS / "hooks.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize("target", ["../large-photos.md#limits", "https://example.org/a", "#mind"])
def test_a_link_within_the_site_stays(target: str) -> None:
    assert hooks().rewritten(f"[x]({target})", "integrate/ios.md", None) == f"[x]({target})"


def test_a_link_that_leaves_the_site_leads_to_the_repository() -> None:
    rewritten = hooks().rewritten
    text, page, repository = (
        "[x](../../ios_demo/README.md)",
        "integrate/ios.md",
        "https://f.test/r/",
    )
    there = "https://f.test/r/blob/HEAD/ios_demo/README.md"
    assert rewritten(text, page, repository) == f"[x]({there})"
    assert rewritten(text, page, None) == "x (`ios_demo/README.md`)"
    assert rewritten("[x](../CONTRIBUTING.md#a)", "faq.md", None) == "[x](contributing.md#a)"
    assert rewritten("[x](docs/faq.md)", "security.md", None) == "[x](faq.md)"


@pytest.mark.slow
def test_the_page_of_results_is_what_the_command_makes_of_the_files(tmp_path: Path) -> None:
    """Whoever changes a measurement or the report runs the command of docs/evaluation.md again."""
    from click.testing import CliRunner

    from rid_eval.cli import group

    page = (DOCS / "evaluation.md").read_text("utf-8")
    (command,) = re.findall(r"^rid-eval (report .* -o) \.\./report$", page, re.MULTILINE)
    words = [
        str(DOCS / "results" / word) if word.endswith(".json") else word for word in command.split()
    ]
    assert {Path(word).name for word in words[1:-1]} == {
        file.name for file in (DOCS / "results").glob("*.json")
    }
    done = CliRunner().invoke(group, [*words, str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "report.md").read_text("utf-8") == RESULTS.read_text("utf-8")


@pytest.mark.slow
def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--site-dir",
        tmp_path,
    ]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in [*PAGES, RESULTS]:
        name = page.relative_to(DOCS).with_suffix("")
        html = tmp_path / (name.parent if name.name == "index" else name) / "index.html"
        loaded = re.findall(
            r'<(?:script|link|img)[^>]+(?:src|href)="?(https?://[^">\s]+)', html.read_text("utf-8")
        )
        assert [
            url for url in loaded if not url.startswith(("https://arxiv", "https://example"))
        ] == []


def test_the_citation_is_of_this_version_and_names_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    source = (ROOT / "rid_core" / "_version.py").read_text("utf-8")
    assert f'"{citation["version"]}"' in source
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert citation["license"] == project["license"]
    (paper,) = citation["references"]
    assert paper["url"].endswith("2412.09844")
    assert all(author.keys() == {"given-names", "family-names"} for author in paper["authors"])
