"""What happens to a protected photo before somebody trains on it: channels, purifications, chains.

A channel is what platforms do to every photo; a purification is what somebody does on purpose to
be rid of a perturbation. Both are steps on an image batch, and a chain of them is written with
plus signs: ``jpeg75+median``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from rid_core import channel
from rid_core.channel import Step, round_to_levels
from rid_core.errors import RidError, did_you_mean
from rid_eval import filters

CHANNEL, PURIFICATION, COMBINED = "channel", "purification", "combined"
IDENTITY = "identity"


@dataclass(frozen=True)
class Link:
    """One step.

    Attributes:
        name: in tables and on the command line.
        kind: :data:`CHANNEL` or :data:`PURIFICATION`.
        text: what it does, for people.
        apply: does it; the same to a clean and to a protected image.
    """

    name: str
    kind: str
    text: str
    apply: Step


@dataclass(frozen=True)
class Chain:
    """Steps one after the other, on a photo that was saved with 8 bits.

    Attributes:
        links: in order; none is the photo as the defender computed it, before any rounding.
    """

    links: tuple[Link, ...]

    @property
    def name(self) -> str:
        """The names of the links, joined by plus signs."""
        return "+".join(link.name for link in self.links) or IDENTITY

    @property
    def kind(self) -> str:
        """Of a single link its own, of several :data:`COMBINED`."""
        kinds = {link.kind for link in self.links}
        return COMBINED if len(self.links) > 1 else kinds.pop() if kinds else CHANNEL

    @property
    def text(self) -> str:
        """What it does, for people."""
        return ", then ".join(link.text for link in self.links) or "nothing, not even 8 bits"

    def states(self, image: Tensor) -> list[Tensor]:
        """The image on its way, [B, 3, H, W] each: before the first link and after every link."""
        if not self.links:
            return [image]
        found = [round_to_levels(image)]
        for link in self.links:
            found.append(round_to_levels(link.apply(found[-1]).clamp(0, 1)))
        return found


def _channels() -> list[Link]:
    steps: list[tuple[str, str, Step]] = [
        ("round8", "8-bit rounding", lambda image: image),
        *_coded("jpeg", "JPEG (libjpeg, 4:2:0), quality", (95, 85, 75, 50)),
        ("webp80", "WebP (libwebp), quality 80", lambda image: channel.real_webp(image, 80)),
        ("resize0.5", "scaled to half and back",
         lambda image: channel.resize_and_back(image, 0.5)),
        ("resize0.75", "scaled to three quarters and back",
         lambda image: channel.resize_and_back(image, 0.75)),
        ("resize2", "scaled to the double and back",
         lambda image: channel.resize_and_back(image, 2)),
        ("crop10", "a tenth of height and width cropped, scaled back",
         lambda image: channel.crop_and_zoom(image, 0.9)),
        ("blur1", "Gaussian blur, sigma 1 pixel", lambda image: channel.blur(image, 1.0)),
        ("noise4", "Gaussian noise, sigma 4 levels", lambda image: channel.grain(image, 4.0)),
        ("gamma1.2", "brightness curve, exponent 1.2",
         lambda image: channel.gamma(image, 1.2)),
        ("messenger", "a messenger: 1,600 pixels along the long side, JPEG 75, scaled back",
         channel.messenger),
    ]  # fmt: skip
    return [Link(name, CHANNEL, text, step) for name, text, step in steps]


def _coded(name: str, text: str, qualities: Sequence[int]) -> list[tuple[str, str, Step]]:
    def step(quality: int) -> Step:
        return lambda image: channel.real_jpeg(image, quality)

    return [(f"{name}{quality}", f"{text} {quality}", step(quality)) for quality in qualities]


def _purifications() -> list[Link]:
    steps: list[tuple[str, str, Step]] = [
        ("median", "median of 3 x 3 pixels", filters.median),
        ("bilateral", "bilateral filter, 2 pixels and 0.1 of the colour range",
         filters.bilateral),
        ("nlm", "non-local means for noise of 6 levels", filters.non_local_means),
        ("tv", "total variation (Chambolle), weight 0.03", filters.total_variation),
    ]  # fmt: skip
    return [Link(name, PURIFICATION, text, step) for name, text, step in steps]


CHANNELS = {link.name: link for link in _channels()}
PURIFICATIONS = {link.name: link for link in _purifications()}
"""Those that need no model; :mod:`rid_eval.purifiers` has the others."""


def select(names: Sequence[str], known: Mapping[str, Link], kind: str) -> list[Link]:
    """Links by name: all of ``known`` if no name is given, none of them for ``none``.

    Raises:
        RidError: an unknown name; the nearest is named.
    """
    if not names:
        return list(known.values())
    return [] if list(names) == ["none"] else [_find(name, known, kind) for name in names]


def parse_chain(text: str, known: Mapping[str, Link]) -> Chain:
    """A chain written as ``jpeg75+median``.

    Raises:
        RidError: an unknown name; the nearest is named.
    """
    return Chain(tuple(_find(name.strip(), known, "step") for name in text.split("+")))


def _find(name: str, known: Mapping[str, Link], kind: str) -> Link:
    if name in known:
        return known[name]
    raise RidError(f"no {kind} is called {name!r}; {did_you_mean(name, known)}")
