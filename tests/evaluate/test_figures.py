"""Figures: both files, the same bytes twice, and what cannot be drawn."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from portrayal.errors import InputError
from portrayal.evaluate.entrants import COPY_SOURCE, load_entrants
from portrayal.evaluate.figures import (
    along_basis,
    canonical_faces,
    plot_error_maps,
    plot_over_time,
    plot_strips,
    plot_tsne,
    separation,
)
from portrayal.face.tracker import load_tracker, pick_device
from portrayal.media.image import read_image
from portrayal.source import sitter_of

GREY = np.full((24, 32, 3), 128, np.uint8)


def test_tsne_separates_what_is_apart_and_is_repeatable(tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    codes = {name: torch.randn(12, 8, generator=draw) + 20 * i for i, name in enumerate(("anna", "bert"))}
    first = plot_tsne(codes, tmp_path / "a", title="codes")
    second = plot_tsne(codes, tmp_path / "b", title="codes")
    assert [p.suffix for p in first] == [".png", ".svg"]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert "anna" in first[1].read_text()


def test_separation_is_one_for_islands_and_nothing_for_mixed_groups() -> None:
    draw = torch.Generator().manual_seed(0)
    mixed = {name: torch.randn(40, 4, generator=draw) for name in ("anna", "bert", "carl")}
    apart = {name: 0.01 * codes + 10 * i for i, (name, codes) in enumerate(mixed.items())}
    assert separation(apart) > 0.99
    assert abs(separation(mixed)) < 0.1
    assert math.isnan(separation({"anna": mixed["anna"]}))


def test_tsne_needs_codes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="five finite codes"):
        plot_tsne({"anna": torch.zeros(3, 8)}, tmp_path / "a")


def test_error_maps_show_where_it_is_wrong(tmp_path: Path) -> None:
    wrong = GREY.copy()
    wrong[:, 16:] = 255
    right, left = (plot_error_maps([GREY], {"sys": [p]}, tmp_path / n)[0] for p, n in ((wrong, "w"), (GREY, "g")))
    assert read_image(right).mean() > read_image(left).mean()
    with pytest.raises(InputError, match="number or size"):
        plot_error_maps([GREY], {"sys": [GREY[:20]]}, tmp_path / "x")


def test_plots_over_time_and_strips(tmp_path: Path) -> None:
    png, svg = plot_over_time({"sys": ([0, 1], [3, 4])}, tmp_path / "deep" / "t", title="PSNR", unit="dB")
    assert png.is_file()
    assert "PSNR" in svg.read_text()
    plot_strips({"v0": [GREY, GREY]}, ["-1", "+1"], tmp_path / "s")
    with pytest.raises(InputError, match="2 pictures"):
        plot_strips({"v0": [GREY]}, ["-1", "+1"], tmp_path / "s")


def test_along_a_basis_vector_the_face_moves_more_with_larger_scales(small_portrait: Path) -> None:
    sitter = sitter_of("portrait", read_image(small_portrait), tracker=load_tracker("cpu"))
    copied, warp = load_entrants([COPY_SOURCE, "meshwarp"], device=pick_device("cpu"))
    still, little, much = (p.astype(float) for p in along_basis(warp, sitter, vector=0, scales=(0, 1, 3)))
    assert 0 < np.abs(little - still).mean() < np.abs(much - still).mean()
    with pytest.raises(InputError, match="no expression vector 64"):
        along_basis(warp, sitter, vector=64, scales=(0,))
    with pytest.raises(InputError, match="no canonical face"):
        canonical_faces(copied, [])
