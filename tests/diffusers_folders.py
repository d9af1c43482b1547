"""Tiny random checkpoints of every family in diffusers' layout, made with its own classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

WORDS = ["<|startoftext|>", "<|endoftext|>", "a</w>", "photo</w>", "of</w>", "person</w>", "!"]


def save_clip_tokenizer(folder: Path) -> None:
    """A CLIP tokenizer of a few words."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True)
    letters = [chr(c) for c in range(97, 123)]
    words = WORDS + letters + [f"{letter}</w>" for letter in letters]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(words))}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=8)
    tokenizer.save_pretrained(folder)


def save_t5_tokenizer(folder: Path) -> None:
    """A T5 tokenizer of a few words."""
    from tokenizers import Tokenizer
    from tokenizers.models import Unigram
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("▁a", -1.0), ("▁photo", -2.0)]
    core = Tokenizer(Unigram(pieces, unk_id=2))
    core.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
        model_max_length=12,
    )  # fmt: skip
    tokenizer.save_pretrained(folder)


def _clip(projection: bool, hidden: int = 16) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=64, hidden_size=hidden, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=8, projection_dim=hidden,
        bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)


def _t5(hidden: int) -> Any:
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(vocab_size=8, d_model=hidden, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    )


def _vae(latent: int, **settings: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 16, 16, 16), layers_per_block=1, latent_channels=latent,
        norm_num_groups=4, down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, sample_size=64, **settings,
    )  # fmt: skip


def _unet(**settings: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(**{
        "sample_size": 8, "block_out_channels": (8, 16), "layers_per_block": 1,
        "norm_num_groups": 4, "cross_attention_dim": 16, "attention_head_dim": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), **settings,
    })  # fmt: skip


def _save(folder: Path, pipeline: str, parts: dict[str, Any]) -> Path:
    """Write the parts and the index that names them."""
    index: dict[str, Any] = {"_class_name": pipeline, "_diffusers_version": "0.36.0"}
    for name, part in parts.items():
        if part in ("clip", "t5"):
            (save_clip_tokenizer if part == "clip" else save_t5_tokenizer)(folder / name)
            index[name] = ["transformers", "CLIPTokenizer" if part == "clip" else "T5TokenizerFast"]
        elif part is None:
            index[name] = [None, None]
        else:
            part.save_pretrained(folder / name)
            index[name] = [type(part).__module__.split(".")[0], type(part).__name__]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def save_sd(folder: Path, seed: int = 0, prediction: str = "epsilon", **unet: Any) -> Path:
    """Stable Diffusion 1 or 2."""
    from diffusers import PNDMScheduler

    torch.manual_seed(seed)
    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
        prediction_type="epsilon" if prediction not in ("epsilon", "v_prediction") else prediction,
    )  # fmt: skip
    saved = _save(folder, "StableDiffusionPipeline", {
        "vae": _vae(4), "unet": _unet(**unet), "scheduler": scheduler,
        "text_encoder": _clip(projection=False), "tokenizer": "clip",
    })  # fmt: skip
    if prediction not in ("epsilon", "v_prediction"):
        path = folder / "scheduler" / "scheduler_config.json"
        config = json.loads(path.read_text())
        path.write_text(json.dumps({**config, "prediction_type": prediction}))
    return saved


def save_sdxl(folder: Path) -> Path:
    """Stable Diffusion XL."""
    from diffusers import EulerDiscreteScheduler

    torch.manual_seed(1)
    unet = _unet(
        cross_attention_dim=32, addition_embed_type="text_time", addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + 16,
    )  # fmt: skip
    return _save(folder, "StableDiffusionXLPipeline", {
        "vae": _vae(4, force_upcast=True), "unet": unet,
        "scheduler": EulerDiscreteScheduler(beta_schedule="scaled_linear"),
        "text_encoder": _clip(projection=False), "tokenizer": "clip",
        "text_encoder_2": _clip(projection=True), "tokenizer_2": "clip",
    })  # fmt: skip


def save_sd3(folder: Path, t5: bool = True) -> Path:
    """Stable Diffusion 3."""
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel

    torch.manual_seed(2)
    transformer = SD3Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=8, num_layers=1, attention_head_dim=8,
        num_attention_heads=2, joint_attention_dim=40, caption_projection_dim=16,
        pooled_projection_dim=32, out_channels=8, pos_embed_max_size=16,
    )  # fmt: skip
    return _save(folder, "StableDiffusion3Pipeline", {
        "vae": _vae(8, shift_factor=0.06, scaling_factor=1.5, use_quant_conv=False),
        "transformer": transformer, "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
        "text_encoder": _clip(projection=True), "tokenizer": "clip",
        "text_encoder_2": _clip(projection=True), "tokenizer_2": "clip",
        "text_encoder_3": _t5(40) if t5 else None, "tokenizer_3": "t5" if t5 else None,
    })  # fmt: skip


def save_flux(folder: Path) -> Path:
    """FLUX.1."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel

    torch.manual_seed(3)
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=24, pooled_projection_dim=16,
        guidance_embeds=True, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    return _save(folder, "FluxPipeline", {
        "vae": _vae(4, shift_factor=0.1, scaling_factor=0.36, use_quant_conv=False),
        "transformer": transformer,
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        "text_encoder": _clip(projection=False), "tokenizer": "clip",
        "text_encoder_2": _t5(24), "tokenizer_2": "t5",
    })  # fmt: skip


def save_tiny_autoencoder(folder: Path) -> Path:
    """TAESD in diffusers' layout."""
    from diffusers import AutoencoderTiny

    torch.manual_seed(4)
    AutoencoderTiny(
        encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4,
        num_encoder_blocks=(1, 3, 3, 3), num_decoder_blocks=(3, 3, 3, 1), latent_channels=4,
    ).save_pretrained(folder)  # fmt: skip
    return folder
