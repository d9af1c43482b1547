"""Say before conversion what a phone's accelerators will leave to the CPU.

A network that converts and agrees with the original can still be slow on the phone, because its
delegate refuses an operator. Here the network is traced, and every operator is held against
:data:`rid_export.lint_rules.RULES`. That tells what is known, not what is: only a phone can.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rid_export.lint_rules import RULES, Rule, Site

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from rid_core.defenders import Defender

_ROOT = "defender"
_SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """A rule, and where in the network it strikes.

    Attributes:
        rule: what is broken.
        layout: of the targets that are concerned.
        sites: operators that break it, in order.
    """

    rule: Rule
    layout: str
    sites: tuple[Site, ...]

    def line(self) -> str:
        """One line for people: where, what, why, what instead."""
        names = list(dict.fromkeys(f"{site.module} ({site.kind})" for site in self.sites))
        places = ", ".join(names[:_SHOWN])
        if len(names) > _SHOWN:
            places += f" and {len(names) - _SHOWN} more"
        ops = "/".join(dict.fromkeys(site.op for site in self.sites))
        return (
            f"{places}: {ops} [{', '.join(self.rule.delegates)}]: {self.rule.why}; "
            f"use {self.rule.instead}"
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "rule": self.rule.name,
            "delegates": list(self.rule.delegates),
            "why": self.rule.why,
            "instead": self.rule.instead,
            "source": self.rule.source,
            "layout": self.layout,
            "sites": [{"op": s.op, "module": s.module, "class": s.kind} for s in self.sites],
        }


def lint_checkpoint(path: Path, layouts: Sequence[str], resolution: int) -> list[Finding]:
    """Lint the defender of a checkpoint.

    Raises:
        RidError: missing, damaged or foreign file, or a resolution that does not fit.
    """
    from rid_core.checkpoint import load_checkpoint

    defender, _ = load_checkpoint(path)
    return lint_defender(defender, layouts, resolution)


def lint_preset(name: str, layouts: Sequence[str], resolution: int) -> list[Finding]:
    """Lint a preset without weights, on torch's meta device: any size takes seconds and no memory.

    Raises:
        RidError: unknown preset.
    """
    import torch

    from rid_core.defenders import create_defender

    with torch.device("meta"):
        defender = create_defender(name)
    return lint_defender(defender, layouts, resolution)


def lint_defender(
    defender: Defender, layouts: Sequence[str] = ("nhwc", "nchw"), resolution: int = 512
) -> list[Finding]:
    """Trace the export graph around ``defender`` in every layout, and hold it against the rules.

    Raises:
        RidError: the resolution does not fit the defender.
    """
    import torch

    from rid_export.graph import ExportGraph

    findings: list[Finding] = []
    device = next(iter(defender.state_dict().values())).device
    for layout in dict.fromkeys(layouts):
        graph = ExportGraph(defender, 1, layout)
        example = graph.example(resolution).to(device)
        with torch.device(device):
            program = torch.export.export(graph, (example,))
        findings += lint_program(program, layout)
    return _merged(findings)


def lint_lines(defender: Defender, layouts: Sequence[str], resolution: int) -> list[str]:
    """Findings as lines, for a pipeline: never fails, and prints nothing.

    A network that cannot be traced cannot be converted either, and the converter's own words about
    that are more to the point.
    """
    from rid_core.output import suppress_output

    try:
        with suppress_output():
            findings = lint_defender(defender, layouts, resolution)
    except Exception as error:  # noqa: BLE001 - torch.export raises all kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return [f"warning: the network could not be looked through ({reason[:200]})"]
    return [f"warning: {finding.line()}" for finding in findings]


def lint_program(
    program: ExportedProgram, layout: str, rules: Sequence[Rule] = RULES
) -> list[Finding]:
    """Hold a traced network against the rules."""
    sites = list(_sites(program, layout))
    findings = []
    for rule in rules:
        struck = tuple(site for site in sites if rule.matches(site))
        if struck:
            findings.append(Finding(rule, layout, struck))
    return findings


def _merged(findings: Sequence[Finding]) -> list[Finding]:
    """What is found in both layouts is told once."""
    seen: dict[str, Finding] = {}
    for finding in findings:
        first = seen.setdefault(finding.rule.name, finding)
        if first is not finding:
            known = {(site.op, site.module) for site in first.sites}
            more = tuple(s for s in finding.sites if (s.op, s.module) not in known)
            seen[finding.rule.name] = Finding(first.rule, "nhwc and nchw", (*first.sites, *more))
    return list(seen.values())


def _sites(program: ExportedProgram, layout: str) -> Iterator[Site]:
    for node in program.graph.nodes:
        if node.op != "call_function" or not hasattr(node.target, "_schema"):
            continue
        names = [argument.name for argument in node.target._schema.arguments]
        given: dict[str, Any] = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
        module, kind = _module(node)
        weight = _shape(given.get("weight"))
        yield Site(
            op=node.target._schema.name.rpartition("::")[2],
            module=module,
            kind=kind,
            layout=layout,
            shapes=tuple(_shapes(node)),
            kernel=tuple(size or 0 for size in weight[2:]) if weight else (),
            dilation=_sizes(given.get("dilation")),
            mode=str(given.get("mode") or ""),
        )


def _shapes(node: Any) -> Iterator[tuple[int | None, ...]]:
    for other in (*node.all_input_nodes, node):
        value = other.meta.get("val")
        for tensor in value if isinstance(value, list | tuple) else (value,):
            if hasattr(tensor, "shape"):
                yield tuple(size if isinstance(size, int) else None for size in tensor.shape)


def _shape(argument: Any) -> tuple[int | None, ...]:
    shape = getattr(getattr(argument, "meta", {}).get("val"), "shape", ())
    return tuple(size if isinstance(size, int) else None for size in shape)


def _sizes(argument: Any) -> tuple[int, ...]:
    if isinstance(argument, int):
        return (argument,)
    return tuple(argument) if isinstance(argument, list | tuple) else ()


def _module(node: Any) -> tuple[str, str]:
    """Path and class of the innermost module around an operator, as its author sees it."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack:
        return "the network", "its forward"
    path, kind = stack[-1]
    kind = kind if isinstance(kind, str) else kind.__name__
    path = re.sub(rf"^(?:L\['self'\]\.?|{_ROOT}\.|{_ROOT}$)", "", path)
    return path or "the network", kind.rpartition(".")[2]
