"""Checkpoints: what is saved comes back to the bit, and nothing else is let in."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import pickle
import resource
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rid_core.checkpoint import (
    ModelCard,
    bundled_checkpoint,
    find_checkpoint,
    load_checkpoint,
    read_card,
    save_checkpoint,
    weights_digest,
)
from rid_core.defenders import Defender, create_defender
from rid_core.errors import RidError

SIZE = {"width": 8, "detail_width": 4}
DIT = {"image_size": 32, "width": 16, "depth": 1, "heads": 2}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small only wait for each other on more threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny(name: str = "rid-n", seed: int = 0) -> Defender:
    torch.manual_seed(seed)
    defender = create_defender(name, **(DIT if name == "rid-dit" else SIZE))
    for parameter in defender.parameters():
        torch.nn.init.normal_(parameter)
    return defender


def card_of(name: str = "rid-n", **fields: Any) -> ModelCard:
    return ModelCard(
        **{"preset": name, "levels": 8, "config": DIT if name == "rid-dit" else SIZE, **fields}
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(path, tiny(), card_of())
    return path


def header_of(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def with_header(path: Path, header: object, body: bytes) -> Path:
    """Write a safetensors file by hand, header and all."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def with_card(path: Path, change: dict[str, Any], drop: tuple[str, ...] = ()) -> Path:
    """The same file with some fields of its card changed or dropped."""
    header, body = header_of(path)
    card = json.loads(header["__metadata__"]["rid"]) | change
    header["__metadata__"]["rid"] = json.dumps({k: v for k, v in card.items() if k not in drop})
    return with_header(path, header, body)


def refused(path: Path, *, also_card: bool = True) -> str:
    """The one line that reading ``path`` is refused with."""
    with pytest.raises(RidError) as caught:
        load_checkpoint(path)
    if also_card:
        with pytest.raises(RidError):
            read_card(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 400
    return message


# Round trips.


@pytest.mark.parametrize("name", ["rid-n", "rid-dit"])
def test_weights_come_back_to_the_bit(tmp_path, name):
    defender = tiny(name)
    save_checkpoint(tmp_path / "a.safetensors", defender, card_of(name))
    loaded, _ = load_checkpoint(tmp_path / "a.safetensors")
    before, after = defender.state_dict(), loaded.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(image), defender.eval()(image))


def test_the_card_comes_back(tmp_path):
    card = card_of(
        surrogates=["taef2"],
        data="portraits, für alle",
        command="rid-train --config a.toml",
        figures={"shift_plain": 1.25, "nested": {"jpeg75": [1, 2.5, None]}},
        licence="CC0-1.0",
        notes='quotes " and\nlines',
        created="2025-01-31",
    )
    save_checkpoint(tmp_path / "a.safetensors", tiny(), card)
    assert read_card(tmp_path / "a.safetensors") == card
    assert load_checkpoint(tmp_path / "a.safetensors")[1] == card


def test_saving_again_writes_the_same_bytes(tmp_path, saved):
    for _ in range(8):  # an order that is not fixed shows by chance only
        save_checkpoint(tmp_path / "again.safetensors", tiny(), card_of())
        assert saved.read_bytes() == (tmp_path / "again.safetensors").read_bytes()


def test_the_file_is_for_others_to_read_as_the_umask_says(tmp_path):
    before = os.umask(0o022)
    try:
        save_checkpoint(tmp_path / "a.safetensors", tiny(), card_of())
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o644


def test_a_lowered_defender_is_saved_as_it_was(tmp_path, saved):
    defender = tiny()
    digest = weights_digest(defender)
    defender.lower("nchw")
    assert weights_digest(defender) == digest
    save_checkpoint(tmp_path / "b.safetensors", defender, card_of())
    assert saved.read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert defender.layout == "nchw"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_load_as_float32(tmp_path, dtype):
    defender = tiny().to(dtype)
    save_checkpoint(tmp_path / "a.safetensors", defender, card_of())
    loaded, _ = load_checkpoint(tmp_path / "a.safetensors")
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, defender.state_dict()[name].float())


def test_digest_sees_one_weight_and_one_name():
    digest = weights_digest(tiny())
    assert digest == weights_digest(tiny())
    assert len(digest) == 64
    defender = tiny()
    with torch.no_grad():
        value = defender.stem.bias[0].item()
        defender.stem.bias[0] = torch.nextafter(torch.tensor(value), torch.tensor(9.0))
    assert weights_digest(defender) != digest
    defender = tiny()
    defender.inner[0], defender.inner[1] = defender.inner[1], defender.inner[0]
    assert weights_digest(defender) != digest


# Saving refuses.


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_broken_weights_are_not_saved(saved, bad):
    before = saved.read_bytes()
    defender = tiny(seed=1)
    with torch.no_grad():
        defender.down.weight[3, 1, 0, 1] = bad
    with pytest.raises(RidError, match=r"not saved: the weights of down\.weight hold NaN"):
        save_checkpoint(saved, defender, card_of())
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_a_card_of_another_network_is_not_saved(saved):
    before = saved.read_bytes()
    with pytest.raises(RidError, match="not saved: the card says rid-n"):
        save_checkpoint(saved, tiny(), card_of(config={}))
    with pytest.raises(RidError, match="no defender is called"):
        save_checkpoint(saved, tiny(), card_of("rid-x", config={}))
    assert saved.read_bytes() == before


def test_a_card_that_is_no_json_is_not_saved(saved):
    before = saved.read_bytes()
    with pytest.raises(RidError, match="no valid JSON"):
        save_checkpoint(saved, tiny(), card_of(figures={"psnr": float("nan")}))
    assert saved.read_bytes() == before


@pytest.mark.parametrize("levels", [0, 300, 7.5])
def test_a_card_has_a_sound_bound(levels):
    with pytest.raises(RidError, match="levels must be"):
        card_of(levels=levels)


def test_a_full_disk_leaves_the_old_file(saved):
    """A limit on file size stands for the disk; the writer is not Python here."""
    before = saved.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(RidError, match="no space left while writing"):
            save_checkpoint(saved, tiny(seed=1), card_of())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_any_other_failure_leaves_the_old_file(saved, monkeypatch):
    from safetensors import SafetensorError

    before = saved.read_bytes()

    def fail(state: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("Error while serializing: something")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(RidError, match=os.strerror(errno.EIO)):
        save_checkpoint(saved, tiny(seed=1), card_of())
    assert saved.read_bytes() == before


# Loading refuses.


def test_missing_file_and_folder(tmp_path):
    assert "No such file" in refused(tmp_path / "none.safetensors")
    assert "cannot be read" in refused(tmp_path)


def test_empty_file(tmp_path):
    path = tmp_path / "a.safetensors"
    path.touch()
    assert "not a safetensors file, or a truncated one" in refused(path)


@pytest.mark.parametrize("cut", [1, 7, 8, 9, 200, -5000, -1])
def test_truncated_file(saved, cut):
    data = saved.read_bytes()
    saved.write_bytes(data[:cut])
    assert "truncated" in refused(saved)


def test_file_with_something_behind(saved):
    saved.write_bytes(saved.read_bytes() + b"\0")
    assert "damaged" in refused(saved)


@pytest.mark.parametrize("length", [0, 1, 2**31, 2**63, 2**64 - 1])
def test_length_of_header_that_lies(saved, length):
    saved.write_bytes(struct.pack("<Q", length) + saved.read_bytes()[8:])
    assert "not a safetensors file" in refused(saved)


@pytest.mark.parametrize(
    "header",
    [
        b"not json at all",
        b"{" * 50,
        b"\xff\xfe\x00\x01",
        b"[" * 100_000 + b"]" * 100_000,
        b"[]",
        b'"rid"',
        b"null",
        b'{"a": 1}',
        b'{"a": {"data_offsets": []}}',
        b'{"a": {"data_offsets": [0, "9"]}}',
        b'{"a": {"dtype": "F32", "shape": [1]}}',
    ],
    ids=lambda header: header[:12],
)
def test_header_that_is_none(tmp_path, header):
    assert "not a safetensors file" in refused(with_header(tmp_path / "a", header, b""))


@pytest.mark.parametrize(
    "metadata", [None, {}, [], "rid", {"rid": None}, {"rid": 5}, {"rid": {"schema": 1}}]
)
def test_file_without_our_card(saved, metadata):
    header, body = header_of(saved)
    header["__metadata__"] = metadata
    assert "no RID checkpoint" in refused(with_header(saved, header, body))


def test_foreign_safetensors(tmp_path):
    path = tmp_path / "lora.safetensors"
    save_file({"lora.down.weight": torch.zeros(4, 4)}, path, metadata={"format": "pt"})
    assert "a safetensors file, but no RID checkpoint (it has no model card)" in refused(path)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "NaN", "[]", '"x"', "{}", "null"])
def test_card_that_is_none(saved, text):
    header, body = header_of(saved)
    header["__metadata__"]["rid"] = text
    assert "its model card is" in refused(with_header(saved, header, body))


@pytest.mark.parametrize("schema", [0, 2, "1", None, 1e9, [1]])
def test_card_of_another_schema(saved, schema):
    message = refused(with_card(saved, {"schema": schema, "version": "9.1.0"}))
    assert f"has schema {schema!r}, this version reads 1; install the rid-defender" in message
    assert "9.1.0" in message


@pytest.mark.parametrize("field", ["preset", "levels"])
def test_card_with_a_field_missing(saved, field):
    assert (
        f"incomplete (ModelCard.__init__() missing 1 required positional argument: '{field}')"
        in (refused(with_card(saved, {}, drop=(field,))))
    )


@pytest.mark.parametrize(
    "change",
    [
        {"preset": ["rid-n"]},
        {"preset": None},
        {"levels": "8"},
        {"levels": 8.5},
        {"levels": True},
        {"levels": 0},
        {"levels": 300},
        {"levels": 10**30},
        {"config": []},
        {"config": None},
        {"surrogates": "taef2"},
        {"figures": [1]},
        {"notes": {"a": 1}},
        {"schema": True},
        {"version": 1},
    ],
    ids=str,
)
def test_card_with_a_field_of_another_kind(saved, change):
    assert "its model card is damaged" in refused(with_card(saved, change))


def test_card_from_the_future_with_more_fields_is_read(saved):
    with_card(saved, {"colour": "blue"})
    assert load_checkpoint(saved)[1] == card_of()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"preset": "rid-x", "config": {}}, "no defender is called 'rid-x'"),
        ({"config": {"depth": 4}}, "no setting 'depth'"),
        ({"config": {"name": "rid-s"}}, "no setting 'name'"),
        ({"config": {"width": "8"}}, "width must be a whole number"),
        ({"config": {"width": 8.0}}, "width must be a whole number"),
        ({"config": {"width": 0}}, "width must be a whole number"),
        ({"config": {"kernel": 4}}, "must be odd"),
        ({"config": {}}, "not the weights of rid-n"),
        ({"config": {**SIZE, "inner_blocks": 3}}, "inner.2.depthwise.weight is missing"),
        ({"config": {**SIZE, "inner_blocks": 1}}, "inner.1.depthwise.bias is unknown"),
        ({"preset": "rid-s", "config": {}}, "not the weights of rid-s: stem.weight is"),
        (
            {"preset": "rid-dit", "config": {}},
            "not the weights of rid-dit: embed.weight is missing",
        ),
        ({"config": {"width": 1000}}, "not the weights of rid-n"),
    ],
    ids=str,
)
def test_card_that_names_another_network(saved, change, message):
    assert message in refused(with_card(saved, change), also_card=False)


def test_a_size_out_of_a_card_allocates_nothing(saved, monkeypatch):
    """A few bytes must not make the reader reserve the 900 MB of a full transformer, or more."""
    built = []
    init = torch.nn.Conv2d.__init__

    def watch(self: torch.nn.Conv2d, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        built.append(self.weight.device.type)

    monkeypatch.setattr(torch.nn.Conv2d, "__init__", watch)
    refused(with_card(saved, {"config": {"width": 1000}}), also_card=False)
    assert set(built) == {"meta"}


@pytest.mark.parametrize("bad", [float("nan"), float("-inf")])
def test_weights_that_are_broken(saved, bad):
    state = load_file(saved)
    state["leave.conv.bias"][2] = bad
    save_file(state, saved, metadata={"rid": card_of().to_json()})
    assert "the weights of leave.conv.bias hold NaN or infinity" in refused(saved, also_card=False)


def test_weights_of_another_kind(saved):
    state = load_file(saved)
    for dtype in (torch.int64, torch.uint8, torch.bool, torch.float8_e4m3fn, torch.float64):
        changed = state | {"stem.bias": state["stem.bias"].to(dtype)}
        save_file(changed, saved, metadata={"rid": card_of().to_json()})
        message = refused(saved, also_card=False)
        assert f"stem.bias is {dtype} [4] instead of float32 [4]" in message


def test_weights_missing_and_to_spare(saved):
    state = load_file(saved)
    fewer = {k: v for k, v in state.items() if k != "enter.weight"}
    save_file(fewer, saved, metadata={"rid": card_of().to_json()})
    assert "enter.weight is missing" in refused(saved, also_card=False)
    save_file(state | {"zzz": torch.zeros(1)}, saved, metadata={"rid": card_of().to_json()})
    assert "zzz is unknown" in refused(saved, also_card=False)


def test_tensors_that_overlap_or_lie_outside(saved):
    header, body = header_of(saved)
    names = [key for key in header if key != "__metadata__"]
    spans = {key: header[key]["data_offsets"] for key in names}
    first = names[0]
    start, end = spans[first]
    last = max(stop for _, stop in spans.values())
    # The last byte still is where the file ends, so only the library's own check can tell.
    for span in (
        [start + 4, end + 4],
        [last - (end - start), last],
        [start, end - 4],
        [end, start],
    ):
        header[first]["data_offsets"] = span
        assert "damaged checkpoint" in refused(with_header(saved, header, body), also_card=False)


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_a_pickle_under_our_suffix_does_not_run(tmp_path):
    planted, path = tmp_path / "planted", tmp_path / "a.safetensors"
    path.write_bytes(pickle.dumps(_Bomb(planted)))
    refused(path)
    torch.save({"stem.weight": _Bomb(planted)}, path)
    refused(path)
    assert not planted.exists()
    pickle.loads(pickle.dumps(_Bomb(planted)))  # it would have
    assert planted.exists()


# Finding.


def test_find_a_file(saved, monkeypatch):
    assert find_checkpoint(saved) == saved
    assert find_checkpoint(str(saved)) == saved
    monkeypatch.chdir(saved.parent)
    assert find_checkpoint("tiny.safetensors") == Path("tiny.safetensors")
    bare = saved.rename(saved.with_suffix(""))
    assert find_checkpoint("tiny") == Path(bare.name)


def test_find_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("none.safetensors", "folder/none", str(tmp_path / "none")):
        with pytest.raises(RidError, match="no such checkpoint"):
            find_checkpoint(name)
    for name in ("rid-x", "", "rid-dit"):
        with pytest.raises(RidError, match=rf"no trained '{name}' comes with the package"):
            find_checkpoint(name)


def test_find_what_is_bundled(tmp_path, monkeypatch):
    (tmp_path / "assets").mkdir()
    save_checkpoint(tmp_path / "assets" / "rid-n.safetensors", tiny(), card_of())
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path)
    assert bundled_checkpoint("rid-n") == tmp_path / "assets" / "rid-n.safetensors"
    # A folder of that name where one happens to stand does not hide it.
    (tmp_path / "work" / "rid-n").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    assert find_checkpoint("rid-n") == bundled_checkpoint("rid-n")
    with pytest.raises(RidError, match=r"\(there are: rid-b, rid-n\)"):
        find_checkpoint("rid-s")


def test_a_card_is_plain_data():
    card = card_of()
    assert ModelCard.from_json(card.to_json(), "here") == card
    with pytest.raises(dataclasses.FrozenInstanceError):
        card.levels = 4  # type: ignore[misc]
