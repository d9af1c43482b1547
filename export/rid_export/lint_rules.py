"""What delegates refuse, as one table. A new finding is one more :class:`Rule`, nothing else.

A delegate runs a network, or a part of it, on other hardware than the CPU. It takes an operator or
leaves it; every operator left is a trip back to the CPU, and LiteRT's GPU accelerator takes all or
nothing. Which operators it leaves is documented badly and changes with versions, so every rule says
where it comes from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

GPU = "LiteRT GPU"
ANE = "Neural Engine"
NPU = "NNAPI-era NPU"
CPU = "LiteRT CPU"

_BUILDER = "TensorFlow, lite/delegates/gpu/common/model_builder.cc, NewOperationParser"
_NNAPI = "Android NDK, NeuralNetworksTypes.h, list of operations"
_NNAPI_RANK = "Android packages/modules/NeuralNetworks, commit 1b4e15288 (rank checks)"
_APPLE = "Apple, Deploying Transformers on the Apple Neural Engine (2022)"
_HOLLANCE = "github.com/hollance/neural-engine, docs/unsupported-layers.md"
_ANE_GUIDE = "ane-guide.readthedocs.io, chapter 4, Capability surface"


@dataclass(frozen=True)
class Site:
    """One operator of a traced network.

    Attributes:
        op: aten operator without namespace and overload, such as ``conv2d``.
        module: path of the module that makes it, such as ``encoder.0.depthwise``.
        kind: class of that module.
        layout: of the target, ``nhwc`` or ``nchw``.
        shapes: of its tensor inputs and outputs; None for a size that is not fixed.
        kernel: height and width of a convolution's kernel, or empty.
        dilation: of a convolution, or empty.
        mode: of a padding, or empty.
    """

    op: str
    module: str
    kind: str
    layout: str
    shapes: tuple[tuple[int | None, ...], ...]
    kernel: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    mode: str = ""

    @property
    def rank(self) -> int:
        """The highest of its tensors."""
        return max((len(shape) for shape in self.shapes), default=0)


def _always(site: Site) -> bool:
    return True


@dataclass(frozen=True)
class Rule:
    """One thing that delegates do not take.

    Attributes:
        name: short and stable; JSON has it.
        ops: aten operators it is about; empty for all.
        delegates: that leave it, or are slow with it.
        why: what happens, in a few words.
        instead: what to use.
        source: where this is known from.
        when: further condition.
    """

    name: str
    ops: tuple[str, ...]
    delegates: tuple[str, ...]
    why: str
    instead: str
    source: str
    when: Callable[[Site], bool] = _always

    def matches(self, site: Site) -> bool:
        """Whether the rule is about this operator."""
        return (not self.ops or site.op in self.ops) and self.when(site)


RULES: tuple[Rule, ...] = (
    Rule(
        "dynamic-shape",
        (),
        (GPU, ANE, NPU),
        "its size is not fixed, and delegates compile for fixed sizes",
        "export with a fixed --resolution",
        "github.com/tensorflow/tensorflow/issues/47168; coremltools guide, Flexible Input Shapes",
        lambda site: any(size is None for shape in site.shapes for size in shape),
    ),
    Rule(
        "rank-above-4",
        (),
        (GPU, ANE, NPU),
        "it has a tensor with more than four axes",
        "two reshapes around one transpose of rank 4, as rid_core's ShuffleUp does",
        f"github.com/tensorflow/tensorflow/issues/56537; {_NNAPI_RANK}; {_APPLE}",
        lambda site: site.rank > 4,
    ),
    Rule(
        "pixel-shuffle-nhwc",
        ("pixel_shuffle", "pixel_unshuffle"),
        (GPU, NPU),
        "channels-last it becomes a transpose of rank 6",
        "rid_core's ShuffleUp, which lowers itself for the layout",
        "github.com/tensorflow/tensorflow/issues/56537; measured with litert-torch 0.10",
        lambda site: site.layout == "nhwc",
    ),
    Rule(
        "gelu",
        ("gelu", "erf"),
        (GPU, NPU),
        "neither GELU nor ERF is among the operators they take",
        "relu, or x * sigmoid(1.702 x)",
        f"{_BUILDER}; github.com/tensorflow/tensorflow/issues/59232; {_NNAPI}",
    ),
    Rule(
        "layer-norm",
        ("layer_norm", "native_layer_norm", "rms_norm"),
        (ANE, NPU),
        "over the last axis it costs transposes, and NNAPI has no such operator",
        "batch norm, which folds into the convolution before it, or no normalisation",
        f"{_APPLE}, principle 1; {_NNAPI}",
    ),
    Rule(
        "group-norm",
        ("group_norm", "native_group_norm"),
        (GPU, NPU),
        "it becomes a mean over a tensor of rank 5",
        "batch norm, which folds into the convolution before it",
        f"{_NNAPI_RANK}; litert-torch's decomposition",
    ),
    Rule(
        "attention",
        ("scaled_dot_product_attention", "multi_head_attention_forward"),
        (GPU, NPU),
        "products of two computed tensors, and transposes around them",
        "convolutions with large depthwise kernels",
        f"{_BUILDER}, BatchedMatMulOperationParser; {_NNAPI} (BATCH_MATMUL is new in level 6)",
    ),
    Rule(
        "linear-on-tokens",
        ("linear",),
        (ANE,),
        "tokens as [batch, length, channels] are not the layout it computes in",
        "a 1x1 convolution on [batch, channels, 1, length]",
        f"{_APPLE}, principle 1",
        lambda site: site.rank == 3,
    ),
    Rule(
        "gather",
        ("gather", "index", "index_select", "embedding", "take", "take_along_dim", "grid_sampler"),
        (GPU, ANE, NPU),
        "reading at computed places",
        "slices, or a convolution with constant weights",
        f"{_HOLLANCE}; {_BUILDER}",
    ),
    Rule(
        "scatter",
        ("scatter", "scatter_add", "index_put", "index_add", "masked_fill", "masked_scatter"),
        (GPU, ANE, NPU),
        "writing at computed places",
        "multiplication with a mask",
        f"{_ANE_GUIDE}; {_BUILDER}",
    ),
    Rule(
        "data-dependent",
        ("nonzero", "sort", "topk", "argsort", "cumsum", "unique", "bincount", "where"),
        (GPU, NPU),
        "order or size depends on the values",
        "arithmetic on the whole tensor",
        f"{_BUILDER}; {_NNAPI}",
    ),
    Rule(
        "bicubic",
        ("upsample_bicubic2d", "_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa"),
        (GPU, ANE, NPU),
        "there is no such operator; it becomes gathers",
        "bilinear without antialiasing, or a depthwise convolution",
        f"{_BUILDER} (RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR only); {_NNAPI}",
    ),
    Rule(
        "big-transposed-convolution",
        ("conv_transpose2d",),
        (CPU, NPU),
        "twice the time of a 1x1 convolution and a shuffle",
        "rid_core's ShuffleUp",
        "measured in LiteRT 2.3 with XNNPACK: 37.8 ms against 17.7 ms for a kernel of 8",
        lambda site: max(site.kernel, default=0) > 4,
    ),
    Rule(
        "dilation",
        ("conv2d", "convolution"),
        (ANE,),
        "dilated convolutions leave it on some chips",
        "a larger kernel, or the same at half the resolution",
        f"{_HOLLANCE} (newer chips take them: {_ANE_GUIDE})",
        lambda site: max(site.dilation, default=1) > 1,
    ),
    Rule(
        "large-kernel",
        ("conv2d", "convolution", "conv_transpose2d"),
        (ANE, NPU),
        "a kernel of more than 16 exceeds limits of some chips",
        "two smaller kernels, or the same at half the resolution",
        f"{_ANE_GUIDE} (limits by chip)",
        lambda site: max(site.kernel, default=0) > 16,
    ),
    Rule(
        "three-dimensional",
        ("conv3d", "conv_transpose3d", "avg_pool3d", "max_pool3d", "upsample_trilinear3d"),
        (GPU, ANE, NPU),
        "volumes fail on the Neural Engine and have no operator in NNAPI",
        "two-dimensional layers",
        f"{_ANE_GUIDE}; {_NNAPI}",
    ),
    Rule(
        "recurrent",
        ("lstm", "gru", "rnn_tanh", "rnn_relu"),
        (GPU, ANE),
        "recurrent cells run step by step on the CPU",
        "convolutions",
        f"{_HOLLANCE}; {_ANE_GUIDE}",
    ),
    Rule(
        "replicate-pad",
        ("pad", "replication_pad2d"),
        (GPU, ANE, NPU),
        "repeating the edge becomes gathers or slices and joins",
        "zero padding inside the convolution",
        f"{_BUILDER}; {_NNAPI}",
        lambda site: site.op != "pad" or site.mode == "replicate",
    ),
    Rule(
        "reflect-pad",
        ("pad", "reflection_pad2d"),
        (NPU,),
        "MIRROR_PAD is new in NNAPI's level 7",
        "zero padding inside the convolution",
        _NNAPI,
        lambda site: site.op != "pad" or site.mode == "reflect",
    ),
    Rule(
        "flip-and-roll",
        ("flip", "roll"),
        (GPU, NPU),
        "reversing an axis is not among the operators they take",
        "weights that are flipped once and for all",
        f"{_BUILDER}; {_NNAPI} (REVERSE is new in level 7)",
    ),
    Rule(
        "fourier",
        ("fft_rfft2", "fft_irfft2", "fft_fft2", "fft_ifft2", "stft"),
        (GPU, ANE, NPU),
        "there is no such operator",
        "convolutions",
        f"{_BUILDER}; {_NNAPI}",
    ),
)
