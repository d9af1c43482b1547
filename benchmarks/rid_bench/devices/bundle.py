"""A zip that measures itself elsewhere: artefacts, photos, reference and runner."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import io
import json
import zipfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from rid_bench.artefacts import Artefact
from rid_bench.portable.board import SCHEMA
from rid_bench.reference import Reference, find
from rid_core.artifact import payload_size
from rid_core.errors import RidError
from rid_core.files import replacing
from rid_export import parity

_PACKAGE = "rid_portable"
_ENTRY = '''"""Measure the networks of this bundle on this machine; see --help."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from rid_portable.board import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(HERE))
'''
_README = """Unpack this folder on the machine to be measured, then there:

    python3 run.py                       results.json; takes a minute or two
    python3 run.py --threads 1,2,4

Needed: Python 3.9 or later, numpy, and one runtime:

    python3 -m pip install numpy ai-edge-litert      for .tflite files
    python3 -m pip install numpy onnxruntime         for .onnx files

Bring results.json back; `rid-bench merge` and `rid-bench report` take it from there.
"""


def pack(
    artefacts: Sequence[Artefact], references: Sequence[Reference], target: str | Path
) -> list[str]:
    """Write the zip.

    Args:
        artefacts: TFLite and ONNX files.
        references: one per checkpoint that the artefacts were made from, with the same photos.
        target: of the zip.

    Returns:
        Names of what is inside.

    Raises:
        RidError: an artefact without a reference (its digest says which weights it has), of another
            size, or of a format that boards cannot run; the file cannot be written.
    """
    entries: dict[str, bytes] = {}
    photos = _photos(references, entries)
    listed = []
    for artefact in artefacts:
        about = artefact.metadata
        if about.format not in ("tflite", "onnx"):
            raise RidError(f"{artefact.path}: boards run .tflite and .onnx files")
        reference = find(artefact, references)
        for number, delta in enumerate(reference.deltas):
            entries[f"reference/{about.preset}-{number:03d}.npy"] = _npy(delta)
        file = f"artefacts/{artefact.path.name}"
        if file in entries:
            raise RidError(f"two artefacts are called {artefact.path.name}; rename one")
        entries[file] = artefact.path.read_bytes()
        bounds = parity.FIDELITY[about.precision]
        listed.append(
            {
                "file": file,
                "labels": artefact.labels() | {"size_bytes": payload_size(artefact.path)},
                "about": artefact.about(),
                "bounds": [dataclasses.asdict(bound) for bound in bounds],
                "reference": [
                    f"reference/{about.preset}-{n:03d}.npy" for n in range(len(reference.deltas))
                ],
            }
        )
    entries |= _runner()
    manifest = {
        "schema": SCHEMA,
        "artefacts": listed,
        "photos": photos,
        "statistics": [field.name for field in dataclasses.fields(parity.ErrorStatistics)],
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in entries.items()},
    }
    entries["bundle.json"] = json.dumps(manifest, indent=1).encode()
    entries["README.txt"] = _README.encode()
    with replacing(target) as fresh, zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(entries.items()):
            # A fixed date: equal contents make equal files.
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return sorted(entries)


def _photos(references: Sequence[Reference], entries: dict[str, bytes]) -> list[dict[str, Any]]:
    if not references:
        raise RidError("a bundle needs a reference; make one with: rid-bench reference")
    first = references[0]
    for other in references[1:]:
        if other.inputs != first.inputs:
            raise RidError(f"the references of {first.preset} and {other.preset} differ in photos")
    photos = []
    for number, (name, image) in enumerate(zip(first.names, first.images, strict=True)):
        file = f"inputs/{number:03d}.npy"
        entries[file] = _npy(image)
        photos.append({"name": name, "file": file})
    return photos


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _runner() -> dict[str, bytes]:
    """The portable part of this package, and the gate's statistics, from their own source."""
    folder = resources.files("rid_bench") / "portable"
    files = {
        f"{_PACKAGE}/{item.name}": item.read_bytes()
        for item in folder.iterdir()
        if item.name.endswith(".py")
    }
    files[f"{_PACKAGE}/parity.py"] = statistics_source().encode()
    files["run.py"] = _ENTRY.encode()
    return files


def statistics_source() -> str:
    """``rid_export.parity``'s statistics as a module that needs numpy alone."""
    parts = (
        '"""Statistics of the export gate, copied from rid_export.parity by the packer."""',
        "from __future__ import annotations",
        "from dataclasses import dataclass",
        "import numpy as np",
        f"SQNR_LIMIT = {parity.SQNR_LIMIT!r}",
        inspect.getsource(parity.ErrorStatistics),
        inspect.getsource(parity.compare),
    )
    return "\n\n".join(parts)
