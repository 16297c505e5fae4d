"""Avatar files: what was saved comes back, anything else is refused with a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from portrayal.errors import InputError, MissingFileError
from portrayal.media.overlay import Overlay
from portrayal.motion.template import content_hash
from portrayal.systems.otavatar import animate
from portrayal.systems.otavatar.avatar import OtavatarSource, load_avatar, save_avatar
from portrayal.systems.otavatar.config import Config
from portrayal.systems.otavatar.model import Otavatar
from portrayal.systems.portrait_detail import PortraitDetail
from portrayal.types import FaceParams, Portrait

Contents = tuple[dict[str, Tensor], dict[str, str]]


@pytest.fixture(scope="module")
def model() -> Otavatar:
    torch.manual_seed(0)
    return animate.build(Config.tiny()).eval().requires_grad_(False)


@pytest.fixture
def source(model: Otavatar, portrait: Portrait) -> OtavatarSource:
    """An avatar whose numbers half precision holds."""
    start = animate.encode_source(model, portrait)
    tuned = {name: x.half().float() for name, x in model.generator.drawing_parameters().items()}
    return replace(start, identity=start.identity + 0.5, bias=start.bias + 0.25, tuned=tuned, remark="Said: 0.4.")


@pytest.fixture
def path(tmp_path: Path, model: Otavatar, source: OtavatarSource) -> Path:
    path = tmp_path / "shared" / "me.avatar.safetensors"
    save_avatar(path, model, source)
    return path


def test_an_avatar_comes_back_with_its_portrait(path: Path, model: Otavatar, source: OtavatarSource) -> None:
    back = load_avatar(path, model)
    assert torch.equal(back.identity, source.identity)
    assert torch.equal(back.bias, source.bias)
    assert all(torch.equal(x, source.tuned[name]) for name, x in back.tuned.items())
    assert back.notes() == ("Said: 0.4.",)
    torch.testing.assert_close(back.portrait.image, source.portrait.image, atol=1e-6, rtol=0)
    for field in fields(FaceParams):
        assert torch.equal(getattr(back.portrait.params, field.name), getattr(source.portrait.params, field.name))


def detail_of(model: Otavatar, source: OtavatarSource) -> PortraitDetail | None:
    return animate.detail_of(model, animate.generator_of(model, source), source, Overlay(source.portrait))


def test_somebody_in_between_keeps_what_was_drawn_of_the_photo(
    tmp_path: Path, model: Otavatar, source: OtavatarSource
) -> None:
    """Without it nobody would know what of the photo is detail and what is its person."""
    other = replace(source, identity=source.identity + 1)
    between = animate.interpolate_identity(model, source, other, 0.25)
    assert between.drawn is not None
    assert detail_of(model, between) is not None
    whole = animate.interpolate_identity(model, source, other, 1.0)
    assert detail_of(model, whole) is None
    save_avatar(tmp_path / "between.avatar.safetensors", model, between)
    back = load_avatar(tmp_path / "between.avatar.safetensors", model)
    assert back.gone == 0.25
    assert back.drawn is not None
    torch.testing.assert_close(back.drawn, between.drawn, atol=3e-3, rtol=0)


def test_an_untuned_generator_takes_no_place(
    path: Path, tmp_path: Path, model: Otavatar, source: OtavatarSource
) -> None:
    plain = tmp_path / "plain.avatar.safetensors"
    save_avatar(plain, model, replace(source, tuned={}))
    assert load_avatar(plain, model).tuned == {}
    assert plain.stat().st_size < path.stat().st_size


def test_the_name_and_the_file_must_be_right(
    path: Path, tmp_path: Path, model: Otavatar, source: OtavatarSource
) -> None:
    with pytest.raises(InputError, match=r"me\.safetensors: an avatar must be named \*\.avatar\.safetensors"):
        save_avatar(tmp_path / "me.safetensors", model, source)
    with pytest.raises(MissingFileError, match="does not exist"):
        load_avatar(tmp_path / "nobody.avatar.safetensors", model)
    (tmp_path / "blocked").write_text("a file")
    with pytest.raises(InputError, match="blocked"):
        save_avatar(tmp_path / "blocked" / "me.avatar.safetensors", model, source)


def test_an_avatar_of_another_model_is_refused(path: Path) -> None:
    torch.manual_seed(1)
    with pytest.raises(InputError, match="was made with other weights of otavatar; make it again from its photo"):
        load_avatar(path, animate.build(Config.tiny()))


@pytest.mark.parametrize("damage", [lambda data: data[:-5], lambda data: b"cut off", lambda data: b""])
def test_a_damaged_file_is_refused(path: Path, model: Otavatar, damage: Callable[[bytes], bytes]) -> None:
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match="is damaged or not an avatar"):
        load_avatar(path, model)


def test_a_changed_byte_is_noticed(path: Path, model: Otavatar) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="its hash does not match"):
        load_avatar(path, model)


def rewrite(path: Path, change: Callable[[dict[str, Tensor], dict[str, str]], object]) -> None:
    """Change a file as somebody would who makes its hash fit."""
    with safe_open(path, "pt") as file:
        about, tensors = dict(file.metadata()), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(tensors, about)
    about["sha256"] = content_hash(tensors, about)
    save_file(tensors, path, about)


HOSTILE: dict[str, Callable[[dict[str, Tensor], dict[str, str]], object]] = {
    "is not an avatar": lambda tensors, about: about.update(format="portrayal-motion"),
    "has avatar version 9, this program reads 1": lambda tensors, about: about.update(version="9"),
    "is an avatar of 'directions', not of otavatar": lambda tensors, about: about.update(system="directions"),
    "made with other weights": lambda tensors, about: about.update(weights="0" * 16),
    "its remark is no sentence": lambda tensors, about: about.update(remark="\x1b[2J"),
    "how far it is another person's": lambda tensors, about: about.update(gone="nan"),
    "what was drawn of its portrait": lambda tensors, about: tensors.update(drawn=torch.zeros(3, 8, 9).byte()),
    "bias is missing": lambda tensors, about: tensors.pop("bias"),
    r"identity is \(1, 6, 17\), not \(1, 6, 16\)": lambda tensors, about: tensors.update(
        identity=torch.zeros(1, 6, 17)
    ),
    "identity is missing or holds values": lambda tensors, about: tensors["identity"].fill_(torch.nan),
    r"tuned\.decoder\.net\.0\.bias is missing": lambda tensors, about: tensors.pop("tuned.decoder.net.0.bias"),
    "'tuned.other' is not known here": lambda tensors, about: tensors.update({"tuned.other": torch.zeros(1)}),
    "it has no portrait": lambda tensors, about: tensors.pop("picture"),
    "its portrait is no square": lambda tensors, about: tensors.update(picture=torch.zeros(3, 8, 9, dtype=torch.uint8)),
    "FaceParams.scale must be": lambda tensors, about: tensors.update({"params.scale": torch.zeros(2)}),
    r"params\.gaze is missing": lambda tensors, about: tensors.update({"params.gaze": torch.zeros(1, 2, 2).long()}),
}


@pytest.mark.parametrize("sentence", list(HOSTILE))
def test_a_hostile_file_is_refused(path: Path, model: Otavatar, sentence: str) -> None:
    rewrite(path, HOSTILE[sentence])
    with pytest.raises(InputError, match=sentence):
        load_avatar(path, model)
