"""The workflows and forms in .github: valid, restricted, and about things that exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from repository import make_targets, missing_paths

ROOT = Path(__file__).resolve().parents[1]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted(
    file for file in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if file.name != "config.yml"
)


def read(file: Path) -> dict[str, Any]:
    """A YAML file; the key ``on``, which YAML 1.1 takes for true, is called ``on`` again."""
    document = yaml.safe_load(file.read_text("utf-8"))
    assert isinstance(document, dict)
    return {("on" if key is True else str(key)): value for key, value in document.items()}


def faults(workflow: dict[str, Any]) -> list[str]:
    """What a workflow must not do, and what it names that is not there."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    found = []
    if workflow.get("permissions") != {"contents": "read"}:
        found.append("permissions")
    if "group" not in workflow.get("concurrency", {}):
        found.append("concurrency")
    for filters in (workflow["on"] or {}).values():
        for path in (filters or {}).get("paths", []) if isinstance(filters, dict) else []:
            if not (ROOT / path.removesuffix("/**")).exists():
                found.append(path)
    for name, job in workflow["jobs"].items():
        if "timeout-minutes" not in job:
            found.append(f"{name}: no limit of time")
        for needed in (
            [job.get("needs", [])] if isinstance(job.get("needs"), str) else job.get("needs", [])
        ):
            if needed not in workflow["jobs"]:
                found.append(f"{name}: needs {needed}")
        for step in job["steps"]:
            uses, run, given = step.get("uses"), step.get("run", ""), step.get("with", {})
            if uses is not None and not re.fullmatch(r"[\w-]+(?:/[\w-]+)+@v\d+", uses):
                found.append(uses)
            if "${{" in run:
                found.append(f"{name}: an expression in a shell line; give it by env")
            commands = f"{run}\n{given.get('script', '')}"
            found += missing_paths(commands)
            found += set(re.findall(r"\bmake ([a-z-]+)", commands)) - make_targets()
            found += (
                set(re.findall(r"\brid-(?:export|eval|bench|train|protect)\b", commands))
                - scripts.keys()
            )
            where = step.get("working-directory") or job.get("defaults", {}).get("run", {}).get(
                "working-directory", "."
            )
            cached = given.get("cache-dependency-path", "").split()
            found += [path for path in [where, *cached] if not (ROOT / path).exists()]
    return found


def test_all_that_the_docs_promise_is_there() -> None:
    names = {file.name for file in WORKFLOWS}
    assert names == {"ci.yml", "macos.yml", "arm.yml", "android.yml", "release.yml"}
    page = (ROOT / "docs" / "devices.md").read_text("utf-8")
    assert all(f"`{name}`" in page for name in names)
    assert "have not run yet" in page


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_workflow_is_restricted_and_names_what_exists(file: Path) -> None:
    assert faults(read(file)) == []


def test_a_fault_in_a_workflow_is_found() -> None:
    steps: list[dict[str, Any]] = [
        {"uses": "actions/checkout@main"},
        {"run": "make nothing && tests/nothing.sh", "working-directory": "nowhere"},
        {"run": "echo ${{ github.event.issue.title }}"},
        {"uses": "actions/setup-python@v6", "with": {"cache-dependency-path": "lost.txt"}},
    ]
    workflow = {
        "on": {"push": {"paths": ["gone/**"]}},
        "jobs": {"a": {"steps": steps, "needs": "b"}},
    }
    assert set(faults(workflow)) == {
        "permissions", "concurrency", "gone/**", "a: no limit of time", "a: needs b",
        "actions/checkout@main", "nothing", "tests/nothing.sh", "nowhere",
        "a: an expression in a shell line; give it by env", "lost.txt",
    }  # fmt: skip


@pytest.mark.parametrize("file", FORMS, ids=lambda file: file.stem)
def test_a_form_is_complete(file: Path) -> None:
    form = read(file)
    assert {"name", "description", "body"} <= form.keys()
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields)
    assert any(field.get("validations", {}).get("required") for field in fields)
    assert missing_paths(file.read_text("utf-8")) == []


def test_dependabot_watches_folders_that_hold_something() -> None:
    wanted = {"github-actions": ".github/workflows", "pip": "pyproject.toml",
              "npm": "package.json", "gradle": "build.gradle.kts"}  # fmt: skip
    for update in read(GITHUB / "dependabot.yml")["updates"]:
        folder = ROOT / update["directory"].strip("/")
        assert (folder / wanted[update["package-ecosystem"]]).exists(), update["directory"]
