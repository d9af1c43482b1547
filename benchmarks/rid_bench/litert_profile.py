"""LiteRT's own profiler of operators, by its C interface.

The Python package has no way to switch it on, but the library it brings does: compiled with the
option ``enable_profiling``, a model records every operator that XNNPACK runs. Functions and names
are those of LiteRT 2.x (github.com/google-ai-edge/LiteRT, litert/c: litert_profiler.h,
litert_compiled_model.h, litert_opaque_options.h, options/litert_runtime_options.cc). They may
change; then the profile is missing and the report says why.

Run as a program: ``python -m rid_bench.litert_profile FILE THREADS RUNS`` prints JSON. The library
writes notices to the terminal and may crash, so it gets a process of its own.
"""

from __future__ import annotations

import ctypes
import json
import re
import sys
from pathlib import Path
from statistics import median
from typing import Any

from rid_bench.portable.records import Operator

_CPU = 1
_LINE = re.compile(r"^\s*(\S.*?)\s{2,}[\d.]+\s+[\d.]+\s+([\d.]+)\s+[\d.]+%.*\]:(\d+)\s*$")
_POINTER = ctypes.c_void_p
_DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Library:
    """The C interface; every call is checked."""

    def __init__(self) -> None:
        import ai_edge_litert

        folder = Path(ai_edge_litert.__file__).parent
        files = [folder / name for name in ("libLiteRt.so", "libLiteRt.dylib", "LiteRt.dll")]
        file = next((f for f in files if f.is_file()), None)
        if file is None:
            raise RuntimeError("this build of LiteRT has no libLiteRt")
        self._library = ctypes.CDLL(str(file))
        self._c = ctypes.CDLL(None)
        self._c.strdup.restype = _POINTER
        self._c.strdup.argtypes = [ctypes.c_char_p]
        self._c.free.argtypes = [_POINTER]
        # The library calls this later: it must live as long as we do.
        self._free = _DELETER(self._c.free)

    def __call__(self, name: str, *arguments: Any) -> None:
        """Call ``LiteRt{name}``.

        Raises:
            RuntimeError: there is no such function, or it refuses.
        """
        try:
            function = getattr(self._library, f"LiteRt{name}")
        except AttributeError:
            raise RuntimeError(f"this LiteRT has no LiteRt{name}") from None
        status = function(*arguments)
        if status:
            raise RuntimeError(f"LiteRt{name} answers {status}")

    def make(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        """Call a function whose last argument receives a handle."""
        handle = _POINTER()
        self(name, *arguments, ctypes.byref(handle))
        return handle

    def option(self, options: ctypes.c_void_p, group: str, text: str) -> None:
        """Add options of a group, written as TOML; the library frees the text."""
        payload = _POINTER(self._c.strdup(text.encode()))
        made = self.make("CreateOpaqueOptions", group.encode(), payload, self._free)
        self("AddOpaqueOptions", options, made)


def profile(path: str, threads: int, runs: int) -> list[Operator]:
    """Operators in order of execution, by kernel; seconds are medians of the runs.

    Raises:
        RuntimeError: this LiteRT has no such interface, or refuses the file.
    """
    call = _Library()
    environment = call.make("CreateEnvironment", ctypes.c_int(0), None)
    model = call.make("CreateModelFromFile", environment, path.encode())
    options = call.make("CreateOptions")
    call("SetOptionsHardwareAccelerators", options, ctypes.c_int(_CPU))
    call.option(options, "runtime_options_string", "enable_profiling = true\n")
    call.option(options, "xnnpack", f"num_threads = {threads}\n")
    compiled = call.make("CreateCompiledModel", environment, model, options)
    profiler = call.make("CompiledModelGetProfiler", compiled)
    if not profiler:
        raise RuntimeError("this LiteRT gives no profiler")
    signature = call.make("GetModelSignature", model, ctypes.c_size_t(0))

    def buffers(side: str) -> Any:
        count = ctypes.c_size_t()
        call(f"GetNumSignature{side}s", signature, ctypes.byref(count))
        made = (_POINTER * count.value)()
        for index in range(count.value):
            place = ctypes.c_size_t(index)
            tensor = call.make(f"GetSignature{side}TensorByIndex", signature, place)
            kind = ctypes.create_string_buffer(512)  # a struct of under 200 bytes
            call("GetRankedTensorType", tensor, kind)
            wanted = call.make(
                f"GetCompiledModel{side}BufferRequirements", compiled, ctypes.c_size_t(0), place
            )
            made[index] = call.make(
                "CreateManagedTensorBufferFromRequirements", environment, kind, wanted
            )
        return made

    inputs, outputs = buffers("Input"), buffers("Output")

    def run() -> None:
        call(
            "RunCompiledModel",
            compiled,
            ctypes.c_size_t(0),
            ctypes.c_size_t(len(inputs)),
            inputs,
            ctypes.c_size_t(len(outputs)),
            outputs,
        )

    for _ in range(3):
        run()
    found: list[list[tuple[str, float]]] = []
    for _ in range(runs):
        # One run at a time: the summary gives means, and a mean is what one interruption spoils.
        call("ResetProfiler", profiler)
        call("StartProfiler", profiler)
        run()
        call("StopProfiler", profiler)
        text = ctypes.c_char_p()
        call("GetProfileSummary", profiler, compiled, ctypes.byref(text))
        found.append(parse_summary((text.value or b"").decode()))
    first = [kind for kind, _ in found[0]]
    same = [one for one in found if [kind for kind, _ in one] == first]
    return [
        Operator(kind, kind, median(one[index][1] for one in same))
        for index, kind in enumerate(first)
    ]


def parse_summary(text: str) -> list[tuple[str, float]]:
    """(kernel, seconds) in order of execution, out of the profiler's table.

    Raises:
        RuntimeError: the table is not there, or looks otherwise.
    """
    _, found, rest = text.partition(" Run Order ")
    lines = rest.partition(" Top by ")[0].splitlines() if found else []
    rows = []
    for line in lines:
        match = _LINE.match(line)
        if match:
            rows.append((match[1].removeprefix("Delegate/"), float(match[2]) / 1000))
    if not rows:
        raise RuntimeError("the profiler's table has another form than that of LiteRT 2.3")
    return rows


if __name__ == "__main__":
    try:
        found = profile(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
        print(json.dumps([vars(operator) for operator in found]))
    except RuntimeError as problem:
        print(problem, file=sys.stderr)
        sys.exit(1)
