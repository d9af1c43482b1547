"""The few words that a small text encoder knows, as a tokenizer of CLIP's kind."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

LENGTH = 16
"""Tokens of a prompt, start and end included."""

WORDS = ("a", "photo", "of", "face", "person", "man", "woman", "the", "portrait", "sks")
_START, _END = "<|startoftext|>", "<|endoftext|>"


def save_tokenizer(folder: Path) -> Any:
    """Write the tokenizer's files and open them.

    Words of :data:`WORDS` are a token each; any other is spelled. A token that is added later is
    learned by Textual Inversion as with any CLIP.
    """
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    letters = list(string.ascii_lowercase + string.digits + string.punctuation)
    tokens = [_START, _END, *letters, *[f"{letter}</w>" for letter in letters]]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        # Byte-pair encoding joins two pieces at a time, so every beginning is a token as well.
        pieces = [*word[:-1], f"{word[-1]}</w>"]
        begun = pieces[0]
        for piece in pieces[1:]:
            merges.append((begun, piece))
            begun += piece
    merges = list(dict.fromkeys(merges))
    tokens += [one + other for one, other in merges]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    lines = ["#version: 0.2", *[f"{one} {other}" for one, other in merges]]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    tokenizer = CLIPTokenizer.from_pretrained(
        folder, model_max_length=LENGTH, local_files_only=True, bos_token=_START, eos_token=_END,
        unk_token=_END, pad_token=_END,
    )  # fmt: skip
    tokenizer.save_pretrained(folder)
    return tokenizer
