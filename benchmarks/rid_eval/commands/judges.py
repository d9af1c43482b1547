"""``rid-eval judges``: how well the judges tell people apart."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from rid_core.cli.common import CONTEXT
from rid_core.errors import MissingExtraError

_EPILOG = """\b
Examples:
  rid-eval judges --people ../shared/data/people
  rid-eval judges --people people/ --judge sface --judge dlib --json judges.json
"""


@click.command("judges", context_settings=CONTEXT, epilog=_EPILOG)
@click.option("--people", required=True, type=click.Path(path_type=Path),
              help="Folder with a folder of photos per person.")  # fmt: skip
@click.option("--judge", "names", multiple=True, default=("sface",), show_default=True,
              help="sface or dlib; repeatable.")  # fmt: skip
@click.option("--limit", type=click.IntRange(2), help="At most so many people.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def judges(
    people: Path, names: tuple[str, ...], limit: int | None, json_path: Path | None, quiet: bool
) -> None:
    """Check face detection and recognition on pairs of the same and of different people.

    Prints the share of same-person comparisons above a threshold (TPR) and that of different-person
    comparisons (FPR): at the authors' threshold, and at the one that 1 % of the latter exceed. Of
    photos with photos, and of photos with the mean of a person, as identity scores are computed.
    """
    try:
        from tqdm.auto import tqdm

        from rid_eval.judges import load_judge
        from rid_eval.people import list_people, load_people
        from rid_eval.results import result, write_result
        from rid_eval.verification import photo_pairs, photos_to_people, verify
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "a package", "train") from None

    loaded = [load_judge(name) for name in names]
    folders = list_people(people, limit)
    rows = {}
    for judge in loaded:
        with tqdm(total=len(folders), unit="person", disable=quiet) as bar:
            found = load_people(people, judge, limit, bar.update)
        vectors = {person.name: [p.embedding for p in person.portraits] for person in found}
        pairs, means = photo_pairs(vectors), photos_to_people(vectors)
        checks = {"photos, 1 % false positives": verify(*pairs),
                  "mean of a person, 1 % false positives": verify(*means)}  # fmt: skip
        if judge.recognizer.published is not None:
            checks["photos, the authors' threshold"] = verify(*pairs, judge.recognizer.published)
        left_out = {f"{person.name}/{photo}": reason
                    for person in found for photo, reason in person.left_out.items()}  # fmt: skip
        used = sum(len(person.portraits) for person in found)
        click.echo(f"{judge.name}: {len(found)} people, {used} photos with one face, "
                   f"{len(left_out)} left out")  # fmt: skip
        for label, check in checks.items():
            click.echo(
                f"  {label + ':':40} threshold {check.threshold:.3f}  TPR {check.tpr:.3f}  "
                f"FPR {check.fpr:.4f}  ({check.same} same, mean {check.mean_same:.3f}; "
                f"{check.different} different, mean {check.mean_different:.3f})"
            )
        rows[judge.name] = {
            "photos": used,
            "left_out": left_out,
            "checks": {label: dataclasses.asdict(check) for label, check in checks.items()},
        }
    if json_path is not None:
        content = {"people": len(folders), "judges": rows}
        write_result(json_path, result("judges", **content))
