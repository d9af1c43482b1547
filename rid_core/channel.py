"""The channel: what happens to a photo between being published and being trained on.

Each step is a function of an image batch, differentiable and size-preserving. Training samples one
per image, so that the perturbation learns to survive it; evaluation runs the same list with fixed
settings and the real codec where there is one.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from rid_core.errors import RidError

Step = Callable[[Tensor], Tensor]
"""[B, 3, H, W] RGB in [0, 1] -> same shape and range."""

STEPS = ("identity", "jpeg", "resize", "blur", "noise")


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


def soft_jpeg(image: Tensor, quality: float) -> Tensor:
    """JPEG with 4:2:0 chroma and soft rounding, by kornia; H and W multiples of 16."""
    from kornia.enhance import jpeg_codec_differentiable

    setting = torch.full((image.shape[0],), float(quality), device=image.device)
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


def crop_and_back(image: Tensor, share: float) -> Tensor:
    """Keep the middle ``share`` of height and width, scaled back to the old size, in 8 bits."""
    height, width = image.shape[2:]
    rows, columns = max(1, round(height * share)), max(1, round(width * share))
    top, left = (height - rows) // 2, (width - columns) // 2
    middle = image[:, :, top : top + rows, left : left + columns]
    back = F.interpolate(
        middle, (height, width), mode="bilinear", antialias=True, align_corners=False
    )
    return round_to_levels(back.clamp(0, 1))


def gamma(image: Tensor, exponent: float) -> Tensor:
    """Brightness curve ``image ** exponent``, in 8 bits: above 1 darker, below 1 brighter."""
    return round_to_levels(image.clamp(0, 1) ** exponent)


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


def sample_step(weights: Mapping[str, float], rng: np.random.Generator) -> tuple[str, Step]:
    """Draw one differentiable step.

    Args:
        weights: relative frequency by name, of :data:`STEPS`.
        rng: source of chance; everything random is drawn before this returns, so that the step
            does the same to a clean and to a protected image.

    Raises:
        RidError: an unknown name, or no positive weight.
    """
    unknown = set(weights) - set(STEPS)
    total = sum(weights.values())
    if unknown or total <= 0 or min(weights.values()) < 0:
        raise RidError(f"channel weights must be positive, by name, of {', '.join(STEPS)}")
    names = sorted(weights)
    name = str(rng.choice(names, p=[weights[n] / total for n in names]))
    if name == "jpeg":
        quality = float(rng.uniform(50, 95))
        return name, lambda image: soft_jpeg(image, quality)
    if name == "resize":
        # Most draws shrink, as uploads and training scripts do; the others enlarge.
        scale = float(rng.uniform(0.4, 0.9) if rng.random() < 0.75 else rng.uniform(1.1, 2))
        mode = "bilinear" if rng.random() < 0.5 else "bicubic"
        return name, lambda image: resize_and_back(image, scale, mode)
    if name == "blur":
        sigma = float(rng.uniform(0.4, 1.5))
        return name, lambda image: blur(image, sigma)
    if name == "noise":
        deviation, seed = float(rng.uniform(1, 6)), int(rng.integers(2**31))

        # One draw for all images of the batch: what is compared sees the same noise.
        return name, lambda image: grain(image, deviation, seed)
    return name, lambda image: image
