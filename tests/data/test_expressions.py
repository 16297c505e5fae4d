"""Expressions read from labels, without pictures."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from portrayal.data.expressions import Expressions, load_expressions, mirror_signs
from portrayal.errors import InputError
from portrayal.face.morphable import load_face_model
from portrayal.face.topology import MIRROR
from tests.data.made_faces import make_folder


def nearest(drawn: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """(n,) largest difference of each from the most similar of the known."""
    return (drawn[:, None] - known).abs().amax(2).amin(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("data") / "faces", frames=6)


def test_identities_of_the_split_and_photos_are_read(folder: Path) -> None:
    identities, photos = load_expressions(folder, "train")
    assert [x.shape for x in identities] == [(6, 64), (6, 64)]
    assert photos.shape == (3, 64)
    held_out, no_photos = load_expressions(folder, "validation")
    assert [x.shape for x in held_out] == [(6, 64)]
    assert no_photos.shape == (0, 64)


def test_a_mirrored_face_has_the_mirrored_coefficients() -> None:
    model = load_face_model()
    b = torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    nobody = torch.zeros(5, 80)
    flip = torch.tensor([-1.0, 1.0, 1.0])
    mirrored = model.shape(nobody, b)[:, list(MIRROR)] * flip
    torch.testing.assert_close(
        model.shape(nobody, b * mirror_signs(model.expression_basis)), mirrored, atol=2e-4, rtol=0
    )


def test_samples_depend_on_seed_and_index_and_half_are_mirrored(folder: Path) -> None:
    data, again, other = (Expressions(folder, "train", seed=s, samples=3, faces=64, photo_share=0.5) for s in (0, 0, 1))
    assert len(data) == 3
    first = data[1]["expression"]
    assert first.shape == (64, 64)
    assert torch.equal(first, again[1]["expression"])
    assert not torch.equal(first, data[2]["expression"])
    assert not torch.equal(first, other[1]["expression"])
    known = torch.cat([*data.identities, data.photos])
    plain = (nearest(first, known) < 1e-5).float().mean()
    mirrored = (nearest(first * data.signs, known) < 1e-5).float().mean()
    assert 0.2 < float(plain) < 0.8
    assert float(plain + mirrored) >= 1


def test_no_photos_are_drawn_without_a_share(folder: Path) -> None:
    data = Expressions(folder, "train", seed=0, samples=1, faces=32, photo_share=0.0)
    known, drawn = torch.cat(data.identities), data[0]["expression"]
    apart = torch.minimum(nearest(drawn, known), nearest(drawn * data.signs, known))
    assert float(apart.max()) < 1e-5


def test_a_bad_clip_is_left_out_and_none_is_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = make_folder(tmp_path / "faces", frames=4)
    (folder / "clips" / "clip000.npz").write_bytes(b"nothing")
    (folder / "photos.csv").unlink()
    with caplog.at_level(logging.WARNING):
        identities, photos = load_expressions(folder, "train")
    assert len(identities) == 1
    assert not len(photos)
    assert "clip000" in caplog.text
    (folder / "clips" / "clip001.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="no train face whose labels can be used"):
        load_expressions(folder, "train")


def test_a_long_clip_gives_a_few_of_its_frames(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = load_expressions(folder, "validation")
    monkeypatch.setattr("portrayal.data.expressions.FRAMES_PER_CLIP", 3)
    few, _ = load_expressions(folder, "validation")
    assert np.allclose(few[0], whole[0][[0, 2, 5]])
