"""Sources: which frame goes with which time, which face, whose pixels."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from portrayal.errors import InputError
from portrayal.face.tracker import load_tracker
from portrayal.media.crop import points_to_crop, points_to_picture
from portrayal.media.video import read_frames
from portrayal.rendering import row_size, side_by_side
from portrayal.source import CROP_SIDES, Sitter, cut_portrait, open_source, portrait_of, sitter_of


def open_it(path: Path, *, face: str = "largest", size: int | None = None, crop: bool = False) -> Sitter:
    return open_source(path, tracker=load_tracker("cpu"), face=face, size=size, crop=crop)


def test_crops_have_the_resolution_of_the_picture(small_portrait: Path) -> None:
    (face,) = open_it(small_portrait).faces
    assert CROP_SIDES[0] <= face.crop.size <= CROP_SIDES[1]
    assert face.crop.scale == pytest.approx(1, abs=0.02)
    points = face.params.landmarks[0, :, :2]
    assert float(points.min()) > 0.15 * face.crop.size
    assert float(points.max()) < 0.9 * face.crop.size


def test_size_reads_and_enlarges(small_portrait: Path) -> None:
    assert open_it(small_portrait, size=128).size == (128, 128)
    assert open_it(small_portrait, size=400).size == (400, 400)
    assert open_it(small_portrait, size=400, crop=True).size == (256, 256)


def test_faces_are_looked_for_before_a_picture_is_reduced(small_portrait: Path, tmp_path: Path) -> None:
    """A face that is small in a large picture would be missed, or read less exactly, in the reduced one."""
    canvas = Image.new("RGB", (1400, 1050), (60, 70, 90))
    canvas.paste(Image.open(small_portrait), (900, 500))
    canvas.save(tmp_path / "wide.png")
    large, small = open_it(tmp_path / "wide.png"), open_it(tmp_path / "wide.png", size=350)
    assert small.size == (350, 262)
    places = [points_to_picture(s.faces[0].params.landmarks[0, :, :2], s.faces[0].crop) for s in (large, small)]
    torch.testing.assert_close(places[1], places[0] / 4, atol=0.02, rtol=0)
    (before,), (after,) = ([face.params for face in s.faces] for s in (large, small))
    torch.testing.assert_close(after.rotation, before.rotation)


def test_the_head_of_a_tight_picture_is_closed_but_not_a_videos(small_portrait: Path) -> None:
    picture = np.asarray(Image.open(small_portrait).convert("RGB"))
    (face,) = open_it(small_portrait).faces
    brows = int(points_to_picture(face.params.landmarks[0, [105, 334], :2], face.crop)[:, 1].min())
    tight = sitter_of("tight", picture[max(0, brows - 25) :], tracker=load_tracker("cpu"))
    moving = cut_portrait(tight.picture, tight.faces[0], 0, moving=True)
    closed = portrait_of(tight)
    bar = (moving.image[..., 0, :] - moving.image[..., 8, :]).abs().amax()
    assert bar == 0
    assert (closed.image[..., 0, :] - moving.image[..., 0, :]).abs().amax() > 0.1
    assert (closed.image == moving.image).float().mean() > 0.5


def test_masks_of_neighbours_share_every_pixel(small_portrait: Path, tmp_path: Path) -> None:
    canvas = Image.new("RGB", (420, 256), (60, 70, 90))
    for x in (0, 164):
        canvas.paste(Image.open(small_portrait), (x, 0))
    canvas.save(tmp_path / "two.png")
    faces = open_it(tmp_path / "two.png", face="all").faces
    assert len(faces) == 2
    grid = torch.stack(torch.meshgrid(torch.arange(420) + 0.5, torch.arange(256) + 0.5, indexing="xy"), -1)
    total = np.zeros((256, 420))
    for face in faces:
        at = points_to_crop(grid.double(), face.crop).floor().long()
        inside = ((at >= 0) & (at < face.crop.size)).all(-1)
        at = at.clamp(0, face.crop.size - 1)
        total += np.where(inside, face.mask[at[..., 1], at[..., 0]], 0)
    assert total.max() < 1.05


def test_a_head_can_leave_through_the_border_of_the_picture(small_portrait: Path, tmp_path: Path) -> None:
    Image.open(small_portrait).crop((48, 0, 256, 256)).save(tmp_path / "tight.png")
    face = open_it(tmp_path / "tight.png").faces[0]
    left = int(points_to_crop(torch.tensor([[0.5, 128.0]]).double(), face.crop)[0, 0])
    middle = face.crop.size // 2
    assert left > 4, "the crop reaches beyond the picture on the left alone"
    assert face.mask[middle, left] == 1
    assert face.mask[middle, -1] < 1e-6


def test_a_source_video_is_read_by_time(talking: Path) -> None:
    sitter = open_it(talking)
    assert len(sitter.faces[0].params) == 25
    times = [Fraction(i, 10) for i in range(20)]
    frames = sitter.frames_at([t + 3 for t in times])
    own = [float(t - sitter.times[0]) for t in sitter.times]
    assert frames == [max(i for i, o in enumerate(own) if o <= float(t) + 1e-6) for t in times]
    wanted = [f.image for f in read_frames(talking)]
    for number, picture in zip(frames, sitter.pictures(frames), strict=True):
        np.testing.assert_array_equal(picture, wanted[number])


def test_wrong_face_numbers_are_said(small_portrait: Path) -> None:
    with pytest.raises(InputError, match=r"no face number 2, it shows 1"):
        open_it(small_portrait, face="2")


def test_a_row_of_pictures() -> None:
    sizes = row_size([(400, 200), (100, 300), (300, 100)])
    assert sizes == [(200, 100), (33, 100), (300, 100)]
    left, right = np.full((200, 400, 3), 10, np.uint8), np.full((100, 300, 3), 200, np.uint8)
    row = side_by_side([left, right])
    assert row.shape == (100, 500, 3)
    assert (row[:, :200] == 10).all()
    assert (row[:, 200:] == 200).all()
