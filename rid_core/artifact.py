"""What an exported file says of itself, read and checked without any converter or runtime.

``rid-export`` writes one JSON document under the key ``RID_METADATA`` into every file: ONNX keeps
it in ``metadata_props``, TFLite in a metadata buffer, Core ML in the model description's
user-defined metadata. It is padded with spaces to a block of fixed length, so that it can be filled
in place once the file has been measured, and everything outside the block has one digest: a file
whose network was changed after export is told from a sound one by :func:`check_digest` alone.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rid_core._version import __version__
from rid_core.budget import Budget
from rid_core.errors import RidError
from rid_core.image.containers import (
    Block,
    DamagedError,
    blank_digest,
    find_block,
    identify,
    part_files,
)

SCHEMA = 1
FORMATS = {
    "tflite": "TFLite",
    "onnx": "ONNX",
    "coreml": "Core ML",
    "executorch": "ExecuTorch",
}
_LIMIT = 1 << 20


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of an exported network.

    Attributes:
        name: of the tensor or feature.
        dtype: ``float32``, ``float16``, ``uint8``, ``int8``, or ``image`` (Core ML's
            image type, 8 bits per colour).
        shape: with the batch of 1, in the layout of the file.
        low: smallest value it can hold, after decoding.
        high: largest.
        scale: of an integer tensor: ``value = (stored - zero_point) * scale``; null for floats.
        zero_point: of an integer tensor.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    low: float
    high: float
    scale: float | None = None
    zero_point: int = 0

    def encode(self, value: np.ndarray) -> np.ndarray:
        """Real values to what the tensor stores: floats as they are, integers rounded."""
        if self.scale is None:
            return np.ascontiguousarray(value, dtype=np.dtype(self.dtype))
        kind = np.iinfo(self.dtype)
        stored = np.rint(value / self.scale) + self.zero_point
        return np.ascontiguousarray(stored.clip(kind.min, kind.max), dtype=self.dtype)

    def decode(self, stored: np.ndarray) -> np.ndarray:
        """What the tensor stores to float32."""
        if self.scale is None:
            return stored.astype(np.float32)
        return (stored.astype(np.float32) - self.zero_point) * np.float32(self.scale)


@dataclass(frozen=True)
class Check:
    """One measured figure and the bound it was held against.

    Attributes:
        name: of the figure, such as ``delta_sqnr_db``.
        value: measured.
        bound: threshold.
        sense: ``min`` if the value must be at least the bound, ``max`` if at most.
    """

    name: str
    value: float
    bound: float
    sense: str

    @property
    def passed(self) -> bool:
        """Whether the value keeps the bound; NaN never does."""
        return self.value >= self.bound if self.sense == "min" else self.value <= self.bound


@dataclass(frozen=True)
class Parity:
    """How a file compared with the float32 network it was made from, before it got its name.

    Attributes:
        runtime: what ran the file, with version.
        portraits: number of portraits; every figure is the worst over them.
        checks: figures with their thresholds.
    """

    runtime: str
    portraits: int
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class ArtifactMetadata:
    """The metadata document.

    Attributes:
        format: key of :data:`FORMATS`.
        preset: name of the defender.
        levels: bound of the perturbation in 8-bit levels; eps is ``levels / 255`` on [0, 1].
        resolution: height and width the file was made and measured for, in pixels.
        stride: multiple of pixels that the network works in.
        dynamic: whether other multiples of ``stride`` are accepted as well.
        layout: order of axes of the tensors, ``nhwc`` or ``nchw``.
        precision: ``fp32``, ``fp16``, ``w8``, ``pal8``, ``w8a16`` or ``int8``.
        inputs: what it takes.
        outputs: what it gives.
        weights: SHA-256 of the checkpoint's weights (:func:`rid_core.checkpoint.weights_digest`).
        licence: SPDX identifier of the weights.
        created: date and time, ISO 8601, UTC.
        colour: order of colours.
        network: SHA-256 of the file outside the metadata block; empty until it is sealed.
        calibration: digest of the calibration images; null if nothing was calibrated.
        unfit: why the file must not be shipped, such as a calibration on noise; null if it may.
        float_layers: layers kept in float, because the file would not have passed without, or
            because 8 bits would not make them faster.
        tools: versions of what made it.
        parity: one entry per runtime that checked it.
        sizes: height and width in pixels at which that was; none in files of earlier versions.
        version: of this package.
        schema: version of this document.
    """

    format: str
    preset: str
    levels: int
    resolution: int
    stride: int
    layout: str
    precision: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    weights: str
    licence: str
    created: str
    dynamic: bool = False
    colour: str = "RGB"
    network: str = ""
    calibration: str | None = None
    unfit: str | None = None
    float_layers: tuple[str, ...] = ()
    tools: dict[str, str] = dataclasses.field(default_factory=dict)
    parity: tuple[Parity, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    version: str = __version__
    schema: int = SCHEMA

    @property
    def budget(self) -> Budget:
        """The bound, as an object that applies it."""
        return Budget(self.levels)

    @property
    def fixed_size(self) -> int | None:
        """The only height and width accepted, or None."""
        return None if self.dynamic else self.resolution

    def to_json(self) -> str:
        """Compact JSON, keys sorted; no NaN or infinity, which other parsers refuse."""
        document = dataclasses.asdict(self)
        return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str, source: str) -> ArtifactMetadata:
        """Parse the document; ``source`` names the file in errors.

        Raises:
            RidError: no JSON object, an unknown schema, or fields missing or of a wrong kind.
        """
        try:
            raw = json.loads(text)
        except ValueError as error:
            raise RidError(f"{source}: its RID metadata is not JSON ({error})") from None
        if not isinstance(raw, dict) or "schema" not in raw:
            raise RidError(f"{source}: its RID metadata has no schema version")
        if raw["schema"] != SCHEMA:
            raise RidError(
                f"{source}: its RID metadata has schema {raw['schema']}, this version reads "
                f"{SCHEMA}; install the rid-defender that wrote it "
                f"({raw.get('version', 'version not stated')}) or export it again"
            )
        try:
            metadata = _parse(cls, raw)
        except (TypeError, KeyError, ValueError) as error:
            raise RidError(f"{source}: its RID metadata is incomplete ({error})") from None
        Budget(metadata.levels)
        if metadata.format not in FORMATS or metadata.layout not in ("nhwc", "nchw"):
            raise RidError(f"{source}: its RID metadata names an unknown format or layout")
        if metadata.resolution < 1 or metadata.stride < 1 or metadata.resolution % metadata.stride:
            raise RidError(f"{source}: its RID metadata contradicts itself (resolution, stride)")
        return metadata

    def tensor(self, name: str) -> TensorInfo:
        """The input or output of that name.

        Raises:
            RidError: there is none.
        """
        for info in (*self.inputs, *self.outputs):
            if info.name == name:
                return info
        names = ", ".join(info.name for info in (*self.inputs, *self.outputs))
        raise RidError(f"the exported network has no {name!r}; it has {names}")


_KINDS = dict.fromkeys(("levels", "resolution", "stride"), int) | dict.fromkeys(
    ("format", "preset", "layout", "precision", "weights", "network", "licence", "created"), str
)


def _parse(cls: type[ArtifactMetadata], raw: dict[str, Any]) -> ArtifactMetadata:
    """Build the nested dataclasses; unknown keys are ignored, so later versions may add some."""

    def build(kind: Any, value: dict[str, Any]) -> Any:
        known = {field.name for field in dataclasses.fields(kind)}
        return kind(**{key: item for key, item in value.items() if key in known})

    def tensor(value: dict[str, Any]) -> Any:
        return build(TensorInfo, value | {"shape": tuple(int(n) for n in value["shape"])})

    def parity(value: dict[str, Any]) -> Any:
        checks = tuple(build(Check, check) for check in value["checks"])
        return build(Parity, value | {"checks": checks})

    for key, kind in _KINDS.items():
        if not isinstance(raw[key], kind):
            raise TypeError(f"{key} is {raw[key]!r}")
    nested = {
        "inputs": tuple(map(tensor, raw["inputs"])),
        "outputs": tuple(map(tensor, raw["outputs"])),
        "parity": tuple(map(parity, raw["parity"])),
        "float_layers": tuple(map(str, raw.get("float_layers", ()))),
        "sizes": tuple((int(height), int(width)) for height, width in raw.get("sizes", ())),
    }
    metadata: ArtifactMetadata = build(cls, raw | nested)
    return metadata


def artifact_format(path: str | Path) -> str:
    """Tell what a file is by its content: a key of :data:`FORMATS`, or ``torch`` (a checkpoint).

    Raises:
        RidError: missing, unreadable, or none of these.
    """
    path = Path(path)
    try:
        kind = identify(path)
    except OSError as error:
        raise RidError(f"{path}: cannot be read ({error.strerror or error})") from None
    except DamagedError as error:
        raise RidError(f"{path}: {error}") from None
    if kind is None:
        raise RidError(f"{path}: no exported defender (neither TFLite, ONNX nor Core ML)")
    return kind


def _locate(path: Path) -> tuple[str, Block]:
    kind = artifact_format(path)
    if kind == "torch":
        raise RidError(f"{path}: a checkpoint, not an exported file; export it with rid-export")
    try:
        block = find_block(path, kind)
    except OSError as error:
        raise RidError(f"{path}: cannot be read ({error.strerror or error})") from None
    except DamagedError as error:
        raise RidError(f"{path}: a damaged {FORMATS[kind]} file ({error})") from None
    if block is None:
        raise RidError(
            f"{path}: a {FORMATS[kind]} file, but not one of ours (it carries no RID metadata); "
            "export with rid-export"
        )
    if block.length > _LIMIT:
        raise RidError(
            f"{path}: its RID metadata is {block.length} bytes long, which ours never is"
        )
    return kind, block


def read_metadata(path: str | Path) -> ArtifactMetadata:
    """Read the metadata of an exported file. Weights are not loaded.

    Raises:
        RidError: missing, damaged or foreign file, or metadata of another schema.
    """
    path = Path(path)
    kind, block = _locate(path)
    with block.file.open("rb") as handle:
        handle.seek(block.offset)
        data = handle.read(block.length)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise RidError(f"{path}: its RID metadata is damaged (not UTF-8)") from None
    metadata = ArtifactMetadata.from_json(text, str(path))
    if metadata.format != kind:
        raise RidError(
            f"{path}: a {FORMATS[kind]} file with the metadata of a {FORMATS[metadata.format]} file"
        )
    return metadata


def network_digest(path: str | Path) -> str:
    """SHA-256 of everything in the file, or in the package, except the metadata block.

    Raises:
        RidError: missing, damaged or foreign file.
    """
    path = Path(path)
    kind, block = _locate(path)
    return blank_digest(path, part_files(path, kind), block)


def check_digest(path: str | Path, metadata: ArtifactMetadata) -> None:
    """Refuse a file whose network is not the one that was measured at export.

    Raises:
        RidError: the digest differs, or the file was never sealed.
    """
    if not metadata.network:
        raise RidError(f"{path}: its export was never finished; export it again")
    if network_digest(path) != metadata.network:
        raise RidError(
            f"{path}: damaged, or changed after its export (the digest of the network is not the "
            "one in its metadata); export it again"
        )


def rewrite_metadata(path: str | Path, metadata: ArtifactMetadata) -> None:
    """Overwrite the metadata block in place.

    Raises:
        RidError: the document is longer than the block, or the file is not ours.
    """
    path = Path(path)
    _, block = _locate(path)
    data = metadata.to_json().encode()
    if len(data) > block.length:
        raise RidError(f"{path}: metadata of {len(data)} bytes in a block of {block.length}")
    with block.file.open("r+b") as handle:
        handle.seek(block.offset)
        handle.write(data.ljust(block.length))


def padded(metadata: ArtifactMetadata) -> str:
    """The document as it is first embedded, with room for the parity figures (ASCII).

    Every runtime's entry adds some 700 bytes; the block holds six of them.
    """
    text = metadata.to_json()
    return text.ljust(-(-(len(text) + 4096) // 1024) * 1024)


def seal(path: str | Path, metadata: ArtifactMetadata) -> ArtifactMetadata:
    """Write ``metadata`` into the file together with the digest of its network."""
    sealed = dataclasses.replace(metadata, network=network_digest(path))
    rewrite_metadata(path, sealed)
    return sealed


def payload_size(path: str | Path) -> int:
    """Bytes of the file, or of all files of a package."""
    path = Path(path)
    if path.is_dir():
        return sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
    return path.stat().st_size
