"""The report: every sentence from figures, in Markdown, JSON, HTML and the model card."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from click.testing import CliRunner

from rid_core.checkpoint import (
    ModelCard,
    load_checkpoint,
    read_card,
    save_checkpoint,
    weights_digest,
)
from rid_core.defenders import create_defender
from rid_core.errors import RidError
from rid_core.report import Table
from rid_eval.cli import group
from rid_eval.comparison import DIGEST_DIGITS
from rid_eval.report import Evaluation, MeasurementSummary, card, read_evaluation, write_between
from rid_eval.report.content import BEGIN, END, KINDS
from rid_eval.results import as_json, read_result

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
MADE = {"rid": "0.1.0", "date": "2026-01-01", "command": "rid-eval <x> & co", "cpu": "x86_64"}
NAMES = [
    "shift.json",
    "look.json",
    "judges.json",
    "personalization.json",
    "robustness.json",
    "large.json",
]


def interval(value: float | None) -> dict[str, Any]:
    ends = (None, None) if value is None else (value - 0.05, value + 0.05)
    return {"value": value, "low": ends[0], "high": ends[1], "identities": 8}


def condition(fdfr: float, ism: float) -> dict[str, Any]:
    means = {"fdfr": fdfr, "ism_found": ism, "ism_zero": ism * (1 - fdfr), "recognised": 0.5,
             "jod": 9.73, "levels": 8}  # fmt: skip
    return {
        "attacks": 16,
        "means": {name: interval(value) for name, value in means.items()},
        "fall": {"zero": interval(0.3)},
        "distance": None,
    }


def personalization() -> dict[str, Any]:
    return {
        "schema": 1, "what": "personalization", "attack": "works",
        "gate": {"works": True, "attacks": 16, "above": 0.94, "clean": interval(0.55),
                 "untuned": interval(0.1), "margin": interval(0.45),
                 "reason": "samples are the person in 94% of 16 attacks"},
        "photos_to_person": interval(0.67),
        "settings": {"method": "dreambooth"}, "surrogate": "face-ldm", "preset": "face-ldm",
        "protections": {"mine": {"defender": "mine", "weights": "of-mine"},
                        "aspl": {"method": "aspl", "attacked": [
                            {"name": "face-ldm"},
                            {"name": "taesd", "distils": "the SD 1/2 autoencoder"}]},
                        "signs": {"look_of": {"defender": "mine"}}},
        "people": ["00", "01"], "levels": 8, "channel": "plain",
        "judge": {"name": "sface", "threshold": 0.384, "from": "own people"},
        "conditions": {
            "untuned": condition(0.0, 0.1), "clean": condition(0.02, 0.55),
            "mine": condition(0.3, 0.31), "aspl": condition(0.35, 0.28),
            "signs": condition(0.04, 0.5),
        },
        "ratios": [
            {"of": "mine", "to": "aspl", "zero": interval(0.87), "found": interval(0.8),
             "target": 0.8},
            {"of": "mine", "to": "signs", "zero": interval(None), "found": interval(3.1),
             "target": 6.0},
        ],
        "rows": [], "made": MADE,
    }  # fmt: skip


def cell(kept: float, floor: float) -> dict[str, Any]:
    return {"effect": kept / 100, "floor": floor / 100, "kept": kept, "low": kept - 3,
            "high": kept + 3, "floor_kept": floor, "above_floor": None}  # fmt: skip


def robustness() -> dict[str, Any]:
    steps = {
        "identity": ("channel", "nothing"), "jpeg75": ("channel", "JPEG 75"),
        "resize0.5": ("channel", "half"), "tv": ("purification", "total variation"),
        "median": ("purification", "median"), "jpeg75+tv": ("combined", "JPEG, then TV"),
    }  # fmt: skip
    kept = {"identity": 100, "jpeg75": 91, "resize0.5": 36, "tv": 42, "median": 70, "jpeg75+tv": 39}
    row = {name: cell(value, value / 5) for name, value in kept.items()}
    about = {"rms_levels": 6.6, "psnr": 31.6}
    return {
        "schema": 1, "what": "robustness", "levels": 8, "device": "cpu",
        "images": {"folder": "portraits", "pattern": "*", "count": 16, "size": 256},
        "protections": {
            "random": {"defender": False, "trained_on": [], **about},
            "pgd-40": {"defender": False, "trained_on": ["taef2"], **about},
            "mine": {"defender": True, "trained_on": ["taef2"], "weights": "of-mine", **about},
        },
        "steps": {name: {"kind": kind, "text": text} for name, (kind, text) in steps.items()},
        "matrix": {
            "cells": {name: {"taef2": row, "encoder-s8": row}
                      for name in ("random", "pgd-40", "mine")},
            "alone": {name: dict.fromkeys(steps, 0.1) for name in ("taef2", "encoder-s8")},
        },
        "made": MADE,
    }  # fmt: skip


def large() -> dict[str, Any]:
    def effect(kept: float) -> dict[str, float]:
        return {"effect": kept / 100, "floor": 0.1, "rms_levels": 5.0, "kept": kept,
                "low": kept - 2, "high": kept + 2}  # fmt: skip

    row = {"scale 512": effect(57), "native": effect(11), "after": effect(100)}
    return {
        "schema": 1, "what": "large photos", "defender": "mine", "levels": 8,
        "weights": "of-mine",
        "images": {"folder": "portraits", "pattern": "*", "count": 4, "enlarged": 4,
                   "size": [4032, 3024]},
        "views": {"512, bilinear": {}, "512, box": {"resampling": "box"}},
        "effects": {"taef2": {"512, bilinear": row, "512, box": row}}, "made": MADE,
    }  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "results"
    folder.mkdir()
    content = {name: json.loads((RESULTS / name).read_text()) for name in NAMES[:3]}
    content |= dict(zip(NAMES[3:], (personalization(), robustness(), large()), strict=True))
    for name, raw in content.items():
        (folder / name).write_text(json.dumps(raw))
    return [folder / name for name in reversed(NAMES)]


@pytest.fixture
def report(files: list[Path]) -> Evaluation:
    return read_evaluation(files)


def summary(raw: dict[str, Any], folder: Path) -> MeasurementSummary:
    """What a report says of one measurement."""
    (folder / "p.json").write_text(json.dumps(raw))
    return read_evaluation([folder / "p.json"]).summaries[0]


def numbers(value: Any) -> list[float]:
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, int | float):
        return [float(value)]
    if isinstance(value, dict):
        return [found for item in value.values() for found in numbers(item)]
    if isinstance(value, list):
        return [found for item in value for found in numbers(item)]
    return []


def test_sections_stand_in_one_order_and_nothing_is_absent(report: Evaluation) -> None:
    assert [one.source for one in report.summaries] == NAMES
    assert not any("Not measured" in line for line in report.limits)
    assert "mine" in report.defenders


def test_every_number_of_a_claim_is_in_the_json(report: Evaluation, files: list[Path]) -> None:
    """But for those in names of steps and multiples, each is a figure of its source, rounded."""
    raw = {path.name: path.read_text() for path in files}
    checked = 0
    for claim in report.findings:
        source = numbers(json.loads(raw[claim.source]))
        known = source + [100 * value for value in source]
        for name in re.findall(r'"([^"]+)"', raw[claim.source]):
            known += [float(n) for n in re.findall(r"\d+(?:\.\d+)?", name)]
        text = re.sub(r"[\d.]+ times what|\d+ channels|\d+ people|100 % is", "", claim.text)
        text = re.sub(r"JPEG 75|counts 0", "", text)
        for found in re.findall(r"(?<![\w.-])\d+(?:\.\d+)?", text.replace(",", "")):
            digits = len(found.partition(".")[2])
            assert any(abs(float(found) - value) <= 0.51 * 10**-digits for value in known), (
                claim.text, found)  # fmt: skip
            checked += 1
    assert checked > 40


def test_claims_say_where_it_was_not_trained_and_what_removes_it(report: Evaluation) -> None:
    mine = [finding for finding in report.findings if finding.defender == "mine"]
    by_topic = {topic: [finding.text for finding in mine if finding.topic == topic]
                for topic in ("effect", "unseen", "kept", "removed")}  # fmt: skip
    assert "encoder-s8, which mine was not trained against" in by_topic["unseen"][0]
    assert "pgd-40 made against taef2 reaches 1.00" in by_topic["unseen"][0]
    assert any("91 % [88, 94] after JPEG 75" in text for text in by_topic["kept"])
    assert any("57 % [55, 59]" in text and "full size 11 %" in text for text in by_topic["kept"])
    assert re.search(r"JPEG, then TV: 39 %.*total variation: 42 %.*median: 70 %",
                     by_topic["removed"][0])  # fmt: skip
    assert any("0.87 [0.82, 0.92] times the one under aspl" in t for t in by_topic["effect"])
    assert not any("under signs" in text for text in by_topic["effect"])  # it has no ratio


def test_a_broken_attack_claims_nothing(tmp_path: Path) -> None:
    raw = personalization() | {"attack": "broken"}
    raw["gate"] |= {"works": False, "reason": "samples look like nobody"}
    section = summary(raw, tmp_path)
    assert not section.findings
    assert "samples look like nobody" in section.warnings[0]


def test_no_fall_is_said_plainly_and_the_channel_is_named(tmp_path: Path) -> None:
    raw = personalization() | {"channel": "jpeg75"}
    raw["conditions"]["mine"] = condition(0.0, 0.56)
    raw["kept"] = {"mine": {"zero": interval(0.71), "found": interval(0.7)}}
    texts = [claim.text for claim in summary(raw, tmp_path).findings]
    assert "as much like the person as before" in texts[0]
    assert "after jpeg75" in texts[0]
    assert any("0.71 [0.66, 0.76] is left after jpeg75" in text for text in texts)


def test_the_look_and_what_slow_methods_attacked_are_said(tmp_path: Path) -> None:
    section = summary(personalization(), tmp_path)
    facts = dict(section.facts)
    assert facts["aspl"] == "attacked face-ldm, taesd (a distillation of the SD 1/2 autoencoder)"
    assert facts["look"] == "signs: scaled to the JOD of the photos under mine"
    assert {"JOD", "levels"} <= set(section.tables[0].columns)
    assert "JOD of the photos 9.73 [9.68, 9.78]" in section.findings[0].text


def test_what_was_not_measured_is_said(files: list[Path]) -> None:
    report = read_evaluation([path for path in files if path.name == "judges.json"])
    text = report.report().to_markdown()
    assert "Not measured here: personalization." in text
    assert "Not measured here: robustness." in text
    assert "Not measured here: judges." not in text


def test_markdown_and_json_hold_the_claims(report: Evaluation) -> None:
    text, found = report.report().to_markdown(), as_json(report.result())
    assert found["what"] == "report"
    assert len(found["claims"]) == len(report.findings)
    assert all(claim["text"] in text for claim in found["claims"])
    assert {source["what"] for source in found["sources"]} >= {"robustness", "large photos"}
    for line in text.splitlines():
        if line.startswith("| "):
            assert line.endswith(" |")
    json.dumps(found, allow_nan=False)


def heads(table: Table) -> list[str]:
    return [column.heading for column in table.heads]


class Reader(HTMLParser):
    """Checks nesting, and keeps what a page fetches."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.links += [v or "" for k, v in attributes if k in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_and_needs_nothing_else(report: Evaluation) -> None:
    picture = Path(__file__).resolve().parents[2] / "docs" / "images" / "rid-s.jpg"
    html = report.report([picture]).to_html()
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    assert all(link.startswith("data:") for link in reader.links)
    assert len(reader.links) == 1
    assert "prefers-color-scheme: dark" in html
    assert "<script" not in html
    assert "rid-eval <x> & co" in reader.text  # escaped in the source
    assert all(claim.text in reader.text for claim in report.findings)
    drawn = sum(len(section.plots) for section in report.summaries)
    assert html.count("<svg") == drawn > 4


def test_every_row_is_at_equal_look_and_an_encoder_says_what_it_distils() -> None:
    raw = json.loads((RESULTS / "shift.json").read_text())
    report = read_evaluation([RESULTS / "shift.json"])
    assert {claim.defender for claim in report.findings} == set(raw["weights"])
    section = report.summaries[0]
    (table,) = (table for table in section.tables if table.title == "Effect at equal look")
    rows = {row[0]: dict(zip(heads(table), row, strict=True)) for row in table.cells}
    assert float(rows["random"]["taesd, plain"]) == 1
    for step, text in (("plain", "plain"), ("jpeg75", "JPEG 75"), ("half", "0.5 x")):
        shifts = (raw["rows"][label]["shift_at_look"]["taesd"][step]
                  for label in ("rid-s", "random"))  # fmt: skip
        ratio = next(shifts) / next(shifts)
        assert float(rows["rid-s"][f"taesd, {text}"]) == pytest.approx(ratio, rel=0.05, abs=0.06)
    assert any("taesd, a distillation of the SD 1/2 autoencoder," in claim.text
               for claim in report.findings)  # fmt: skip


def test_the_look_of_every_protection_stands_in_the_report() -> None:
    raw = json.loads((RESULTS / "look.json").read_text())
    report = read_evaluation([RESULTS / "look.json"])
    (table,) = report.summaries[0].tables
    rows = {row[0]: dict(zip(heads(table), row, strict=True)) for row in table.cells}
    assert set(rows) == set(raw["rows"])
    assert rows["rid-s"]["JOD"] == f"{raw['rows']['rid-s']['mean']['jod']:.2f}"
    assert any("enlarged" in claim.text for claim in report.findings)


def test_a_card_gets_what_is_said_of_its_defender_alone(
    report: Evaluation, files: list[Path], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    path = tmp_path / "mine.safetensors"
    save_checkpoint(path, create_defender("rid-n"), ModelCard("rid-n", 8, figures={"training": 1}))
    before, _ = load_checkpoint(path)
    with pytest.raises(RidError, match="is of other weights; measure"):
        card.update_card(report, str(path))
    digest = weights_digest(before)[:DIGEST_DIGITS]
    for file in files:
        file.write_text(file.read_text().replace("of-mine", digest))
    report = read_evaluation(files)
    for _ in range(2):  # the second time it is replaced
        assert card.update_card(report, str(path)) == path
    found = read_card(path).figures
    assert found["training"] == 1
    section = found[card.KEY]
    assert "personalization" in section["What is protected"]
    assert section["What removes it"]
    assert not any("rid-s" in text for text in section["By how much"])
    assert any("not make it impossible" in line for line in section["Limits"])
    after, _ = load_checkpoint(path)
    state = after.state_dict()
    assert all(torch.equal(state[name], value) for name, value in before.state_dict().items())
    raw = json.loads(files[0].read_text())
    del raw["weights"]
    files[0].write_text(json.dumps(raw))
    with pytest.raises(RidError, match="does not say of which weights"):
        card.update_card(read_evaluation(files), str(path))
    with pytest.raises(RidError, match="no measurement is about 'other'"):
        card.card_section(report, "other")


def test_a_readme_gets_the_summary_between_its_marks(report: Evaluation, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_between(readme, report)
    text = readme.read_text()
    assert text.startswith(f"before\n{BEGIN}\n**By how much**")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text.split()
    once = text
    write_between(readme, report)
    assert readme.read_text() == once
    readme.write_text("no marks")
    with pytest.raises(RidError, match="put '<!-- rid-eval report -->'"):
        write_between(readme, report)


def test_the_command_writes_three_files_or_none(files: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "out"
    arguments = ["report", *map(str, files), "-o", str(output), "--title", "A <title>"]
    wrong = CliRunner().invoke(group, [*arguments, "--update-card", "rid-n2"])
    assert isinstance(wrong.exception, RidError)
    assert not output.exists()
    done = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    written = {"report.md", "report.json", "report.html", "figures"}
    assert {path.name for path in output.iterdir()} == written
    # Every plot of the Markdown is a file that stands alone, and every such file is shown.
    shown = re.findall(r"!\[.+\]\((figures/.+\.svg)\)", (output / "report.md").read_text())
    assert sorted(shown) == sorted(
        f"figures/{path.name}" for path in (output / "figures").iterdir()
    )
    assert len(shown) >= 4
    for file in shown:
        root = ElementTree.parse(output / file).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "<title>A &lt;title&gt;</title>" in (output / "report.html").read_text()
    assert (output / "report.md").read_text().startswith("# A &lt;title>")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw.update(what="weather"), "cannot show 'weather'"),
        (lambda raw: raw["matrix"]["cells"]["mine"].pop("taef2"), "figures are missing or damaged"),
        (lambda raw: raw.update(schema=9), "schema 9"),
        (lambda raw: raw.pop("schema"), "schema None"),
        (lambda raw: raw.pop("made"), "figures are missing or damaged"),
    ],
)
def test_damaged_measurements_are_one_line(damage: Any, message: str, tmp_path: Path) -> None:
    raw = robustness()
    damage(raw)
    path = tmp_path / "r.json"
    path.write_text(json.dumps(raw))
    with pytest.raises(RidError, match=message):
        read_evaluation([path])


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(RESULTS.glob("*.json")) if "what" in json.loads(path.read_text())],
    ids=lambda path: path.stem,
)
def test_what_is_committed_can_be_shown_and_is_written_as_it_was_read(path: Path) -> None:
    (section,) = read_evaluation([path]).summaries
    assert section.tables
    assert as_json(read_result(path, KINDS)) == json.loads(path.read_text())


def test_two_files_of_one_name_are_refused(files: list[Path], tmp_path: Path) -> None:
    other = tmp_path / files[0].name
    other.write_bytes(files[0].read_bytes())
    with pytest.raises(RidError, match="same file name"):
        read_evaluation([files[0], other])
    (tmp_path / "p.png").write_bytes(b"no picture")
    with pytest.raises(RidError, match="cannot be read as a picture"):
        read_evaluation(files).report([tmp_path / "p.png"])
