"""The mesh warp: what stays, what moves, what appears behind lids and lips."""

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from portrayal.data.clips import load_photo_landmarks, photo_table
from portrayal.face.morphable import fit_params, load_face_model
from portrayal.face.pose import angles_to_rotation
from portrayal.face.topology import (
    LEFT_EYE,
    LIPS_INNER,
    LIPS_OUTER,
    RIGHT_EYE,
    RIGHT_IRIS,
)
from portrayal.media.image import read_image, to_tensor
from portrayal.systems import meshwarp
from portrayal.systems.meshwarp.animate import move_mesh
from portrayal.systems.meshwarp.layers import (
    Box,
    box_around,
    fill_smoothly,
    fit_affine,
    polygon_mask,
    read_affine,
)
from portrayal.systems.meshwarp.raster import backward_displacement, read_source, texture_density
from portrayal.types import Driving, FaceClip, FaceParams, Portrait

DATA = Path(os.environ.get("PORTRAYAL_DATA", "../shared/data"))


@pytest.fixture(scope="module")
def model():
    return meshwarp.build(meshwarp.Config.compact())


@pytest.fixture(scope="module")
def source(model, portrait):
    return meshwarp.encode_source(model, portrait)


def drive(*frames: FaceParams) -> Driving:
    """Those frames, 25 in a second."""
    return Driving(FaceParams.cat(frames), tuple(Fraction(i, 25) for i in range(len(frames))))


def picture(model, source, *params: FaceParams) -> torch.Tensor:
    """(t, 3, h, w)."""
    return torch.cat(list(meshwarp.render(model, source, drive(*params))))


def turned(params: FaceParams, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> FaceParams:
    """The head turned about its origin; degrees."""
    turn = angles_to_rotation(torch.deg2rad(torch.tensor([[yaw, pitch, roll]])))
    origin = params.translation[:, None]
    landmarks = (params.landmarks - origin) @ turn.mT + origin
    return params.replace(landmarks=landmarks, rotation=turn @ params.rotation)


def with_open_mouth(params: FaceParams, pixels: float) -> FaceParams:
    """Lower lip and chin lowered, the upper lip kept."""
    landmarks = params.landmarks.clone()
    line = landmarks[0, [13, 14], 1].mean()
    lower = set(LIPS_INNER[1:10]) | set(LIPS_OUTER[1:10])
    below = {i for i in range(468) if landmarks[0, i, 1] > line + 4}
    corners = {LIPS_INNER[0], LIPS_INNER[10], LIPS_OUTER[0], LIPS_OUTER[10]}
    moved = sorted((below | lower) - corners)
    across = 1 - ((landmarks[0, moved, 0] - landmarks[0, 13, 0]) / (2 * params.scale[0])).abs().clamp(max=1)
    landmarks[0, moved, 1] += pixels * across
    return params.replace(landmarks=landmarks)


def with_shut_eyes(params: FaceParams) -> FaceParams:
    landmarks = params.landmarks.clone()
    for contour in (RIGHT_EYE, LEFT_EYE):
        landmarks[:, list(contour[:8:-1])] = landmarks[:, list(contour[1:8])]
    return params.replace(landmarks=landmarks)


def region(
    portrait: Portrait, indices: tuple[int, ...], params: FaceParams | None = None, share: float = 0.99
) -> np.ndarray:
    """(h, w) bool: pixels with more than that share inside the polygon of those landmarks."""
    points = (params or portrait.params).landmarks[0, list(indices), :2].double().numpy()
    height, width = portrait.image.shape[2:]
    return polygon_mask(points, Box(0, 0, width, height)) > share


def test_shape_range_and_batches(model, source, portrait):
    frames = [turned(portrait.params, yaw=5.0 * i) for i in range(5)]
    batches = list(meshwarp.render(model, source, drive(*frames)))
    assert [len(b) for b in batches] == [4, 1]
    out = torch.cat(batches)
    assert out.shape == (5, *portrait.image.shape[1:])
    assert out.dtype == torch.float32
    assert out.min() >= 0
    assert out.max() <= 1


def test_same_twice_and_changes_with_motion(model, source, portrait):
    a = picture(model, source, turned(portrait.params, yaw=10))
    assert torch.equal(a, picture(model, source, turned(portrait.params, yaw=10)))
    assert (a - picture(model, source, turned(portrait.params, yaw=-10))).abs().mean() > 0.005


def test_own_motion_gives_the_portrait_back(model, source, portrait):
    difference = (picture(model, source, portrait.params) - portrait.image).abs()
    assert difference.mean() < 0.1 / 255
    assert (difference > 2 / 255).float().mean() < 0.002  # antialiasing at the rims of the eyes


def test_open_mouth_in_the_source_is_kept_at_rest(model, portrait):
    open_params = with_open_mouth(portrait.params, 16)
    image = portrait.image.clone()
    mouth = torch.from_numpy(region(portrait, LIPS_INNER, open_params))
    image[0, :, mouth] = torch.rand(3, int(mouth.sum()), generator=torch.Generator().manual_seed(0))
    opened = Portrait(image, open_params)
    difference = (picture(model, meshwarp.encode_source(model, opened), open_params) - image).abs()
    assert difference[0, :, mouth].mean() < 1 / 255


@pytest.mark.parametrize(
    "turn", [{"yaw": 25}, {"yaw": -25}, {"pitch": 20}, {"pitch": -20}, {"roll": 20}, {"yaw": 20, "pitch": 10}]
)
def test_turned_head_has_no_holes_and_leaves_the_border(model, source, portrait, turn):
    out = picture(model, source, turned(portrait.params, **turn))[0]
    assert torch.isfinite(out).all()
    for edge in (out[:, 0], out[:, -1], out[:, :, 0], out[:, :, -1]):
        assert edge.isfinite().all()
    still = portrait.image[0]
    for a, b in ((out[:, 0], still[:, 0]), (out[:, -1], still[:, -1]), (out[:, :, 0], still[:, :, 0])):
        assert (a - b).abs().max() < 1.5 / 255
    # A hole would show as pixels darker than anything in the drawing.
    assert out.sum(0).min() >= still.sum(0).min() - 0.15


def test_nose_moves_with_yaw(model, source, portrait):
    image = portrait.image.clone()
    nose = portrait.params.landmarks[0, 1, :2]
    x, y = int(nose[0]), int(nose[1])
    image[0, :, y - 3 : y + 4, x - 3 : x + 4] = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
    marked = meshwarp.encode_source(model, Portrait(image, portrait.params))
    for yaw in (20, -20):
        driving = turned(portrait.params, yaw=yaw)
        out = picture(model, marked, driving)[0]
        green = (out[1] - torch.maximum(out[0], out[2]) - 0.3).clamp_min(0)
        where = (green.sum(0) * (torch.arange(green.shape[1]) + 0.5)).sum() / green.sum()
        assert abs(float(where - driving.landmarks[0, 1, 0])) < 2


def test_open_mouth_shows_an_inside(model, source, portrait):
    driving = with_open_mouth(portrait.params, 22)
    out = picture(model, source, driving)[0].permute(1, 2, 0).numpy()
    mouth = region(portrait, LIPS_INNER, driving)
    lips = np.array([190, 60, 70]) / 255
    assert mouth.sum() > 150
    unlike_lips = np.abs(out[mouth] - lips).max(1) > 0.2
    assert unlike_lips.mean() > 0.9, "lips are stretched over the opening"
    brightness = out[mouth].mean(1)
    assert brightness.min() < 0.25, "no dark depth"
    assert brightness.max() > 0.45, "no teeth"
    lower_lip = driving.landmarks[0, [17, 84, 314], :2].mean(0)
    assert np.abs(out[int(lower_lip[1]) - 2, int(lower_lip[0])] - lips).max() < 0.15


def test_shut_eyes_hide_the_irises(model, source, portrait):
    def blue(image: torch.Tensor) -> float:
        return float((image[0, 2] - image[0, 0] > 0.35).sum())

    rest = blue(picture(model, source, portrait.params))
    shut = blue(picture(model, source, with_shut_eyes(portrait.params)))
    assert rest > 60
    assert shut <= 0.05 * rest


def test_gaze_moves_the_iris_inside_the_lids(model, source, portrait):
    landmarks = portrait.params.landmarks.clone()
    landmarks[:, 468:478, 0] += 3
    out = picture(model, source, portrait.params.replace(landmarks=landmarks))[0]
    eye = torch.from_numpy(region(portrait, RIGHT_EYE))
    column = torch.arange(out.shape[2]) + 0.5

    def centre(image: torch.Tensor) -> float:
        weight = ((image[2] - image[0]).clamp_min(0) * eye).sum(0)
        return float((weight * column).sum() / weight.sum())

    assert 1.5 < centre(out) - centre(portrait.image[0]) < 4
    eyes = region(portrait, RIGHT_EYE, share=0) | region(portrait, LEFT_EYE, share=0)
    assert (out - portrait.image[0])[:, ~torch.from_numpy(eyes)].abs().max() < 1 / 255


def test_wider_eyes_show_white_and_iris_and_no_skin(model, source, portrait):
    landmarks = portrait.params.landmarks.clone()
    landmarks[:, list(RIGHT_EYE[9:]), 1] -= 3
    driving = portrait.params.replace(landmarks=landmarks)
    out = picture(model, source, driving)[0].permute(1, 2, 0).numpy()
    inside = out[region(portrait, RIGHT_EYE, driving)]
    skin = np.abs(inside - np.array([214, 168, 140]) / 255).max(1) < 0.08
    assert skin.mean() < 0.06


def test_eye_that_is_shut_in_the_source_can_open(model, portrait):
    shut = with_shut_eyes(portrait.params)
    image = portrait.image.clone()
    skin = torch.tensor([214, 168, 140]) / 255
    for eye in (RIGHT_EYE, LEFT_EYE):
        image[0, :, torch.from_numpy(region(portrait, eye))] = skin[:, None]
    source = meshwarp.encode_source(model, Portrait(image, shut))
    out = picture(model, source, portrait.params)[0]
    pupil = portrait.params.landmarks[0, RIGHT_IRIS[0], :2].int()
    assert out[:, pupil[1], pupil[0]].max() < 0.35
    assert torch.isfinite(out).all()


def test_jaw_takes_the_neck_along_smoothly(model, source, portrait):
    rest, _ = backward(model, source, portrait.params)
    opened, _ = backward(model, source, with_open_mouth(portrait.params, 22))
    x = int(portrait.params.landmarks[0, 152, 0]) // 2
    y = int(portrait.params.landmarks[0, 152, 1] + 22) // 2
    column = (opened - rest)[y + 1 :, x, 1]
    assert column[0] < -8, "the skin under the chin follows"
    assert abs(column[-1]) < 0.5, "the border stays"
    assert np.abs(np.diff(column)).max() < 3, "no jump that would leave a ghost of the jaw"


def backward(model, source, params):
    """The displacement field of one frame, and its vertices."""
    rest, vertices = move_mesh(source, params, 0)
    height, width = source.texture.shape[:2]
    field = backward_displacement(
        rest, vertices, source.triangles, behind=model.holes, width=width, height=height, step=2
    )
    return field, vertices


def test_driving_is_the_motion_of_the_clip(model, portrait):
    clip = FaceClip(portrait.image, portrait.params, (drive(portrait.params).times[0],))
    driving = meshwarp.encode_driving(model, clip)
    assert driving.params is portrait.params
    assert driving.times == clip.times


def test_wrong_portrait_is_refused(model, portrait):
    two = Portrait(portrait.image.expand(2, -1, -1, -1), portrait.params)
    with pytest.raises(ValueError, match="one \\(1, 3, h, w\\) picture"):
        meshwarp.encode_source(model, two)


@pytest.mark.parametrize("size", [(64, 64), (97, 131)])
def test_any_size(model, portrait, size):
    image = torch.nn.functional.interpolate(portrait.image, size, mode="bilinear")
    k = size[1] / 256
    params = portrait.params.replace(
        landmarks=portrait.params.landmarks * k,
        translation=portrait.params.translation * k,
        scale=portrait.params.scale * k,
    )
    source = meshwarp.encode_source(model, Portrait(image, params))
    out = picture(model, source, turned(params, yaw=15))
    assert out.shape == (1, 3, *size)
    assert torch.isfinite(out).all()


def test_presets_build_and_bad_numbers_are_named():
    for preset in (meshwarp.Config.tiny, meshwarp.Config.compact, meshwarp.Config.paper):
        assert meshwarp.build(preset()).face_triangles.shape[1] == 3
    with pytest.raises(ValueError, match="rings"):
        meshwarp.Config(rings=2)


def test_displacement_of_a_moved_square_and_its_depth_order():
    source = np.array([[8, 8, 5], [24, 8, 5], [8, 24, 5], [24, 24, 5], [40, 40, 1], [60, 40, 1], [40, 60, 1]], float)
    driving = source.copy()
    driving[:4, 0] += 4
    driving[4:, :2] -= 28  # the nearer triangle now covers part of the square
    triangles = np.array([[4, 5, 6], [0, 1, 2], [1, 3, 2]])
    field = backward_displacement(source, driving, triangles, behind=0, width=64, height=64, step=1)
    np.testing.assert_allclose(field[10, 20], [-4, 0], atol=1e-4)
    np.testing.assert_allclose(field[15, 16], [28, 28], atol=1e-4)
    np.testing.assert_allclose(field[50, 50], 0)


def test_teeth_of_the_source_stay_when_the_jaw_drops(model, portrait):
    smile = with_open_mouth(portrait.params, 9)
    image = portrait.image.clone()
    mouth = torch.from_numpy(region(portrait, LIPS_INNER, smile, share=0))
    image[0, :, mouth] = torch.tensor([1.0, 1.0, 0.3])[:, None]  # yellow: not a colour that would be drawn
    source = meshwarp.encode_source(model, Portrait(image, smile))
    out = picture(model, source, with_open_mouth(portrait.params, 24))[0]
    yellow = (out[0] > 0.6) & (out[1] > 0.6) & (out[2] < 0.6 * out[0])
    rows = torch.nonzero(mouth).float()[:, 0]
    moved = torch.nonzero(yellow).float()[:, 0]
    assert yellow.sum() > 0.4 * mouth.sum()
    assert abs(moved.median() - rows.median()) < 3


def test_lashes_keep_their_height_under_a_closing_lid(model, source, portrait):
    rest, open_vertices = move_mesh(source, portrait.params, 0)
    _, shut_vertices = move_mesh(source, with_shut_eyes(portrait.params), 0)
    edges, lashes = source.lash_edges, slice(468, 468 + len(source.lash_edges))
    np.testing.assert_allclose(open_vertices[lashes], rest[lashes])
    middle = np.isin(edges[:, 0], (159, 386))
    rise_open = open_vertices[edges[middle, 0], 1] - open_vertices[lashes][middle, 1]
    rise_shut = shut_vertices[edges[middle, 0], 1] - shut_vertices[lashes][middle, 1]
    np.testing.assert_allclose(rise_shut, rise_open, rtol=0.1)


def test_uncovered_skin_reads_from_visible_skin(model, portrait):
    away = turned(portrait.params, yaw=40)
    source = meshwarp.encode_source(model, Portrait(portrait.image, away))
    hidden = source.hidden
    assert len(hidden.vertices) > 10
    np.testing.assert_array_equal(move_mesh(source, away, 0)[0][hidden.vertices], source.landmarks[hidden.vertices])
    rest, _ = move_mesh(source, turned(portrait.params, yaw=0), 0)
    certain = hidden.amount > 0.999
    assert certain.any()
    np.testing.assert_allclose(rest[hidden.vertices[certain], :2], hidden.lender[certain])
    # What is lent lies between the visible points of the face, not on the background.
    hull = source.landmarks[np.setdiff1d(np.arange(468), hidden.vertices), :2]
    assert (hidden.lender >= hull.min(0)).all()
    assert (hidden.lender <= hull.max(0)).all()


def test_reading_without_displacement_is_exact():
    texture = np.random.default_rng(0).random((31, 45, 3), dtype=np.float32)
    for step in (1, 2, 4):
        field = np.zeros((-(-31 // step), -(-45 // step), 2), np.float32)
        np.testing.assert_array_equal(read_source(texture, field, step), texture)


def test_density_of_stretched_and_folded_texture():
    """A square drawn twice as wide and three times as high; and one that is read backwards."""
    corners = np.array([[0.0, 0, 0], [60, 0, 0], [60, 60, 0], [0, 60, 0]])
    triangles = np.array([[0, 1, 2], [0, 2, 3]])
    for step in (1, 2):
        for source, expected in ((corners / [2, 3, 1], 1 / 6), (corners, 1.0), (corners[[1, 0, 3, 2]], -1.0)):
            field = backward_displacement(source, corners, triangles, behind=0, width=60, height=60, step=step)
            density = texture_density(field, step)
            assert density.shape == (60 // step, 60 // step)
            np.testing.assert_allclose(density[5:-5, 5:-5], expected, atol=1e-4)


def test_read_affine_shifts_by_whole_pixels():
    texture = np.random.default_rng(0).random((20, 20, 3), dtype=np.float32)
    box = box_around(np.array([[4.0, 5], [9, 12]]), 0, 20, 20)
    np.testing.assert_allclose(read_affine(texture, box, np.eye(2), np.array([2.0, 3])), texture[8:15, 6:11], atol=1e-6)


def test_an_affine_map_is_found_again() -> None:
    rng = np.random.default_rng(0)
    points, matrix, offset = rng.normal(size=(12, 2)) * 40, rng.normal(size=(2, 2)), rng.normal(size=2) * 100
    found = fit_affine(points, points @ matrix.T + offset)
    np.testing.assert_allclose(found[0], matrix, atol=1e-9)
    np.testing.assert_allclose(found[1], offset, atol=1e-7)


def test_fill_keeps_the_known_and_stays_between():
    image = np.random.default_rng(0).random((24, 24, 3), dtype=np.float32)
    known = np.zeros((24, 24), bool)
    known[3:6, 4:9] = True
    filled = fill_smoothly(image, known)
    np.testing.assert_array_equal(filled[known], image[known])
    assert filled.min() >= image[known].min() - 1e-5
    assert filled.max() <= image[known].max() + 1e-5


@pytest.mark.skipif(not (DATA / "photos.csv").is_file(), reason="PORTRAYAL_DATA holds no photos")
def test_real_faces_at_rest_and_turned(model):
    landmarks = load_photo_landmarks(DATA)
    for photo in photo_table(DATA, "validation"):
        image = to_tensor(read_image(photo.picture))
        points = torch.from_numpy(landmarks[photo.row])[None]
        params = fit_params(load_face_model(), points, width=image.shape[3], height=image.shape[2])
        source = meshwarp.encode_source(model, Portrait(image, params))
        out = picture(model, source, params, turned(params, yaw=25), turned(params, yaw=-25))
        assert torch.isfinite(out).all()
        assert (out[0] - image[0]).abs().mean() < 0.1 / 255
        assert (out[1:] - image).abs().mean() > 0.01
