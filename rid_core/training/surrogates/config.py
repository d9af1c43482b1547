"""Configuration of the small surrogates that are trained here, by kind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from rid_core.training.config import DataSection
from rid_core.training.settings import ConfigSection, TrainingConfig


class FacesSection(ConfigSection):
    """Photos of faces, brought into one position."""

    folder: Path
    exclude: list[str] = Field(default_factory=list)
    """Glob patterns of names, or of paths below the folder, that are never read."""
    size: int = Field(128, ge=32, multiple_of=8)
    """Side of an aligned face in pixels."""
    align: bool = True
    """Find the landmarks and turn the face by them; else the photo's centre is taken."""
    held_out: int = Field(64, ge=1)
    """Faces, evenly spread, that are measured and never trained on."""
    cache: Path = Path("runs/face-latents")
    """What the base encoder makes of the faces is kept here, for every run that needs it."""


class BaseSection(ConfigSection):
    """The tiny autoencoder on whose latent the small one is built."""

    encoder: Path
    decoder: Path


class NarrowSection(ConfigSection):
    """Size of the small latent, and of the layers that make it."""

    channels: int = Field(8, ge=1)
    hidden: int = Field(96, ge=8)
    depth: int = Field(2, ge=0)
    noise: float = Field(0.05, ge=0)
    """Standard deviation of what is added to the latent in training; a latent's own is 1."""
    picture: float = Field(0.0, ge=0)
    """Weight of the decoded picture's mean absolute error beside the latent's; dear on a CPU."""
    weighed: bool = True
    """Count errors of the latent by how much of them is seen in the picture."""


class LatentAutoencoderConfig(TrainingConfig):
    """``latent-autoencoder``: a smaller latent on top of a tiny autoencoder's."""

    kind: Literal["latent-autoencoder"]
    name: str = "face-autoencoder"
    data: FacesSection
    base: BaseSection
    model: NarrowSection = NarrowSection()  # type: ignore[call-arg]


class DiffusionSection(ConfigSection):
    """A UNet of diffusers, and a small CLIP text encoder that learns beside it."""

    widths: Annotated[list[int], Field(min_length=1)] = Field(default_factory=lambda: [64, 128])
    """Channels of each resolution; all but the first have cross attention."""
    layers: int = Field(1, ge=1)
    """Residual blocks of each resolution."""
    heads: int = Field(4, ge=1)
    groups: int = Field(16, ge=1)
    """Of the normalisation; must divide every width."""
    text_width: int = Field(64, ge=8, multiple_of=4)
    text_layers: int = Field(1, ge=1)
    prompt: str = "a photo of a face"
    drop: float = Field(0.1, ge=0, le=1)
    """How often the prompt is empty, so that samples can be guided."""
    prediction: Literal["epsilon", "v_prediction"] = "v_prediction"

    @model_validator(mode="after")
    def _fits(self) -> DiffusionSection:
        for width in self.widths:
            if width % self.groups or width % self.heads:
                raise ValueError(f"groups and heads must divide every width, also {width}")
        return self


class SamplesSection(ConfigSection):
    """Pictures that are drawn to see what was learned."""

    count: int = Field(16, ge=1)
    """In a preview; four times as many at the end."""
    steps: int = Field(30, ge=1)
    """Of DDIM."""
    guidance: float = Field(1.0, ge=1)
    """Classifier-free: 1 follows the prompt as it was trained."""


class LatentDiffusionConfig(TrainingConfig):
    """``latent-diffusion``: a diffusion model of faces in diffusers' layout."""

    kind: Literal["latent-diffusion"]
    name: str = "face-ldm"
    data: FacesSection
    autoencoder: Path
    """Folder that a run of kind ``latent-autoencoder`` wrote."""
    base: BaseSection
    model: DiffusionSection = DiffusionSection()  # type: ignore[call-arg]
    samples: SamplesSection = SamplesSection()  # type: ignore[call-arg]


class AutoencoderSection(ConfigSection):
    """Layers of a tiny autoencoder: diffusers' ``AutoencoderTiny``."""

    width: int = Field(32, ge=4)
    latent: int = Field(4, ge=1)
    encoder: Annotated[list[int], Field(min_length=2)] = Field(default_factory=lambda: [1, 1, 1, 1])
    """Residual blocks of each resolution, the finest first: n + 1 of them make a stride of 2^n."""
    decoder: int = Field(1, ge=1)
    """Residual blocks of each resolution."""
    activation: Literal["relu", "gelu", "swish", "mish"] = "relu"


class TeacherSection(ConfigSection):
    """An encoder whose latent, or a linear image of it, is imitated."""

    path: Path
    weight: float = Field(1.0, gt=0)


class AutoencoderLossSection(ConfigSection):
    """What an autoencoder is trained for."""

    reconstruction: float = Field(1.0, ge=0)
    """Weight of the mean absolute error of the picture."""
    divergence: float = Field(1e-3, ge=0)
    """Weight of the divergence to a standard normal distribution, with a fixed variance."""
    noise: float = Field(0.1, ge=0)
    """That fixed deviation: what is added to the latent before it is decoded."""


class AutoencoderConfig(TrainingConfig):
    """``autoencoder``: a small autoencoder of pictures, a member or a held-out black box."""

    kind: Literal["autoencoder"]
    name: str
    data: DataSection
    model: AutoencoderSection = AutoencoderSection()  # type: ignore[call-arg]
    teacher: TeacherSection | None = None
    loss: AutoencoderLossSection = AutoencoderLossSection()  # type: ignore[call-arg]

    @model_validator(mode="after")
    def _fits(self) -> AutoencoderConfig:
        if not self.loss.reconstruction and self.teacher is None:
            raise ValueError("loss.reconstruction is 0 and there is no [teacher]: nothing to learn")
        stride = 2 ** (len(self.model.encoder) - 1)
        if self.data.crop % stride:
            raise ValueError(f"data.crop must be a multiple of the stride, {stride}")
        return self
