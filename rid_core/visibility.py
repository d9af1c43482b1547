"""How visible a change of a photo is, differentiable: a price in training, a figure in evaluation.

Two published measures, and one of ours for what neither of them sees:

- :class:`JOD`, by ColorVideoVDP (Mantiuk et al., arXiv 2401.11485): 10 is no visible difference, a
  JOD less is what 75 % of observers prefer the other for. It knows how large a pixel is.
- :func:`ssimulacra2` (Sneyers, Cloudinary): 90 is not to be told apart side by side, 70 high
  quality, 50 medium, 30 low. It stands for the same photo at any size.
- :func:`colour_change`: how far the blurred colour moved. JOD does not see a cast of the whole
  picture, and a network that is trained with JOD alone finds that out.

Neither of the first two knows our networks, and both have blind spots; FLIP is kept out of training
so that something independent is left to judge by.
"""

from __future__ import annotations

import sys
import types
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rid_core.errors import MissingExtraError, RidError

if TYPE_CHECKING:
    from collections.abc import Iterator

PIXELS_PER_DEGREE = 38.0
"""Of the 512 scale: a photo that fills a phone's width, seen from 30 cm."""

ENLARGED = PIXELS_PER_DEGREE / 2
"""Of the same photo enlarged twice."""

_DISPLAY = "standard_4k"
"""ColorVideoVDP's photometry: 200 cd/m2 in a room of 250 lux."""

_COLOUR_SCALES = (8, 32)
"""Sides of the squares, in pixels, over which colour is averaged, beside the whole picture."""


class JOD:
    """Quality of a change in just-objectionable differences (JOD), by ColorVideoVDP.

    Args:
        pixels_per_degree: of visual angle; more is a smaller picture or a more distant eye.

    Raises:
        RidError: ColorVideoVDP (package ``cvvdp``) is not installed; names the pip line.
    """

    def __init__(self, pixels_per_degree: float = PIXELS_PER_DEGREE) -> None:
        self.pixels_per_degree = pixels_per_degree
        self._metrics: dict[torch.device, Any] = {}
        _cvvdp()

    def __call__(self, clean: Tensor, changed: Tensor) -> Tensor:
        """Differentiable.

        Args:
            clean: [B, 3, H, W] sRGB in [0, 1], sides of 32 or more.
            changed: the same photos, changed; carries the gradient.

        Returns:
            [B], at most 10, which is no visible difference.

        Raises:
            RidError: pictures of different sizes.
        """
        _check(clean, changed)
        loss: Tensor = self._metric(changed.device).loss(
            changed.float().contiguous(), clean.float().contiguous(), dim_order="BCHW"
        )
        return 10 - loss.reshape(len(clean))

    def _metric(self, device: torch.device) -> Any:
        if device not in self._metrics:
            cvvdp = _cvvdp()
            geometry = _geometry(cvvdp, self.pixels_per_degree)
            self._metrics[device] = cvvdp.cvvdp(
                display_name=_DISPLAY, display_geometry=geometry, quiet=True, device=device
            )
        return self._metrics[device]


def _geometry(cvvdp: Any, pixels_per_degree: float) -> Any:
    class Fixed(cvvdp.vvdp_display_geometry):  # type: ignore[misc]
        """A display of which only the size of a pixel is known, which is all that is asked."""

        def __init__(self) -> None:
            self.resolution = (512, 512)

        def get_ppd(self, eccentricity: Any = None) -> float:
            return pixels_per_degree

    return Fixed()


def _cvvdp() -> Any:
    """The package, imported."""
    # It is imported with the folder of its modules put on the path, which stays its business.
    with _torchvision():
        try:
            import pycvvdp
        except ModuleNotFoundError as error:
            if error.name and error.name != "pycvvdp":
                raise MissingExtraError(error.name, "train") from None
            raise RidError(
                "ColorVideoVDP, which measures JOD, is not installed; get it with: "
                "pip install --no-deps cvvdp"
            ) from None
    return pycvvdp


@contextmanager
def _torchvision() -> Iterator[None]:
    """Where torchvision cannot be imported, a stand-in for the one class that cvvdp uses of it.

    torchvision must have been built for the very torch that is installed, and many builds of torch
    for CPUs have none that fits.
    """
    if "pycvvdp" in sys.modules:
        yield
        return
    try:
        import torchvision  # noqa: F401
    except Exception:  # noqa: BLE001 - a torchvision of another build raises what it likes
        names = ("torchvision", "torchvision.transforms", "torchvision.ops")
        package, transforms, ops = (types.ModuleType(name) for name in names)
        package.__path__ = []
        transforms.GaussianBlur = _GaussianBlur  # type: ignore[attr-defined]
        ops.MLP = nn.Module  # type: ignore[attr-defined] # of a learned variant, never built here
        stand_in = dict(zip(names, (package, transforms, ops), strict=True))
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        sys.modules.update(stand_in)
        try:
            yield
        finally:
            for name in names:
                sys.modules.pop(name, None)
    else:
        yield


class _GaussianBlur(nn.Module):
    """torchvision's class of this name, as far as ColorVideoVDP uses it: one sigma."""

    def __init__(self, kernel_size: int, sigma: float) -> None:
        super().__init__()
        self.taps = _gaussian(kernel_size // 2, float(sigma))

    def forward(self, x: Tensor) -> Tensor:
        """Blur the last two dimensions, reflected at the borders."""
        reach = len(self.taps) // 2
        mode = "reflect" if min(x.shape[-2:]) > reach else "replicate"
        planes = x.reshape(-1, 1, *x.shape[-2:])
        padded = F.pad(planes, (reach,) * 4, mode=mode)
        return _separable(padded, self.taps.to(x)).reshape(x.shape)


def _gaussian(radius: int, sigma: float) -> Tensor:
    """Taps of a Gaussian of 2 * radius + 1 values whose sum is 1."""
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    return taps / taps.sum()


def _separable(padded: Tensor, taps: Tensor) -> Tensor:
    """Convolve planes [N, 1, H, W] with ``taps`` down and across; the borders are used up."""
    return F.conv2d(F.conv2d(padded, taps.view(1, 1, -1, 1)), taps.view(1, 1, 1, -1))


def _check(clean: Tensor, changed: Tensor) -> None:
    if clean.shape != changed.shape:
        sizes = " and ".join("x".join(map(str, t.shape[-2:])) for t in (clean, changed))
        raise RidError(f"pictures of one size are needed to see a difference, not {sizes}")


def psnr(clean: Tensor, changed: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of images [B, 3, H, W] in [0, 1], dB, [B]; 100 for no change."""
    error = (changed - clean).square().flatten(1).mean(dim=1)
    return -10 * error.clamp_min(1e-10).log10()


def colour_change(clean: Tensor, changed: Tensor) -> Tensor:
    """Root mean square change of the blurred colour, in 8-bit levels, mean over scales, [B].

    The scales are averages over squares of 8 and 32 pixels and over the whole picture.

    Args:
        clean: [B, 3, H, W] in [0, 1], sides of 32 or more.
        changed: the same photos, changed; carries the gradient.

    Raises:
        RidError: pictures of different sizes.
    """
    _check(clean, changed)
    change = (changed - clean) * 255
    blurred = [F.avg_pool2d(change, side) for side in _COLOUR_SCALES]
    blurred.append(change.mean(dim=(2, 3), keepdim=True))
    squares = [scale.square().mean(dim=(1, 2, 3)) for scale in blurred]
    return torch.stack([(square + 1e-6).sqrt() for square in squares]).mean(dim=0)


def ssimulacra2(clean: Tensor, changed: Tensor) -> Tensor:
    """SSIMULACRA2 of each photo, [B]: 100 for no change, 70 high quality, below 0 very low.

    Written anew on tensors, differentiable, after github.com/cloudinary/ssimulacra2: structural
    similarity and the gain and loss of edges in XYB at six scales, pooled with the mean and the
    fourth norm, 108 fitted weights. Sides of less than 256 have fewer scales, and their score is a
    price rather than the published figure.

    Args:
        clean: [B, 3, H, W] sRGB in [0, 1], sides of 8 or more.
        changed: the same photos, changed; carries the gradient.

    Raises:
        RidError: pictures of different sizes.
    """
    _check(clean, changed)
    first, second = _linear(clean.float()), _linear(changed.float())
    weights = torch.tensor(_WEIGHTS, device=clean.device).view(3, 6, 2, 3)
    total = clean.new_zeros(len(clean))
    for scale in range(_SCALES):
        if min(first.shape[2:]) < 8:
            break
        features = _features(_positive_xyb(first), _positive_xyb(second))
        total = total + (features * weights[:, scale]).sum(dim=(1, 2, 3))
        first, second = _halved(first), _halved(second)
    total = 0.9562382616834844 * total
    total = (
        2.326765642916932 * total
        - 0.020884521182843837 * total.square()
        + 6.248496625763138e-05 * total**3
    )
    # At no change the power has no gradient: from there on the score runs straight.
    return 100 - 10 * (total.clamp_min(0) + 1e-6) ** 0.6276336467831387


_SCALES = 6
_RADIUS, _SIGMA = 5, 1.5
_ABSORBANCE = (
    (0.30, 0.622, 0.078),
    (0.23, 0.692, 0.078),
    (0.24342268924547819, 0.20476744424496821, 0.55180986650955360),
)
_BIAS = 0.0037930732552754493
_C2 = 0.0009


def _linear(image: Tensor) -> Tensor:
    """Linear light of sRGB values."""
    curve = ((image.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(image <= 0.04045, image / 12.92, curve)


def _positive_xyb(linear: Tensor) -> Tensor:
    """Linear RGB to XYB, scaled and moved so that all of it is positive."""
    matrix = torch.tensor(_ABSORBANCE, device=linear.device)
    mixed = torch.einsum("ij,bjhw->bihw", matrix, linear) + _BIAS
    root = mixed.clamp_min(1e-9) ** (1 / 3) - _BIAS ** (1 / 3)
    x, y = 0.5 * (root[:, 0] - root[:, 1]), 0.5 * (root[:, 0] + root[:, 1])
    return torch.stack([14 * x + 0.42, y + 0.01, root[:, 2] - y + 0.55], dim=1)


def _blurred(planes: Tensor) -> Tensor:
    """Blur [N, C, H, W]; beyond the left and the right border lies zero, the others mirror."""
    above, below = planes[..., :_RADIUS, :].flip(-2), planes[..., -_RADIUS:, :].flip(-2)
    padded = F.pad(torch.cat([above, planes, below], dim=-2), (_RADIUS, _RADIUS))
    flat = padded.reshape(-1, 1, *padded.shape[2:])
    return _separable(flat, _gaussian(_RADIUS, _SIGMA).to(planes)).reshape(planes.shape)


def _features(first: Tensor, second: Tensor) -> Tensor:
    """Of XYB pictures [B, 3, H, W]: the six measures of each channel, [B, 3, 2, 3].

    The last two dimensions are the norm (mean, fourth) and the measure (dissimilarity, edges
    that were added, edges that were lost).
    """
    with torch.no_grad():
        mean1, square1 = _blurred(torch.cat([first, first.square()], dim=1)).chunk(2, dim=1)
    mean2, square2, product = _blurred(
        torch.cat([second, second.square(), first * second], dim=1)
    ).chunk(3, dim=1)
    means = 1 - (mean1 - mean2).square()
    covariance = 2 * (product - mean1 * mean2) + _C2
    variance = (square1 - mean1.square()) + (square2 - mean2.square()) + _C2
    dissimilarity = (1 - means * covariance / variance).clamp_min(0)
    edges = (1 + (second - mean2).abs()) / (1 + (first - mean1).abs()) - 1
    maps = torch.stack([dissimilarity, edges.clamp_min(0), (-edges).clamp_min(0)], dim=2)
    fourth = maps.square().square().mean(dim=(3, 4)).clamp_min(1e-24) ** 0.25
    return torch.stack([maps.mean(dim=(3, 4)), fourth], dim=2)


def _halved(linear: Tensor) -> Tensor:
    """Mean over squares of two pixels; what is left over at the borders is averaged alone."""
    return F.avg_pool2d(linear, 2, ceil_mode=True, count_include_pad=False)


# By channel (X, Y, B), scale, norm and measure; fitted by SSIMULACRA2's author.
# fmt: off
_WEIGHTS = (
    0.0, 0.0007376606707406586, 0.0,
    0.0, 0.0007793481682867309, 0.0,
    0.0, 0.0004371155730107379, 0.0,
    1.1041726426657346, 0.00066284834129271, 0.00015231632783718752,
    0.0, 0.0016406437456599754, 0.0,
    1.8422455520539298, 11.441172603757666, 0.0,
    0.0007989109436015163, 0.000176816438078653, 0.0,
    1.8787594979546387, 10.94906990605142, 0.0,
    0.0007289346991508072, 0.9677937080626833, 0.0,
    0.00014003424285435884, 0.9981766977854967, 0.00031949755934435053,
    0.0004550992113792063, 0.0, 0.0,
    0.0013648766163243398, 0.0, 0.0,
    0.0, 0.0, 0.0,
    7.466890328078848, 0.0, 17.445833984131262,
    0.0006235601634041466, 0.0, 0.0,
    6.683678146179332, 0.00037724407979611296, 1.027889937768264,
    225.20515300849274, 0.0, 0.0,
    19.213238186143016, 0.0011401524586618361, 0.001237755635509985,
    176.39317598450694, 0.0, 0.0,
    24.43300999870476, 0.28520802612117757, 0.0004485436923833408,
    0.0, 0.0, 0.0,
    34.77906344483772, 44.835625328877896, 0.0,
    0.0, 0.0, 0.0,
    0.0, 0.0, 0.0,
    0.0, 0.0008680556573291698, 0.0,
    0.0, 0.0, 0.0,
    0.0, 0.0005313191874358747, 0.0,
    0.00016533814161379112, 0.0, 0.0,
    0.0, 0.0, 0.0,
    0.0004179171803251336, 0.0017290828234722833, 0.0,
    0.0020827005846636437, 0.0, 0.0,
    8.826982764996862, 23.19243343998926, 0.0,
    95.1080498811086, 0.9863978034400682, 0.9834382792465353,
    0.0012286405048278493, 171.2667255897307, 0.9807858872435379,
    0.0, 0.0, 0.0,
    0.0005130064588990679, 0.0, 0.00010854057858411537,
)
# fmt: on
