#!/usr/bin/env python3
"""Say which kernels compute a network's matrix products on a 64-bit ARM core, by emulation.

    python benchmarks/arm64/kernels.py rid-s.int8.tflite rid-s.int8.onnx

The emulated core has the dot-product instructions that phones have had since 2018. The emulator
writes down every instruction that a program comes to; those inside the runtime's library are
counted here, and named after the function they stand in where the library has a table of names
(LiteRT's has one, ONNX Runtime's has none).

Exit code 0 if the int8 matrix products of every file are dot products, else 1. Depthwise
convolutions are none: no ARM core has an instruction for theirs.
"""

from __future__ import annotations

import argparse
import bisect
import os
import re
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
_RUN = {
    ".tflite": """
from ai_edge_litert.interpreter import Interpreter
network = Interpreter(sys.argv[1], num_threads=1)
network.allocate_tensors()
(image,) = network.get_input_details()
network.set_tensor(image["index"], np.full(image["shape"], 0.5).astype(image["dtype"]))
network.invoke()
library = "libpywrap_litert_common"
""",
    ".onnx": """
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
network = onnxruntime.InferenceSession(sys.argv[1], options)
(image,) = network.get_inputs()
kind = {"tensor(float)": "f4", "tensor(float16)": "f2"}.get(image.type, "u1")
network.run(None, {image.name: np.full(image.shape, 0.5).astype(kind)})
library = "onnxruntime_pybind11_state"
""",
}
"""Runs inside the emulator, by suffix of the file."""
_WHERE = """
parts = [line.split() for line in open("/proc/self/maps") if library in line]
print("LIBRARY", parts[0][0].split("-")[0], parts[-1][0].split("-")[1], parts[0][-1])
"""
_INSTRUCTION = re.compile(r"0x([0-9a-f]+):\s+[0-9a-f]{8}\s+(\w+)")
_PRODUCT = re.compile(r"xnn_q\w+_i?gemm_\w*ukernel")
_DOT = frozenset({"sdot", "udot"})
_SYMBOL_TABLE, _FUNCTION = 2, 2


@dataclass(frozen=True)
class Found:
    """What an emulated run came to inside the runtime's library.

    Attributes:
        dots: how many different dot-product instructions.
        products: XNNPACK's kernels for int8 matrix products; None if the library names none.
    """

    dots: int
    products: tuple[str, ...] | None

    def complaint(self) -> str | None:
        """Why these are not the dot-product kernels, or None."""
        if not self.dots:
            return "no dot-product instruction was run"
        if self.products is None:
            return None
        if not self.products:
            return "no int8 matrix product was run"
        slow = [name for name in self.products if "neondot" not in name]
        return f"without dot products: {', '.join(slow)}" if slow else None


def symbols(library: Path) -> list[tuple[int, str]]:
    """(address, name) of the functions in a 64-bit ELF file, sorted; empty if it was stripped."""
    data = library.read_bytes()
    (start,) = struct.unpack_from("<Q", data, 0x28)
    size, count = struct.unpack_from("<HH", data, 0x3A)
    sections = list(struct.iter_unpack("<IIQQQQIIQQ", data[start : start + size * count]))
    found = []
    for _, kind, _, _, offset, length, link, _, _, _ in sections:
        if kind != _SYMBOL_TABLE:
            continue
        names = sections[link][4]
        table = data[offset : offset + length]
        for name, info, _, _, value, _ in struct.iter_unpack("<IBBHQQ", table):
            if info & 15 == _FUNCTION:
                begin = names + name
                found.append((value, data[begin : data.index(b"\0", begin)].decode()))
    return sorted(found)


def read_log(
    lines: Iterable[str], base: int, end: int, functions: Sequence[tuple[int, str]]
) -> Found:
    """Count and name the instructions between two addresses, out of the emulator's log.

    Args:
        lines: the log that ``-d in_asm`` makes.
        base: where the library lies in memory.
        end: where it ends.
        functions: of :func:`symbols`.
    """
    starts = [address for address, _ in functions]
    dots: set[int] = set()
    seen: set[str] = set()
    for line in lines:
        match = _INSTRUCTION.match(line)
        if match is None or not base <= (address := int(match[1], 16)) < end:
            continue
        if match[2] in _DOT:
            dots.add(address)
        place = bisect.bisect_right(starts, address - base) - 1
        if place >= 0:
            seen.add(functions[place][1])
    products = tuple(sorted(name for name in seen if _PRODUCT.match(name)))
    return Found(len(dots), products if functions else None)


def watch(file: Path, core: str = "cortex-a76") -> Found:
    """Run a ``.tflite`` or ``.onnx`` file once on an emulated ``core``.

    Raises:
        RuntimeError: the emulator cannot be had, or the run failed; the last line says why.
    """
    if file.suffix not in _RUN or not file.is_file():
        raise RuntimeError(f"{file}: no .tflite or .onnx file")
    root = Path(_call([str(HERE / "prepare.sh")]).splitlines()[-1])
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        program = f"import sys\nimport numpy as np\n{_RUN[file.suffix]}{_WHERE}"
        output = _call(
            [str(root / "run-python"), "-c", program, str(file)],
            QEMU_CPU=core,
            QEMU_LOG="in_asm",
            QEMU_LOG_FILENAME=str(log),
            PYTHONPATH=str(root / "site"),
            PYTHONDONTWRITEBYTECODE="1",
            OPENBLAS_NUM_THREADS="1",
        )
        line = next(line for line in output.splitlines() if line.startswith("LIBRARY "))
        _, base, end, library = line.split(maxsplit=3)
        with log.open(errors="replace") as lines:
            return read_log(lines, int(base, 16), int(end, 16), symbols(Path(library)))


def _call(command: Sequence[str], **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | environment
    )
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["it failed, saying nothing"])[-1])
    return done.stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description="Which kernels int8 files use on ARM.")
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help=".tflite or .onnx, int8"
    )
    failed = False
    for file in parser.parse_args(arguments).files:
        try:
            found = watch(file)
        except (RuntimeError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        complaint = found.complaint()
        print(f"{file.name}: {complaint or f'dot products ({found.dots} instructions)'}")
        for name in found.products or ():
            print(f"  {name}")
        failed = failed or complaint is not None
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
