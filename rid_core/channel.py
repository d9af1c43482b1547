"""The channel: what happens to a photo between being published and being trained on.

Each step is a function of an image batch, differentiable and size-preserving. Training samples one
per image, so that the perturbation learns to survive it; evaluation runs the same list with fixed
settings and the real codec where there is one.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from rid_core.errors import RidError

Step = Callable[[Tensor], Tensor]
"""[B, 3, H, W] RGB in [0, 1] -> same shape and range."""

_BLOCK = 16  # of JPEG with 4:2:0 chroma


def round_to_levels(image: Tensor, dither: Tensor | None = None) -> Tensor:
    """Round to 8 bits as a saved file does; the gradient passes straight through.

    Args:
        image: [B, 3, H, W] in [0, 1].
        dither: offsets in levels, in [-0.5, 0.5], added before rounding. A perturbation of less
            than half a level, such as an untrained network's, would otherwise vanish and with it
            every gradient.
    """
    levels = image * 255 if dither is None else image * 255 + dither
    return image + ((levels.round() / 255).clamp(0, 1) - image).detach()


def soft_jpeg(image: Tensor, quality: float | Sequence[float]) -> Tensor:
    """JPEG with 4:2:0 chroma and soft rounding, by kornia.

    Args:
        image: [B, 3, H, W] in [0, 1], H and W multiples of 16.
        quality: 1 to 100, one for all or one of each.
    """
    from kornia.enhance import jpeg_codec_differentiable

    each = quality if isinstance(quality, Sequence) else [quality] * len(image)
    setting = torch.tensor(each, dtype=torch.float32, device=image.device)
    coded: Tensor = jpeg_codec_differentiable(image, setting)
    return coded.clamp(0, 1)


def real_jpeg(image: Tensor, quality: int) -> Tensor:
    """JPEG by libjpeg as Pillow saves it (4:2:0 chroma); no gradient."""
    return _coded(image, "JPEG", quality)


def real_webp(image: Tensor, quality: int) -> Tensor:
    """Lossy WebP by libwebp; no gradient."""
    return _coded(image, "WEBP", quality)


def _coded(image: Tensor, kind: str, quality: int) -> Tensor:
    """Written to a file of Pillow's format ``kind`` and read back."""

    def code(one: Tensor) -> Tensor:
        array = (one.permute(1, 2, 0) * 255).round().clamp(0, 255).byte().cpu().numpy()
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, kind, quality=quality)
        decoded = np.asarray(Image.open(buffer).convert("RGB"), np.float32) / 255
        return torch.from_numpy(decoded).permute(2, 0, 1)

    return torch.stack([code(one) for one in image]).to(image)


def resize_and_back(image: Tensor, scale: float, mode: str = "bilinear") -> Tensor:
    """Resize by ``scale`` with an antialiasing filter, 8-bit rounding, and back to the old size."""
    height, width = image.shape[2:]
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    small = F.interpolate(image, size, mode=mode, antialias=True, align_corners=False)
    small = round_to_levels(small.clamp(0, 1))
    back = F.interpolate(small, (height, width), mode=mode, antialias=True, align_corners=False)
    return back.clamp(0, 1)


def blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur; ``sigma`` in pixels, reflected borders."""
    radius = max(1, math.ceil(3 * sigma))
    offset = torch.arange(-radius, radius + 1, device=image.device, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (offset / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(image.shape[1], 1, 1, -1)
    padded = F.pad(image, (radius,) * 4, mode="reflect")
    across = F.conv2d(padded, kernel, groups=image.shape[1])
    return F.conv2d(across, kernel.transpose(2, 3), groups=image.shape[1])


def soft_webp(image: Tensor, quality: float, down: int, across: int) -> Tensor:
    """What lossy WebP does, roughly: transform coding with 4:2:0 chroma, then a deblocking filter.

    VP8 predicts a block from its neighbours and codes the rest, so that its errors do not lie on
    JPEG's grid; the grid is moved here.

    Args:
        image: [B, 3, H, W] in [0, 1], H and W multiples of 16.
        quality: of the JPEG that stands in for the transform.
        down: rows by which the grid is moved, 0 to 15.
        across: columns.
    """
    height, width = image.shape[2:]
    margins = (across, _BLOCK - across, down, _BLOCK - down)
    coded = soft_jpeg(F.pad(image, margins, mode="reflect"), quality)
    return blur(coded, 0.4)[:, :, down : down + height, across : across + width]


def crop_and_zoom(image: Tensor, share: float, down: float = 0.5, across: float = 0.5) -> Tensor:
    """Cut a window out and scale it to the old size, in 8 bits.

    Args:
        image: [B, 3, H, W] in [0, 1].
        share: of height and width that is kept, in (0, 1].
        down: where the window lies, from 0, at the top, to 1; by default in the middle.
        across: from 0, at the left, to 1.
    """
    height, width = image.shape[2:]
    rows, columns = max(1, round(height * share)), max(1, round(width * share))
    top, left = round((height - rows) * down), round((width - columns) * across)
    window = image[:, :, top : top + rows, left : left + columns]
    zoomed = F.interpolate(window, (height, width), mode="bicubic", align_corners=False)
    return round_to_levels(zoomed.clamp(0, 1))


def gamma(image: Tensor, exponent: float) -> Tensor:
    """Tone curve ``image ** exponent``, in 8 bits: above 1 darker, below 1 brighter."""
    return round_to_levels(image.clamp_min(1e-4) ** exponent)


def grain(image: Tensor, levels: float, seed: int = 0) -> Tensor:
    """Gaussian noise of a deviation in 8-bit levels; the same for every image of one size."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(image.shape[1:], generator=generator).to(image)
    return (image + levels / 255 * noise).clamp(0, 1)


def messenger(image: Tensor, long_side: int = 1600, quality: int = 75) -> Tensor:
    """A photo sent by a messenger: ``long_side`` pixels along its long side, JPEG, and back.

    A picture smaller than that stands for a large photo that was protected at the picture's scale:
    it is enlarged, as the perturbation of a large photo is, where a messenger would not do so.
    """
    height, width = image.shape[2:]
    scale = long_side / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    sent = F.interpolate(image, size, mode="bilinear", antialias=True, align_corners=False)
    sent = real_jpeg(sent.clamp(0, 1), quality)
    back = F.interpolate(sent, (height, width), mode="bilinear", antialias=True,
                         align_corners=False)  # fmt: skip
    return round_to_levels(back.clamp(0, 1))


Settings = tuple[float | int | str, ...]
"""What is drawn for one image; equal settings do the same."""


@dataclass(frozen=True)
class _Kind:
    """A step of the channel.

    Attributes:
        draw: settings of one image.
        apply: does to each image, [B, 3, H, W], what its settings say.
    """

    draw: Callable[[np.random.Generator], Settings]
    apply: Callable[[Tensor, Sequence[Settings]], Tensor]


def _one_by_one(step: Callable[..., Tensor]) -> Callable[[Tensor, Sequence[Settings]], Tensor]:
    """``step(images, *settings)``, called once for all images of equal settings."""

    def apply(image: Tensor, settings: Sequence[Settings]) -> Tensor:
        done: dict[int, Tensor] = {}
        for setting in dict.fromkeys(settings):
            mine = [number for number, other in enumerate(settings) if other == setting]
            done.update(zip(mine, step(image[mine], *setting), strict=True))
        return torch.stack([done[number] for number in range(len(image))])

    return apply


def _draw_webp(rng: np.random.Generator) -> Settings:
    return float(rng.uniform(50, 90)), int(rng.integers(_BLOCK)), int(rng.integers(_BLOCK))


def _draw_resize(rng: np.random.Generator) -> Settings:
    # Most draws shrink, as uploads and training scripts do; the others enlarge.
    scale = float(rng.uniform(0.4, 0.9) if rng.random() < 0.75 else rng.uniform(1.1, 2))
    return scale, "bilinear" if rng.random() < 0.5 else "bicubic"


def _draw_crop(rng: np.random.Generator) -> Settings:
    return float(rng.uniform(0.8, 1)), float(rng.random()), float(rng.random())


_KINDS = {
    "identity": _Kind(lambda rng: (), lambda image, settings: image),
    "jpeg": _Kind(
        lambda rng: (float(rng.uniform(50, 95)),),
        # All at once: one call is hundreds of small kernels, which a GPU is slow to start.
        lambda image, settings: soft_jpeg(image, [float(quality) for (quality,) in settings]),
    ),
    "webp": _Kind(_draw_webp, _one_by_one(soft_webp)),
    "resize": _Kind(_draw_resize, _one_by_one(resize_and_back)),
    "crop": _Kind(_draw_crop, _one_by_one(crop_and_zoom)),
    "blur": _Kind(lambda rng: (float(rng.uniform(0.4, 1.5)),), _one_by_one(blur)),
    "noise": _Kind(
        lambda rng: (float(rng.uniform(1, 6)), int(rng.integers(2**31))),
        _one_by_one(grain),
    ),
    "gamma": _Kind(lambda rng: (float(np.exp(rng.uniform(-0.25, 0.25))),), _one_by_one(gamma)),
}

STEPS = tuple(_KINDS)
"""Names of the differentiable steps."""


@dataclass(frozen=True)
class Draw:
    """A step with everything that is random about it; call it on images.

    Attributes:
        name: of :data:`STEPS`.
        settings: what was drawn.
    """

    name: str
    settings: Settings

    def __call__(self, image: Tensor) -> Tensor:
        """[B, 3, H, W] RGB in [0, 1] -> same shape and range, with gradient."""
        return pass_through([self] * len(image), image)


def pass_through(draws: Sequence[Draw], image: Tensor) -> Tensor:
    """Send each image, [B, 3, H, W] in [0, 1], through a step of its own."""
    done: dict[int, Tensor] = {}
    for name in dict.fromkeys(draw.name for draw in draws):
        mine = [number for number, draw in enumerate(draws) if draw.name == name]
        results = _KINDS[name].apply(image[mine], [draws[number].settings for number in mine])
        done.update(zip(mine, results, strict=True))
    return torch.stack([done[number] for number in range(len(image))])


def sample_step(weights: Mapping[str, float], rng: np.random.Generator) -> Draw:
    """Draw one differentiable step.

    Args:
        weights: relative frequency by name, of :data:`STEPS`.
        rng: of everything random, all of which is drawn before this returns, so that the step does
            the same to a clean and to a protected image.

    Raises:
        RidError: an unknown name, or no positive weight.
    """
    unknown = set(weights) - set(STEPS)
    total = sum(weights.values())
    if unknown or total <= 0 or min(weights.values()) < 0:
        raise RidError(f"channel weights must be positive, by name, of {', '.join(STEPS)}")
    names = sorted(weights)
    name = str(rng.choice(names, p=[weights[n] / total for n in names]))
    return Draw(name, _KINDS[name].draw(rng))
