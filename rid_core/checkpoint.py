"""Checkpoints: safetensors with a model card inside. Nothing in them is ever executed."""

from __future__ import annotations

import copy
import dataclasses
import errno
import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rid_core._version import __version__
from rid_core.budget import Budget
from rid_core.errors import MissingExtraError, RidError
from rid_core.files import replacing

if TYPE_CHECKING:
    from rid_core.defenders import Defender

SCHEMA = 1
RELEASE = ""
"""URL of the folder that holds the files of :data:`RELEASED`; empty until one is published."""
RELEASED = {
    "rid-b.safetensors": "7dbe7ae3c82293ca9f7fa4893f4245edef6a91b774fa8a0e05b928d3cd39f96e",
}
"""Checkpoints that are not in the package, with their SHA-256."""
_KEY = "rid"


@dataclass(frozen=True)
class ModelCard:
    """What a checkpoint says of itself; JSON in the safetensors header under the key ``rid``.

    Attributes:
        preset: name in the registry of defenders.
        levels: bound the defender was trained at, in 8-bit levels.
        config: fields of the preset's config that differ from the preset, if any.
        surrogates: frozen models it was trained against.
        data: what it was trained on, in words.
        command: command line that made it.
        figures: measured figures, by name; each says in its name or value what it was measured on.
        licence: SPDX identifier of the weights.
        notes: anything else a user should know.
        created: date, ISO 8601.
        version: of this package when it was written.
        schema: version of this card.
    """

    preset: str
    levels: int
    config: dict[str, Any] = field(default_factory=dict)
    surrogates: list[str] = field(default_factory=list)
    data: str = ""
    command: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    licence: str = "Apache-2.0"
    notes: str = ""
    created: str = ""
    version: str = __version__
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        Budget(self.levels)

    def to_json(self) -> str:
        """Compact JSON with sorted keys.

        Raises:
            RidError: a figure or setting is NaN or infinite, which JSON cannot hold.
        """
        try:
            return json.dumps(dataclasses.asdict(self), sort_keys=True, allow_nan=False)
        except ValueError as error:
            raise RidError(f"not saved: the model card is no valid JSON ({error})") from None

    @classmethod
    def from_json(cls, text: str, source: str) -> ModelCard:
        """Parse a card; ``source`` names the file in errors.

        Raises:
            RidError: no JSON object, another schema, or fields missing.
        """
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RidError(f"{source}: its model card is not JSON ({error})") from None
        if not isinstance(raw, dict) or "schema" not in raw:
            raise RidError(f"{source}: its model card is no RID model card")
        if raw["schema"] != SCHEMA:
            raise RidError(
                f"{source}: its model card has schema {raw['schema']!r:.20}, this version reads "
                f"{SCHEMA}; install the rid-defender that wrote it "
                f"({raw.get('version', 'version not stated')!s:.20})"
            )
        sample = dataclasses.asdict(cls(preset="", levels=1))
        fields = {key: value for key, value in raw.items() if key in sample}
        for key, value in fields.items():
            if type(value) is not type(sample[key]):
                raise RidError(f"{source}: its model card is damaged ({key} is {value!r:.40})")
        try:
            return cls(**fields)
        except TypeError as error:
            raise RidError(f"{source}: its model card is incomplete ({error})") from None
        except RidError as error:
            raise RidError(f"{source}: its model card is damaged ({error})") from None


def _stored(defender: Defender) -> Defender:
    """``defender`` with its channels in the order that checkpoints hold."""
    if defender.layout == "nhwc":
        return defender
    defender = copy.deepcopy(defender)
    defender.lower("nhwc")
    return defender


def weights_digest(defender: Defender) -> str:
    """SHA-256 over names, shapes and float32 bytes of all weights, in order of name.

    A defender lowered for a runtime has the digest of the checkpoint it came from.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(_stored(defender).state_dict().items()):
        array = tensor.detach().cpu().float().contiguous().numpy()
        digest.update(f"{name}{list(array.shape)}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def save_checkpoint(path: str | Path, defender: Defender, card: ModelCard) -> None:
    """Write ``defender`` and its card to ``path``, as a whole or not at all.

    Raises:
        RidError: the weights hold NaN or infinity, the card describes another network, or the file
            cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    from rid_core.defenders import configure

    if configure(card.preset, **card.config) != defender.config:
        raise RidError(
            f"not saved: the card says {card.preset} with {card.config}, but the network is "
            f"{defender.config}"
        )
    state = {n: t.detach().cpu().contiguous() for n, t in _stored(defender).state_dict().items()}
    for name, tensor in state.items():
        if not bool(tensor.isfinite().all()):
            raise RidError(f"not saved: the weights of {name} hold NaN or infinity")
    # One key only: the library writes several in no fixed order, and equal files would differ.
    metadata = {_KEY: card.to_json()}
    with replacing(path) as fresh:
        try:
            save_file(state, fresh, metadata=metadata)
        except SafetensorError as error:
            # The library wraps what the system said: unwrap it, so that a full disk reads as one.
            number = re.search(r"os error (\d+)", str(error))
            code = int(number[1]) if number else errno.EIO
            raise OSError(code, os.strerror(code)) from error


def read_card(path: str | Path) -> ModelCard:
    """Read the model card of a checkpoint without its weights, and without torch.

    Raises:
        RidError: missing, truncated or foreign file.
    """
    path = Path(path)
    header = _read_header(path)
    metadata = header.get("__metadata__")
    text = metadata.get(_KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise RidError(f"{path}: a safetensors file, but no RID checkpoint (it has no model card)")
    return ModelCard.from_json(text, str(path))


def load_checkpoint(path: str | Path) -> tuple[Defender, ModelCard]:
    """Read a checkpoint; the defender is in evaluation mode, float32, on the CPU.

    Raises:
        RidError: missing, truncated, foreign or damaged file, or weights that do not fit the preset
            the card names.
        MissingExtraError: torch is not installed.
    """
    try:
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "torch") from None

    from rid_core.defenders import create_defender

    dtypes = (torch.float32, torch.float16, torch.bfloat16)
    path = Path(path)
    card = read_card(path)
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise RidError(f"{path}: damaged checkpoint ({error}); fetch it again") from None
    try:
        # On the meta device, where nothing is allocated: a card may ask for any size.
        with torch.device("meta"):
            expected = create_defender(card.preset, **card.config).state_dict()
    except RidError as error:
        raise RidError(f"{path}: {error}{_made_by(card)}") from None
    for name, tensor in expected.items():
        if name not in state:
            raise RidError(
                f"{path}: not the weights of {card.preset}: {name} is missing{_made_by(card)}"
            )
        found = state[name]
        if found.shape != tensor.shape or found.dtype not in dtypes:
            raise RidError(
                f"{path}: not the weights of {card.preset}: {name} is {found.dtype} "
                f"{list(found.shape)} instead of float32 {list(tensor.shape)}{_made_by(card)}"
            )
        if not bool(found.isfinite().all()):
            raise RidError(f"{path}: the weights of {name} hold NaN or infinity")
    extra = sorted(set(state) - set(expected))
    if extra:
        raise RidError(
            f"{path}: not the weights of {card.preset}: {extra[0]} is unknown{_made_by(card)}"
        )
    defender = create_defender(card.preset, **card.config)
    defender.load_state_dict(state)
    return defender.eval().requires_grad_(False), card


def _made_by(card: ModelCard) -> str:
    """What to do with a checkpoint whose network this version builds otherwise, or not at all."""
    return f"; rid-defender {card.version} made it: use that version, or train it again"


def bundled_checkpoint(preset: str = "rid-s") -> Path:
    """Path of a trained defender of ours: in the package, beside the checkout, or fetched.

    Raises:
        RidError: there is none for that preset, or it cannot be fetched.
    """
    folder = _assets()
    path = folder / f"{preset}.safetensors"
    if path.is_file():
        return path
    if path.name in RELEASED:
        return _released(path.name)
    names = sorted({p.name for p in folder.glob("*.safetensors")} | RELEASED.keys())
    raise RidError(
        f"no trained {preset!r} comes with the package (there are: "
        f"{', '.join(name.removesuffix('.safetensors') for name in names)}); "
        "give a checkpoint file instead"
    )


def find_checkpoint(name_or_path: str | Path) -> Path:
    """A trained defender of ours by name, or a file by path.

    Raises:
        RidError: neither.
    """
    path = Path(name_or_path)
    if path.suffix or path.is_file() or len(path.parts) > 1:
        if not path.is_file():
            raise RidError(f"{path}: no such checkpoint")
        return path
    return bundled_checkpoint(str(name_or_path))


def find_model(reference: str | Path) -> Path:
    """What is best run of what was named: a file, one that is fetched, or one of ours.

    Args:
        reference: a path; an address (:func:`rid_core.download.fetch_address`); or the name of a
            defender of ours. ``rid-s`` is its ONNX file, which needs no torch,
            ``rid-s.safetensors`` its checkpoint.

    Raises:
        RidError: no such file or defender, or it cannot be fetched.
    """
    from rid_core.download import fetch_address, is_address

    name = os.fspath(reference)
    if is_address(name):
        return fetch_address(name)
    path = Path(name)
    if path.is_file() or (path.suffix and path.exists()):
        return path
    if name and path.name == name:
        for bundled in (_assets() / f"{name}.onnx", _assets() / name):
            if bundled.is_file():
                return bundled
        if name in RELEASED:
            return _released(name)
    return find_checkpoint(reference)


def _assets() -> Path:
    return Path(str(resources.files("rid_core"))) / "assets"


def _released(name: str) -> Path:
    """A checkpoint that is too large for the package: beside the checkout, or fetched."""
    path = Path(str(resources.files("rid_core"))).parent / "weights" / name
    if path.is_file():
        return path
    address = os.environ.get("RID_RELEASE", RELEASE)
    if not address:
        raise RidError(
            f"{name} is too large for the package, and no release to fetch it from is published "
            "yet; give the file in weights/ of a checkout, or set RID_RELEASE to an URL that has it"
        )
    from rid_core.download import fetch

    return fetch(f"{address.rstrip('/')}/{name}", RELEASED[name])


def _read_header(path: Path) -> dict[str, Any]:
    """Parse the JSON header of a safetensors file (8-byte little-endian length, then JSON)."""
    try:
        with path.open("rb") as handle:
            size = path.stat().st_size
            prefix = handle.read(8)
            length = int.from_bytes(prefix, "little")
            if len(prefix) < 8 or not 2 <= length <= min(size - 8, 100_000_000):
                raise RidError(f"{path}: not a safetensors file, or a truncated one")
            header = json.loads(handle.read(length))
    except OSError as error:
        raise RidError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise RidError(f"{path}: not a safetensors file") from None
    try:
        ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
        whole = 8 + length + max(ends, default=0) == size
    except (AttributeError, TypeError, KeyError, IndexError):
        raise RidError(f"{path}: not a safetensors file") from None
    if not whole:
        raise RidError(f"{path}: a truncated or damaged safetensors file; fetch it again")
    return cast(dict[str, Any], header)
