"""Models that are fetched: by URL and SHA-256, or from a repository on the Hugging Face hub.

They lie in a cache folder (``RID_CACHE``, by default ``rid`` in the user's cache folder) under
their SHA-256, written beside and renamed, and are used from there without a network.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path, PurePosixPath

from rid_core.errors import RidError, did_you_mean
from rid_core.files import replacing, write_bytes

_SECONDS = 30
_PIECE = 1 << 20
_HUB = re.compile(
    r"hf:(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?(/(?P<file>[\w.-]+(/[\w.-]+)*))?"
)


def cache_folder() -> Path:
    """Where fetched models are kept; it need not exist yet."""
    given = os.environ.get("RID_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "rid").expanduser()


def is_address(text: str) -> bool:
    """Whether :func:`fetch_address` is meant, and not a file's path."""
    return text.startswith(("hf:", "http://", "https://"))


def fetch_address(address: str) -> Path:
    """Fetch what an address names, or find it in the cache.

    Args:
        address: ``https://host/rid-s.onnx#sha256=…``, or ``hf:organization/repository``, perhaps
            followed by ``@revision`` and ``/file``.

    Raises:
        RidError: see :func:`fetch`; an URL without a SHA-256, or a repository that
            ``rid-export publish`` did not write.
    """
    if address.startswith("hf:"):
        return _fetch_from_hub(address)
    url, _, digest = address.partition("#sha256=")
    if not digest:
        raise RidError(f"{address}: add its SHA-256 to the URL: #sha256=…")
    return fetch(url, digest.lower())


def fetch(url: str, sha256: str) -> Path:
    """Fetch a file whose SHA-256 is known, or find it in the cache.

    Raises:
        RidError: no SHA-256, a server that cannot be reached or has no such file, a file with
            another SHA-256 (nothing of it is kept), or a cache that cannot be written.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise RidError(f"{url}: a SHA-256 is 64 hexadecimal digits, not {sha256!r:.80}")
    name = PurePosixPath(url.partition("?")[0]).name or "model"
    target = cache_folder() / sha256 / name
    if target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == sha256:
        return target
    digest = hashlib.sha256()
    with replacing(target) as fresh:
        with fresh.open("wb") as handle:
            for piece in _pieces(url):
                digest.update(piece)
                handle.write(piece)
        if digest.hexdigest() != sha256:
            raise RidError(
                f"{url}: its SHA-256 is {digest.hexdigest()}, not {sha256}; nothing was kept"
            )
    return target


def _fetch_from_hub(reference: str) -> Path:
    match = _HUB.fullmatch(reference)
    if match is None:
        raise RidError(f"{reference}: a model on the hub is hf:organization/repository[/file]")
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    revision = match["revision"] or "main"
    base = f"{endpoint}/{match['repo']}/resolve/{revision}"
    kept = cache_folder() / "hub" / match["repo"] / revision / "config.json"
    try:
        text = b"".join(_pieces(f"{base}/config.json"))
    except RidError:
        if not kept.is_file():
            raise
        text = kept.read_bytes()  # the server cannot be reached: what it said last
    try:
        config = json.loads(text)
        files = {str(name): str(entry["sha256"]) for name, entry in config["files"].items()}
        name = match["file"] or str(config["default"])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise RidError(
            f"{reference}: its config.json lists no models; publish them with: rid-export publish"
        ) from None
    if name not in files:
        raise RidError(f"{reference}: no model of that name; {did_you_mean(name, files)}")
    write_bytes(kept, text)
    return fetch(f"{base}/{name}", files[name])


def _pieces(url: str) -> Iterator[bytes]:
    """What a server sends.

    Raises:
        RidError: it cannot be reached, or has no such file.
    """
    # Imported here because it takes as long as all the rest of a start.
    from urllib.error import HTTPError
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=_SECONDS) as answer:
            while piece := answer.read(_PIECE):
                yield piece
    except HTTPError as error:
        raise RidError(f"{url}: the server says {error.code} {error.reason}") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise RidError(f"{url}: cannot be reached ({reason})") from None
