"""``rid-export publish``: the repository of a defender on the Hugging Face hub.

A repository holds the checkpoint, its exported files, ``README.md``, which is the hub's model card,
and ``config.json`` with the SHA-256 of each file, which ``rid_core.load("hf:…")`` reads.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rid_core.cli.common import CONTEXT
from rid_core.errors import MissingExtraError, RidError
from rid_core.files import replacing

if TYPE_CHECKING:
    from rid_core.artifact import ArtifactMetadata
    from rid_core.checkpoint import ModelCard

_SUFFIXES = (".onnx", ".tflite", ".mlpackage")
_SQNR = "delta_sqnr_db"


def lay_out(files: Path, checkpoint: str, out: Path, repo: str) -> list[str]:
    """Write the folder that becomes the repository, as a whole or not at all.

    Args:
        files: folder of exported files; what is no model is left out.
        checkpoint: what they were exported from.
        out: folder to write; it replaces one that is there.
        repo: name of the repository, for the example in the card.

    Returns:
        Names of what is in it, sorted.

    Raises:
        RidError: no exported files, one that was changed after its export, is unfit or of other
            weights, or the folder cannot be written.
    """
    from rid_core.checkpoint import find_checkpoint, load_checkpoint, weights_digest

    source = find_checkpoint(checkpoint)
    defender, card = load_checkpoint(source)
    digest = weights_digest(defender)
    found = sorted(path for path in files.glob("*") if path.suffix in _SUFFIXES)
    models = {path: _checked(path, source, digest) for path in found}
    if not models:
        raise RidError(f"{files}: no exported files in it; make them with: rid-export -o {files}")
    with replacing(out) as fresh:
        fresh.mkdir()
        for path in (source, *models):
            copy: Any = shutil.copytree if path.is_dir() else shutil.copyfile
            copy(path, fresh / path.name)
        # What is loaded where no file is named comes first: ONNX, in float32.
        single = sorted(
            (path for path in models if path.is_file()),
            key=lambda path: (models[path].format != "onnx", models[path].precision != "fp32"),
        )
        single.append(source)
        config = {
            "model_type": "rid-defender",
            "preset": card.preset,
            "levels": card.levels,
            "default": single[0].name,
            "files": {
                path.name: {
                    "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                    "bytes": path.stat().st_size,
                }
                for path in single
            },
        }
        (fresh / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        (fresh / "README.md").write_text(_readme(card, models, digest, repo))
        return sorted(path.name for path in fresh.iterdir())


def _checked(path: Path, source: Path, digest: str) -> ArtifactMetadata:
    from rid_core.artifact import check_digest, read_metadata

    metadata = read_metadata(path)
    check_digest(path, metadata)
    if metadata.unfit:
        raise RidError(f"{path}: not fit to be published ({metadata.unfit}); export it again")
    if metadata.weights != digest:
        raise RidError(f"{path}: exported from other weights than {source}; export it again")
    return metadata


def _readme(card: ModelCard, models: dict[Path, ArtifactMetadata], digest: str, repo: str) -> str:
    """The model card: front matter that the hub reads (JSON is YAML), then words."""
    from rid_core.artifact import FORMATS, payload_size

    sqnr: dict[str, float] = {}
    for path, metadata in models.items():
        figures = [check.value for each in metadata.parity for check in each.checks
                   if check.name == _SQNR]  # fmt: skip
        if figures:
            sqnr[path.name] = min(figures)
    result = {
        "task": {"type": "image-to-image"},
        "dataset": {"name": "portraits of rid-export's gate", "type": "portraits"},
        "metrics": [
            {"type": "sqnr", "name": f"SQNR of the perturbation in dB, {name}", "value": value}
            for name, value in sqnr.items()
        ],
    }
    front = {
        "license": card.licence.lower(),
        "library_name": "rid-defender",
        "pipeline_tag": "image-to-image",
        "tags": ["privacy", "adversarial", *sorted({each.format for each in models.values()})],
        "model-index": [{"name": card.preset, "results": [result]}],
    }
    rows = [
        f"| `{path.name}` | {FORMATS[metadata.format]} | {metadata.precision} | "
        f"{payload_size(path) / 1e6:.2f} | {sqnr.get(path.name, float('nan')):.1f} |"
        for path, metadata in models.items()
    ]
    return "\n".join(
        (
            "---",
            *(f"{key}: {json.dumps(value)}" for key, value in front.items()),
            "---",
            "",
            f"# {card.preset}",
            "",
            "A network that adds a bounded perturbation to a portrait in one pass, so that a "
            "diffusion model personalized on protected photos reproduces the person less well. It "
            "raises the cost of cloning, covers only photos published from now on, and "
            "purification can remove it.",
            "",
            "```python",
            "import rid_core as rid",
            f'rid.load("hf:{repo}").protect("photo.jpg")',
            "```",
            "",
            f"No colour value changes by more than {card.levels} of 255 levels.",
            "",
            "| file | format | precision | MB | SQNR of the perturbation against float32, dB |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"- trained on: {card.data or 'not stated'}",
            f"- trained against: {', '.join(card.surrogates) or 'not stated'}",
            f"- command: `{card.command or 'not stated'}`",
            f"- notes: {card.notes or 'none'}",
            f"- weights: SHA-256 {digest}",
            f"- licence of the weights: {card.licence}",
            "",
            "## Measured",
            "",
            "```json",
            json.dumps(card.figures, indent=2, sort_keys=True),
            "```",
            "",
        )
    )


@click.command(context_settings=CONTEXT)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--checkpoint", default="rid-s", show_default=True, metavar="FILE|PRESET",
              help="What the files were exported from.")  # fmt: skip
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("build/hub"),
              show_default=True, help="Folder to write; it becomes the repository.")  # fmt: skip
@click.option("--repo", metavar="ORG/NAME", help="Repository to upload to; it is made if need be.")
@click.option("--dry-run", is_flag=True, help="Only write the folder.")
def publish(folder: Path, checkpoint: str, out: Path, repo: str | None, dry_run: bool) -> int:
    """Publish the exported files of FOLDER with their checkpoint and a model card on the hub.

    Uploading needs huggingface_hub and its login.
    """
    if not dry_run and repo is None:
        raise RidError("say where to with --repo ORG/NAME, or look at it first with --dry-run")
    for name in lay_out(folder, checkpoint, out, repo or "ORG/NAME"):
        click.echo(f"{out / name}")
    if dry_run:
        return 0
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError:
        raise MissingExtraError("huggingface_hub", "train") from None
    try:
        HfApi().create_repo(repo, exist_ok=True)
        HfApi().upload_folder(repo_id=repo, folder_path=out)
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise RidError(f"{repo}: not uploaded ({reason}); {out} is complete") from None
    click.echo(f"hf:{repo}")
    return 0
