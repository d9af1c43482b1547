"""Load a Core ML ML program and run it with torch, on any machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rid_export.mil.dtypes import MilError, TensorType
from rid_export.mil.features import (
    Feature,
    check_feature,
    check_names,
    from_tensor,
    read_feature,
    to_tensor,
)
from rid_export.mil.graph import Constant, Graph, Operation, read_graph
from rid_export.mil.package import open_package

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from rid_export.mil.ops import Kernel

    Value = Tensor | str
    Observer = Callable[[str, str, Tensor], None]


class MilProgram:
    """An ML program, ready to run.

    What it models: every operation computes in float32, from operands that have been rounded to
    their declared types, and its result is rounded (to nearest even) to the declared type of the
    output. In an fp16 program this is the rounding that any implementation does at least once per
    layer. Hardware may also accumulate in fp16, fuse layers and so round less often, or flush
    subnormal numbers; none of that is modelled, so that agreement with a phone is close, not exact.

    Example::

        program = MilProgram.load(Path("dist/rid-s.fp16.mlpackage"))
        result = program.predict({"image": image})  # uint8 [512, 512, 3], RGB
        result["protected"]  # uint8 [512, 512, 3], RGB
        result["delta"]  # float16 [1, 3, 512, 512], in [-1, 1]

    Attributes:
        path: the package.
        inputs: features to pass, in the description's order.
        outputs: features that come back.
        op_types: type of every operation, in order, without constants.
    """

    def __init__(
        self, path: Path, inputs: Sequence[Feature], outputs: Sequence[Feature], graph: Graph
    ) -> None:
        """Used by :meth:`load`: check operations and features, evaluate constants."""
        self.path = path
        self._input_types = dict(graph.inputs)
        self._constants: dict[str, Value] = {}
        self._steps: list[tuple[Operation, Kernel]] = []
        types = dict(graph.inputs)
        for operation in graph.operations:
            if operation.type == "const":
                self._define_const(operation)
            else:
                self._link(operation, types)
            types.update(operation.outputs)
        self.op_types = tuple(operation.type for operation, _ in self._steps)
        results = {name: types[name] for name in graph.outputs if name in types}
        self.inputs = tuple(check_feature(f, graph.inputs.get(f.name), "input") for f in inputs)
        self.outputs = tuple(check_feature(f, results.get(f.name), "output") for f in outputs)
        if hidden := graph.inputs.keys() - {feature.name for feature in inputs}:
            raise MilError(
                f"the description lacks inputs {sorted(hidden)}; export the package again"
            )
        self._dead = self._last_uses({feature.name for feature in self.outputs})

    @classmethod
    def load(cls, path: Path) -> MilProgram:
        """Read the ``.mlpackage`` at ``path``.

        MilError when it is no whole package with an ML program, when its weights are damaged, or
        when it holds an operation or type that the interpreter does not know.
        """
        package = open_package(path)
        description = package.spec.description
        inputs = [read_feature(entry) for entry in description.input]
        outputs = [read_feature(entry) for entry in description.output]
        return cls(path, inputs, outputs, read_graph(package))

    def predict(
        self,
        inputs: Mapping[str, NDArray[Any]],
        *,
        observe: Observer | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Run the program as an app does.

        Args:
            inputs: for each input feature an array of its shape and kind of type: uint8 RGB for
                images, finite numbers for multi-arrays.
            observe: see :meth:`run`.

        Returns:
            For each output feature an array of its shape and type.
        """
        tensors = self._execute(inputs, observe)
        return {
            feature.name: from_tensor(feature, tensors[feature.name]) for feature in self.outputs
        }

    def run(
        self, inputs: Mapping[str, NDArray[Any]], *, observe: Observer | None = None
    ) -> dict[str, NDArray[Any]]:
        """Run the program, and return the tensors behind its outputs as they are.

        An image output is then [1, 3, H, W] in the program's channel order and float type, before
        anything is rounded to 8 bits.

        Args:
            inputs: as for :meth:`predict`.
            observe: called as ``observe(name, op_type, tensor)`` with every result of every
                operation, in order, in its declared type; constants and compressed weights are not
                shown. ``name`` is the variable's, which the converter derives from the network's.
        """
        tensors = self._execute(inputs, observe)
        return {name: tensor.numpy() for name, tensor in tensors.items()}

    def _define_const(self, operation: Operation) -> None:
        operands = operation.operands.get("val", ())
        if len(operands) != 1 or len(operation.outputs) != 1:
            raise MilError(f"constant {operation.name!r} has no single value; export again")
        (operand,) = operands
        assert isinstance(operand, Constant)
        self._constants[operation.outputs[0][0]] = _to_value(operand)

    def _link(self, operation: Operation, types: Mapping[str, TensorType]) -> None:
        """Check an operation before anything runs; evaluate it now if it is a compressed weight."""
        from rid_export.mil.ops import find_kernel

        label = f"{operation.type} {operation.name!r}"
        output = operation.outputs[0][0] if operation.outputs else "none"
        kernel = find_kernel(operation.type, label, output, frozenset(operation.operands))
        compressed = operation.type.startswith("constexpr_")
        known = self._constants if compressed else types
        for key, operands in operation.operands.items():
            if len(operands) != 1:  # tuple parameters, which no operation here has
                raise MilError(f"{label} has {len(operands)} values for {key}; export again")
            for operand in operands:
                if isinstance(operand, str) and operand not in known:
                    state = "is no constant" if operand in types else "nothing has computed before"
                    raise MilError(f"{label} reads {operand!r}, which {state}; export again")
        if compressed:
            self._constants.update(_evaluate(operation, kernel, self._constants))
        else:
            self._steps.append((operation, kernel))

    def _last_uses(self, kept: set[str]) -> list[list[str]]:
        """For each step the variables that no later step reads."""
        dead: list[list[str]] = []
        needed = kept | self._constants.keys()
        for operation, _ in reversed(self._steps):
            read = (name for operands in operation.operands.values() for name in operands)
            used = {name for name in read if isinstance(name, str)}
            names = (used | {name for name, _ in operation.outputs}) - needed
            dead.append(sorted(names))
            needed |= names
        return dead[::-1]

    def _execute(
        self, inputs: Mapping[str, NDArray[Any]], observe: Observer | None
    ) -> dict[str, Tensor]:
        import torch

        check_names(inputs, self.inputs)
        values: dict[str, Value] = dict(self._constants)
        for feature in self.inputs:
            declared = self._input_types[feature.name]
            values[feature.name] = to_tensor(feature, inputs[feature.name], declared)
        with torch.inference_mode():
            for (operation, kernel), dead in zip(self._steps, self._dead, strict=True):
                results = _evaluate(operation, kernel, values)
                values.update(results)
                if observe is not None:
                    for name, tensor in results.items():
                        observe(name, operation.type, tensor)
                for name in dead:
                    del values[name]
        outputs = {feature.name: values[feature.name] for feature in self.outputs}
        return {name: value for name, value in outputs.items() if not isinstance(value, str)}


def _to_value(constant: Constant) -> Value:
    import torch

    if isinstance(constant.value, str):
        return constant.value
    array = constant.value
    # torch cannot take unsigned 16 and 32 bit arrays into its wider types directly.
    wide = array.astype("int64") if array.dtype.kind == "u" and array.itemsize > 1 else array
    return torch.from_numpy(wide).to(constant.type.dtype.torch_dtype())


def _argument(operand: str | Constant, values: Mapping[str, Value]) -> Value:
    """An operand's value, floats as float32."""
    import torch

    value = values[operand] if isinstance(operand, str) else _to_value(operand)
    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def _evaluate(
    operation: Operation, kernel: Kernel, values: Mapping[str, Value]
) -> dict[str, Tensor]:
    """Results of one operation by variable, rounded to their declared types."""
    label = f"{operation.type} {operation.name!r}"
    arguments = {key: _argument(operand, values) for key, (operand,) in operation.operands.items()}
    try:
        result = kernel.function(**arguments)
    except (MilError, RuntimeError, ValueError, IndexError, TypeError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        raise MilError(f"{label} cannot run: {reason}") from error
    results = result if isinstance(result, tuple) else (result,)
    if len(results) != len(operation.outputs):
        raise MilError(f"{label} declares {len(operation.outputs)} outputs, but has {len(results)}")
    return {
        name: _conform(tensor, declared, f"{label}, output {name!r}")
        for tensor, (name, declared) in zip(results, operation.outputs, strict=True)
    }


def _conform(tensor: Tensor, declared: TensorType, what: str) -> Tensor:
    """A result in its declared type; MilError when its shape or kind is another."""
    shape = tuple(tensor.shape)
    dtype = declared.dtype
    same_kind = tensor.is_floating_point() if dtype.is_float else dtype.carries(tensor)
    if not declared.admits(shape) or not same_kind:
        raise MilError(f"{what} is declared as {declared}, but is {tensor.dtype} {list(shape)}")
    return tensor.to(dtype.torch_dtype())
