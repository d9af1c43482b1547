"""Which operators an exported file is made of, read from its bytes without any converter.

Field numbers and names come from TensorFlow Lite's schema.fbs, ExecuTorch's program.fbs,
onnx.proto (ModelProto, GraphProto, NodeProto) and Core ML's Model.proto and MIL.proto.
"""

from __future__ import annotations

import mmap
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rid_core.artifact import FORMATS, artifact_format
from rid_core.errors import RidError
from rid_core.image import containers

_ONNX_GRAPH, _ONNX_NODE, _ONNX_OP_TYPE = 7, 1, 4
_COREML_PROGRAM, _MIL_FUNCTION, _MIL_BLOCK, _MIL_OPERATION, _MIL_TYPE = 502, 2, 3, 3, 1
_MAP_VALUE = 2
_TFLITE_CODES, _TFLITE_GRAPHS, _TFLITE_OPERATORS = 1, 2, 3
_CODE_OLD, _CODE_CUSTOM, _CODE_NEW = 0, 1, 3
_CUSTOM = 32
_PTE_PLANS, _PLAN_OPERATORS, _PLAN_DELEGATES = 1, 6, 7

# TFLite's BuiltinOperator, in order of its numbers from 0.
_TFLITE_TEXT = """
ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE
EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D
LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1
RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM
CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND
SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE
BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM
CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE
SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW
ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK
REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR
LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS
WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE
NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM
BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG
REAL COMPLEX_ABS HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL
CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL
BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD
UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR
RIGHT_SHIFT STABLEHLO_LOGISTIC STABLEHLO_ADD STABLEHLO_DIVIDE STABLEHLO_MULTIPLY
STABLEHLO_MAXIMUM STABLEHLO_RESHAPE STABLEHLO_CLAMP STABLEHLO_CONCATENATE
STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CONVOLUTION STABLEHLO_SLICE STABLEHLO_CUSTOM_CALL
STABLEHLO_REDUCE STABLEHLO_ABS STABLEHLO_AND STABLEHLO_COSINE STABLEHLO_EXPONENTIAL
STABLEHLO_FLOOR STABLEHLO_LOG STABLEHLO_MINIMUM STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_POWER
STABLEHLO_REMAINDER STABLEHLO_RSQRT STABLEHLO_SELECT STABLEHLO_SUBTRACT STABLEHLO_TANH
STABLEHLO_SCATTER STABLEHLO_COMPARE STABLEHLO_CONVERT STABLEHLO_DYNAMIC_SLICE
STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_PAD STABLEHLO_IOTA STABLEHLO_DOT_GENERAL
STABLEHLO_REDUCE_WINDOW STABLEHLO_SORT STABLEHLO_WHILE STABLEHLO_GATHER STABLEHLO_TRANSPOSE
DILATE STABLEHLO_RNG_BIT_GENERATOR REDUCE_WINDOW STABLEHLO_COMPOSITE STABLEHLO_SHIFT_LEFT
STABLEHLO_CBRT STABLEHLO_CASE
"""
_TFLITE_NAMES = tuple(_TFLITE_TEXT.split())


def operator_counts(path: str | Path) -> dict[str, int]:
    """How often each operator occurs in a TFLite, ONNX or Core ML file, most frequent first.

    Constants are not counted. Core ML's names are MIL op types, ONNX's are node types, and TFLite's
    are built-in operators; a custom TFLite operator is ``CUSTOM`` and its name.

    Raises:
        RidError: missing, damaged or foreign file, or a checkpoint.
    """
    path = Path(path)
    kind = artifact_format(path)
    if kind == "torch":
        raise RidError(f"{path}: a checkpoint has no operators; export it with rid-export")
    try:
        file = containers.root_model(path) if kind == "coreml" else path
        with containers.mapped(file) as data:
            readers = {
                "onnx": _onnx,
                "tflite": _tflite,
                "coreml": _coreml,
                "executorch": _executorch,
            }
            reader = readers[kind]
            counts = Counter(reader(data))
    except OSError as error:
        raise RidError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (containers.DamagedError, struct.error, IndexError) as error:
        reason = str(error) if isinstance(error, containers.DamagedError) else "truncated"
        raise RidError(f"{path}: a damaged {FORMATS[kind]} file ({reason})") from None
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def _messages(data: mmap.mmap, at: int, end: int, *numbers: int) -> Iterator[tuple[int, int]]:
    """(first byte, end) of the messages that a path of field numbers leads to."""
    for number, start, stop in containers.fields(data, at, end):
        if number == numbers[0]:
            if len(numbers) == 1:
                yield start, stop
            else:
                yield from _messages(data, start, stop, *numbers[1:])


def _texts(data: mmap.mmap, *numbers: int) -> Iterator[str]:
    for start, stop in _messages(data, 0, len(data), *numbers):
        yield data[start:stop].decode("utf-8", "replace")


def _onnx(data: mmap.mmap) -> Iterator[str]:
    return _texts(data, _ONNX_GRAPH, _ONNX_NODE, _ONNX_OP_TYPE)


def _coreml(data: mmap.mmap) -> Iterator[str]:
    # A program's functions and a function's blocks are maps: entries with a key and a value.
    block = (_COREML_PROGRAM, _MIL_FUNCTION, _MAP_VALUE, _MIL_BLOCK, _MAP_VALUE)
    names = _texts(data, *block, _MIL_OPERATION, _MIL_TYPE)
    return (name for name in names if name != "const")


def _tflite(data: mmap.mmap) -> Iterator[str]:
    model = containers.u32(data, 0)
    names = [_name(data, code) for code in containers.tables(data, model, _TFLITE_CODES)]
    for graph in containers.tables(data, model, _TFLITE_GRAPHS):
        for operator in containers.tables(data, graph, _TFLITE_OPERATORS):
            at = containers.field(data, operator, 0)
            yield names[containers.u32(data, at) if at else 0]


def _executorch(data: mmap.mmap) -> Iterator[str]:
    """Operators of a program, and each part that is left to a backend, by the backend's name."""
    for plan in containers.tables(data, containers.u32(data, 0), _PTE_PLANS):
        for index in (_PLAN_OPERATORS, _PLAN_DELEGATES):
            for entry in containers.tables(data, plan, index):
                at = containers.field(data, entry, 0)
                start = at + containers.u32(data, at) if at else 0
                length = containers.u32(data, start)
                yield data[start + 4 : start + 4 + length].decode("utf-8", "replace")


def _name(data: mmap.mmap, code: int) -> str:
    """Of an operator code: one byte in old files, and four more since there are over 127."""
    old, new = containers.field(data, code, _CODE_OLD), containers.field(data, code, _CODE_NEW)
    number: int = max(
        struct.unpack_from("<b", data, old)[0] if old else 0,
        struct.unpack_from("<i", data, new)[0] if new else 0,
    )
    if number == _CUSTOM:
        start, length = containers.vector(data, code, _CODE_CUSTOM)
        return f"CUSTOM {data[start : start + length].decode('utf-8', 'replace')}".strip()
    return _TFLITE_NAMES[number] if 0 <= number < len(_TFLITE_NAMES) else f"operator {number}"
