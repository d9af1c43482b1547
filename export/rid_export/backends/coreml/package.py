"""From the contract's graph to a package on disk, in every precision."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rid_export.backends.coreml.graph import describe, quiet, to_program
from rid_export.backends.coreml.quantize import quantize_coreml
from rid_export.backends.coreml.runner import layer_names, write_names
from rid_export.calibration import material_for
from rid_export.layers import Notes, float_copy

if TYPE_CHECKING:
    from rid_export.graph import ExportGraph
    from rid_export.spec import ExportSpec


def write_package(graph: ExportGraph, spec: ExportSpec, path: Path) -> Notes | None:
    """Convert, compress, and write the package.

    The fp16 program that a compressed one was made from is left at ``float_copy(path)``, so that a
    gate that refuses it can name the layer.

    Args:
        graph: the contract around the lowered defender, with images for what is quantized.
        spec: precision and resolution.
        path: of the package.

    Returns:
        What there is to tell of the quantization, if there was one.
    """
    model = to_program(graph, spec.resolution, half=spec.precision != "fp32")
    notes = None
    if spec.precision not in ("fp32", "fp16"):
        modules = [name for name, _ in graph.defender.named_modules()]
        names = layer_names(model.get_spec(), modules)
        save(model, float_copy(path))
        write_names(float_copy(path), names)
        levels = round(graph.eps * 255)
        material = material_for(spec, graph.material)
        model, notes = quantize_coreml(model, spec.precision, names, material, levels)
    describe(model, graph.outputs)
    save(model, path)
    return notes


def save(model: Any, path: Path) -> None:
    """Write an ``MLModel`` to a folder of any name."""
    package = path.with_name(f"{path.name}.mlpackage")  # coremltools insists on the suffix
    with quiet():
        model.save(str(package))
    # A debugging aid of coremltools that no runtime reads; most of a small package's bytes.
    (package / "executorch_debug_handle_mapping.json").unlink(missing_ok=True)
    package.replace(path)
