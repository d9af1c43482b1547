"""A zip that measures itself elsewhere: artefacts, photos, reference and runner."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np

from rid_bench.artefacts import Artefact
from rid_bench.portable.board import Entry, Manifest
from rid_bench.portable.records import Bound
from rid_bench.reference import Reference, find
from rid_core.errors import RidError
from rid_core.files import replacing
from rid_export import parity

_PACKED = {
    "rid_core": ("_version", "artifact", "budget", "errors", "fidelity", "output"),
    "rid_core/image": ("containers",),
    "rid_core/runtimes": (),
    "rid_bench/portable": (),
}
"""Modules of ours that the runner needs, by folder; all of a folder's if none is named."""
_EMPTY = b'"""Part of a bundle: only what measures is here."""\n'
_ENTRY = '''"""Measure the networks of this bundle on this machine; see --help."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

if __name__ == "__main__":
    if sys.version_info < (3, 9):
        sys.exit("error: Python 3.9 or later is needed, this is " + sys.version.split()[0])
    try:
        import numpy  # noqa: F401
    except ImportError:
        sys.exit("error: numpy is not installed: pip install numpy")
    from rid_bench.portable.board import main

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
    contents: dict[str, bytes] = {}
    photos = _photos(references, contents)
    entries = []
    for artefact in artefacts:
        about = artefact.metadata
        if about.format not in ("tflite", "onnx"):
            raise RidError(f"{artefact.path}: boards run .tflite and .onnx files")
        deltas = {
            f"reference/{about.preset}-{number:03d}.npy": _npy(delta)
            for number, delta in enumerate(find(artefact, references).deltas)
        }
        file = f"artefacts/{artefact.path.name}"
        if file in contents:
            raise RidError(f"two artefacts are called {artefact.path.name}; rename one")
        contents |= deltas | {file: artefact.path.read_bytes()}
        bounds = tuple(Bound(**vars(bound)) for bound in parity.FIDELITY[about.precision])
        entries.append(Entry(file, artefact.labels(), bounds, tuple(deltas)))
    contents |= runner()
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    manifest = Manifest(tuple(entries), photos, digests)
    contents["bundle.json"] = json.dumps(dataclasses.asdict(manifest), indent=1).encode()
    contents["README.txt"] = _README.encode()
    with replacing(target) as fresh, zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(contents.items()):
            # A fixed date: equal contents make equal files.
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return sorted(contents)


def _photos(references: Sequence[Reference], contents: dict[str, bytes]) -> dict[str, str]:
    if not references:
        raise RidError("a bundle needs a reference; make one with: rid-bench reference")
    first = references[0]
    for other in references[1:]:
        if other.inputs != first.inputs:
            raise RidError(f"the references of {first.preset} and {other.preset} differ in photos")
    photos = {name: f"inputs/{number:03d}.npy" for number, name in enumerate(first.names)}
    contents |= {
        file: _npy(image) for file, image in zip(photos.values(), first.images, strict=True)
    }
    return photos


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def runner() -> dict[str, bytes]:
    """What runs there: the runtimes and the portable part of this package, as they are here."""
    files = {"run.py": _ENTRY.encode()}
    for place, modules in _PACKED.items():
        package, *folders = place.split("/")
        folder: Traversable = resources.files(package)
        files[f"{package}/__init__.py"] = _EMPTY
        for name in folders:
            folder = folder / name
        for item in folder.iterdir():
            name = item.name.removesuffix(".py")
            if item.name.endswith(".py") and (name in modules or not modules or name == "__init__"):
                files.setdefault(f"{place}/{item.name}", item.read_bytes())
    return files
