"""Image-wise methods by name. To add one, decorate a function; its keywords are its settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rid_core.assignments import Setting
from rid_core.attacks.pgd import Attack
from rid_core.attacks.streams import RandomStreams
from rid_core.budget import Budget
from rid_core.errors import RidError, did_you_mean
from rid_core.surrogates import Ensemble, Surrogate, has_denoiser

Method = Callable[..., Tensor]
"""``method(attack, **settings)`` -> unit perturbation like the photos."""

_METHODS: dict[str, Method] = {}
_DIFFUSION: set[str] = set()


def method(name: str, *, diffusion: bool = False) -> Callable[[Method], Method]:
    """Register the decorated function; ``diffusion`` if encoders alone are no use to it."""

    def register(function: Method) -> Method:
        _METHODS[name] = function
        if diffusion:
            _DIFFUSION.add(name)
        return function

    return register


def list_methods() -> list[str]:
    """Names that :func:`get_method` takes, sorted."""
    return sorted(_METHODS)


def get_method(name: str) -> Method:
    """Look a method up.

    Raises:
        RidError: there is none of that name; the nearest is named.
    """
    if name not in _METHODS:
        raise RidError(f"no method is called {name!r}; {did_you_mean(name, list_methods())}")
    return _METHODS[name]


def settings_of(name: str, given: Mapping[str, Any] | None = None) -> dict[str, Setting]:
    """All settings of a method, the defaults and over them those ``given``.

    Raises:
        RidError: an unknown method or setting (the nearest is named), or another type of value.
    """
    parameters = inspect.signature(get_method(name)).parameters.values()
    settings = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    for key, value in (given or {}).items():
        if key not in settings:
            hint = did_you_mean(key, sorted(settings))
            raise RidError(f"method {name} has no setting {key!r}; {hint}")
        default = settings[key]
        number = isinstance(default, float) and type(value) is int
        if type(value) is not type(default) and not number and default is not None:
            kind = type(default).__name__
            raise RidError(f"method {name}: {key} must be of type {kind}, not {value!r}")
        if type(value) in (int, float) and value < 0:
            raise RidError(f"method {name}: {key} must not be negative")
        settings[key] = float(value) if number else value
    return settings


def method_settings(
    names: Sequence[str],
    given: Mapping[str, Any],
    presets: Mapping[str, Mapping[str, Setting]] | None = None,
) -> dict[str, dict[str, Setting]]:
    """All settings of several methods, by name.

    Args:
        names: of the methods.
        given: ``METHOD.KEY`` -> value, over the presets.
        presets: settings by method, over the methods' defaults.

    Raises:
        RidError: an unknown method or setting, or one of a method that is not among the names.
    """
    changed: dict[str, dict[str, Any]] = {n: dict((presets or {}).get(n, {})) for n in names}
    for key, value in given.items():
        name, _, setting = key.partition(".")
        if name not in changed:
            raise RidError(f"--set {key}: {name!r} is not among --against")
        changed[name][setting] = value
    return {name: settings_of(name, values) for name, values in changed.items()}


def protect(
    name: str,
    image: Tensor,
    ensemble: Ensemble,
    budget: Budget,
    seeds: Sequence[int] | None = None,
    **settings: Any,
) -> Tensor:
    """Run a method; its bound is ``budget``, whatever its authors used.

    Args:
        name: see :func:`list_methods`.
        image: [B, 3, H, W] in [0, 1], on the ensemble's device.
        ensemble: what is attacked; its mode says how several members count.
        budget: the bound.
        seeds: one per photo, 0 by default.
        settings: of the method, over its defaults.

    Returns:
        Unit perturbation in [-1, 1], same shape.

    Raises:
        RidError: unknown method or settings, or surrogates that it cannot attack.
    """
    complete = settings_of(name, settings)
    check_members(name, ensemble)
    if seeds is None:
        seeds = [0] * len(image)
    attack = Attack(image, ensemble, budget, RandomStreams(seeds))
    unit = get_method(name)(attack, **complete)
    if not bool(torch.isfinite(unit).all()):
        raise RidError(f"method {name} ended with NaN; a surrogate's dtype may be too narrow")
    return unit


def check_members(name: str, ensemble: Ensemble) -> None:
    """Refuse encoders where a method needs whole diffusion models.

    Raises:
        RidError: names the first one.
    """
    for member in ensemble.members if name in _DIFFUSION else ():
        if not has_denoiser(member):
            raise RidError(f"method {name} needs diffusion models; {member.name} only encodes")


def attackable(name: str, surrogates: Sequence[Surrogate]) -> list[Surrogate]:
    """Those of ``surrogates`` that a method can attack: all, or the whole diffusion models.

    Raises:
        RidError: an unknown method.
    """
    get_method(name)
    return [s for s in surrogates if name not in _DIFFUSION or has_denoiser(s)]


def first_attackable(name: str, surrogates: Sequence[Surrogate]) -> Surrogate:
    """The first of ``surrogates`` that a method can attack.

    Raises:
        RidError: an unknown method, or none of them is a whole diffusion model, which it needs.
    """
    able = attackable(name, surrogates)
    if not able:
        names = ", ".join(surrogate.name for surrogate in surrogates)
        raise RidError(f"method {name} needs a whole diffusion model, and there is none: {names}")
    return able[0]
