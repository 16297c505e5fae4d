"""Synthetic heads: exact, deterministic, the same person under other motion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from portrayal.data.synthetic import (
    LabelledPicture,
    Person,
    Scene,
    draw_clip,
    render,
    synthetic_clips,
    synthetic_pictures,
)
from portrayal.data.synthetic_check import fit_errors_on_synthetic, tracker_errors_on_synthetic
from portrayal.data.synthetic_motion import Motion, action_codes, build_params
from portrayal.data.synthetic_raster import ambient_light, directional_light
from portrayal.data.synthetic_scene import paint_background
from portrayal.errors import InputError
from portrayal.face.camera import head_to_world, world_to_picture
from portrayal.face.measure import eye_openness
from portrayal.face.morphable import load_face_model, params_to_landmarks
from portrayal.face.pose import rotation_to_angles
from portrayal.face.topology import INNER_LIPS_PAIRS, RIGHT_EYE
from portrayal.types import EXPRESSION_SIZE, FaceParams


@pytest.fixture(scope="module")
def pictures() -> list[LabelledPicture]:
    return list(synthetic_pictures(12, seed=3, size=96))


def still(person: Person, *, size: int = 192, **changes: torch.Tensor) -> FaceParams:
    """A frontal face at rest, eyes open, with changes to its motion."""
    motion = {
        "expression": torch.zeros(1, EXPRESSION_SIZE),
        "angles": torch.zeros(1, 3),
        "gaze": torch.zeros(1, 2, 2),
        "openness": torch.full((1, 2), 0.3),
        "shift": torch.zeros(1, 2),
        "zoom": torch.full((1,), 3.2),
    }
    return build_params(person.identity, Motion(**(motion | changes)), width=size, height=size)


def test_same_seed_same_bits(pictures: list[LabelledPicture]) -> None:
    again = list(synthetic_pictures(3, seed=3, size=96))
    for a, b in zip(pictures, again, strict=False):
        assert (a.image == b.image).all()
        assert all(torch.equal(getattr(a.params, k), getattr(b.params, k)) for k in vars(a.params))
    fresh = Person.draw(3_000_000)
    assert torch.equal(fresh.identity, pictures[0].person.identity)
    drawn = render(fresh, pictures[0].params, Scene.draw(3_000_000), width=96)  # nothing kept from before
    assert (drawn == pictures[0].image).all()


def test_seeds_and_people_differ(pictures: list[LabelledPicture]) -> None:
    other = next(synthetic_pictures(1, seed=4, size=96))
    assert (other.image != pictures[0].image).mean() > 0.5
    identities = torch.cat([p.params.identity for p in pictures])
    assert torch.cdist(identities, identities).fill_diagonal_(9).min() > 5
    assert 0.8 < identities.std() < 1.1


def test_parameters_describe_the_landmarks(pictures: list[LabelledPicture]) -> None:
    for picture in pictures:
        expected = params_to_landmarks(load_face_model(), picture.params)
        assert torch.equal(expected, picture.params.landmarks)
        assert picture.landmarks.shape == (478, 3)
        assert torch.equal(picture.params.identity[0], picture.person.identity)
        assert torch.allclose(eye_openness(picture.params.landmarks), picture.params.eye_openness)


def test_camera_sees_the_landmarks_in_place(pictures: list[LabelledPicture]) -> None:
    """The perspective camera agrees with the scaled orthographic pose near the middle of the face."""
    picture = pictures[0]
    shape = load_face_model().shape(picture.params.identity, picture.params.expression, picture.params.gaze)
    seen = world_to_picture(head_to_world(shape), picture.params.camera, width=96, height=96)
    assert (seen - picture.params.landmarks[..., :2]).norm(dim=-1).mean() < 1.5


def test_expressions_are_possible(pictures: list[LabelledPicture]) -> None:
    model = load_face_model()
    for clip in synthetic_clips(4, seed=8, frames=40, size=64):
        shape = model.shape(clip.params.identity, clip.params.expression)
        gaps = torch.stack([shape[:, b, 1] - shape[:, a, 1] for a, b in INNER_LIPS_PAIRS]).mean(0)
        assert gaps.min() > -0.005  # lips do not pass through each other
        assert clip.params.eye_openness.max() < 0.55
    assert any(float(p.params.eye_openness.max()) > 0.2 for p in pictures)


def test_geometry_agrees_with_the_landmarks() -> None:
    """At a visible landmark of the skin the depth is the landmark's z, and a frontal nose faces the camera."""
    person, scene = Person.draw(5), Scene.draw(5)
    params = still(person)
    picture = LabelledPicture(render(person, params, scene, width=192), params, person, scene)
    geometry, points = picture.geometry(), picture.landmarks
    assert geometry.depth.shape == geometry.labels.shape == (192, 192)
    assert geometry.normals.shape == (192, 192, 3)
    for landmark in (1, 4, 50, 280, 152, 9, 101, 330):
        x, y = points[landmark, :2].astype(int)
        assert abs(geometry.depth[y, x] - points[landmark, 2]) < 2.5
        assert geometry.labels[y, x] == 1
    x, y = points[4, :2].astype(int)
    assert geometry.normals[y, x, 2] < -0.6
    lengths = np.linalg.norm(geometry.normals, axis=-1)
    covered = ~geometry.mask("background")
    assert np.allclose(lengths[covered], 1, atol=1e-3)
    assert (lengths[~covered] == 0).all()
    assert np.isinf(geometry.depth[~covered]).all()
    assert np.isfinite(geometry.depth[covered]).all()


def test_masks() -> None:
    person, scene = Person.draw(5), Scene.draw(5)
    params = still(person)
    geometry = LabelledPicture(render(person, params, scene, width=192), params, person, scene).geometry()
    names = ("background", "skin", "eyes", "mouth", "neck", "clothes", "hair")
    assert sum(int(geometry.mask(n).sum()) for n in names) == 192 * 192
    points = params.landmarks[0].numpy()
    rows, columns = np.nonzero(geometry.mask("eyes"))
    assert 20 < len(rows) < 800
    lids = points[[*RIGHT_EYE]]
    right = columns < 96
    assert lids[:, 0].min() - 2 < columns[right].min() <= columns[right].max() < lids[:, 0].max() + 2
    assert lids[:, 1].min() - 2 < rows[right].min() <= rows[right].max() < lids[:, 1].max() + 2
    for name in ("skin", "neck", "background"):
        assert geometry.mask(name).sum() > 1000, name
    with pytest.raises(InputError, match="no mask 'nose'"):
        geometry.mask("nose")


def test_shut_lids_cover_the_eyes_and_open_lips_show_the_mouth() -> None:
    person, scene = Person.draw(7), Scene.draw(7)

    def area(params: FaceParams, name: str) -> int:
        return int(
            LabelledPicture(np.zeros((192, 192, 3), np.uint8), params, person, scene).geometry().mask(name).sum()
        )

    open_, shut = still(person), still(person, openness=torch.zeros(1, 2))
    assert area(shut, "eyes") < 0.2 * area(open_, "eyes")
    jaw = still(person, expression=action_codes()["jaw"][None])
    assert area(jaw, "mouth") > 3 * max(area(open_, "mouth"), 20)


def test_iris_is_drawn_where_the_landmark_is() -> None:
    """The dark pupil follows the gaze to the iris landmark."""
    person, scene = Person.draw(11), replace(Scene.draw(11), key_colour=np.zeros(3, np.float32))  # no glints
    for yaw in (-0.35, 0.0, 0.35):
        gaze = torch.tensor([[[yaw, 0.0], [yaw, 0.0]]])
        params = still(person, size=512, gaze=gaze, openness=torch.full((1, 2), 0.42), zoom=torch.full((1,), 2.4))
        picture = render(person, params, scene, width=512).astype(float).mean(-1)
        for iris in (468, 473):
            x, y = params.landmarks[0, iris, :2].tolist()
            window = picture[int(y) - 12 : int(y) + 13, int(x) - 12 : int(x) + 13]
            dark = np.argwhere(window <= np.percentile(window, 8))
            assert np.abs(np.median(dark, 0) - 12).max() < 4, (yaw, iris)


def test_only_what_is_changed_changes() -> None:
    """The same person with another expression keeps forehead, hair, neck and background."""
    person, scene = Person.draw(8), Scene.draw(21)
    rest, smile = still(person), still(person, expression=0.8 * action_codes()["smile"][None])
    a, b = (render(person, p, scene, width=192).astype(int) for p in (rest, smile))
    moved = np.abs(a - b).max(-1) > 8
    mouth = rest.landmarks[0, [61, 291, 13, 14], :2].mean(0).int().tolist()
    assert moved[mouth[1] - 15 : mouth[1] + 15, mouth[0] - 25 : mouth[0] + 25].mean() > 0.2
    assert moved[:40].mean() < 0.01
    assert moved[-20:].mean() < 0.01


def test_light_comes_from_the_side_it_is_said_to() -> None:
    person = Person.draw(31)
    params = still(person, size=128)
    base = Scene.draw(2)

    def lit(x: float) -> np.ndarray:
        key = np.array([x, 0, -0.6], np.float32)
        key /= np.linalg.norm(key)
        light = directional_light(key, np.full(3, 0.6, np.float32)) + ambient_light(np.full(3, 0.1, np.float32))
        scene = Scene(base.seed, light, key, np.zeros(3, np.float32), "plain", (0, 0, 0))
        return render(person, params, scene, width=128).astype(float).mean(-1)

    right, left = lit(0.8), lit(-0.8)
    cheeks = (params.landmarks[0, [50, 280], :2]).int()  # person's right cheek is left in the picture
    (xr, yr), (xl, yl) = cheeks.tolist()
    assert right[yl, xl] > 1.3 * right[yr, xr]
    assert left[yr, xr] > 1.3 * left[yl, xl]


def test_clips_share_people_and_are_smooth() -> None:
    clips = list(synthetic_clips(4, seed=1, frames=30, size=64))
    assert [c.identity for c in clips] == [clips[0].identity] * 2 + [clips[2].identity] * 2
    assert clips[0].identity != clips[2].identity
    assert len({c.name for c in clips}) == 4
    for clip in clips:
        assert len(clip) == len(clip.times) == len(clip.track) == 30
        step = clip.params.landmarks.diff(dim=0).norm(dim=-1).amax() / clip.params.scale[0]
        assert 0.001 < step < 0.25  # head units from frame to frame
        assert torch.equal(clip.params.identity, clip.person.identity.expand(30, -1))
    frames = list(clips[0].frames())
    assert len(frames) == 30
    assert frames[0].shape == (64, 64, 3)
    assert frames[0].dtype == np.uint8
    assert (frames[0] == clips[0].frame(0)).all()
    assert (frames[0] != frames[15]).any()


def test_reenactment_ground_truth() -> None:
    """Person A with B's motion: B's pose, expression and gaze, A's identity, place and light."""
    a, _, b, _ = synthetic_clips(4, seed=2, frames=6, size=64)
    truth = a.driven_by(b)
    assert truth.identity == a.identity
    assert truth.scene is a.scene
    for name in ("expression", "rotation", "translation", "scale", "gaze"):
        assert torch.equal(getattr(truth.params, name), getattr(b.params, name))
    assert torch.equal(truth.params.identity, a.params.identity)
    assert torch.equal(params_to_landmarks(load_face_model(), truth.params), truth.params.landmarks)
    assert torch.equal(b.driven_by(b).params.landmarks, b.params.landmarks)
    assert (truth.frame(3) != b.frame(3)).any()
    with pytest.raises(InputError, match="one size"):
        a.driven_by(draw_clip(b.person, 1, frames=2, size=32))


def test_parts_of_a_motion_and_relative_motion() -> None:
    a, _, b, _ = synthetic_clips(4, seed=2, frames=6, size=64)
    only = a.driven_by(b, parts=("expression",)).params
    assert torch.equal(only.expression, b.params.expression)
    for name in ("rotation", "translation", "scale", "gaze"):
        assert torch.equal(getattr(only, name), getattr(a.params[[0] * 6], name))
    posed = a.driven_by(b, parts=("pose",)).params
    assert torch.equal(posed.rotation, b.params.rotation)
    assert torch.equal(posed.expression, a.params[[0] * 6].expression)

    relative = a.driven_by(b, motion="relative").params
    assert torch.allclose(relative.landmarks[0], a.params.landmarks[0], atol=0.3)  # starts where A is
    change = rotation_to_angles(relative.rotation) - rotation_to_angles(a.params.rotation[:1])
    wanted = rotation_to_angles(b.params.rotation) - rotation_to_angles(b.params.rotation[:1])
    assert torch.allclose(change, wanted, atol=1e-5)
    assert torch.allclose(a.driven_by(a, motion="relative").params.landmarks, a.params.landmarks, atol=0.5)
    assert torch.equal(params_to_landmarks(load_face_model(), relative), relative.landmarks)


def test_any_size() -> None:
    clip = draw_clip(Person.draw(9), 9, frames=1, size=256)
    small, large = (draw_clip(Person.draw(9), 9, frames=1, size=n) for n in (64, 512))
    assert torch.allclose(large.params.landmarks, 2 * clip.params.landmarks, atol=1e-3)
    blocks = large.frame(0).reshape(64, 8, 64, 8, 3).mean((1, 3))
    assert np.abs(blocks - small.frame(0)).mean() < 6  # one picture at two sizes
    wide = render(clip.person, clip.params, clip.scene, width=300, height=200)
    assert wide.shape == (200, 300, 3)
    with pytest.raises(InputError, match="16 to 4096"):
        render(clip.person, clip.params, clip.scene, width=8)
    with pytest.raises(InputError, match="at least 1 frame"):
        draw_clip(clip.person, 1, frames=0)
    two = draw_clip(clip.person, 1, frames=2, size=64)
    with pytest.raises(InputError, match="must have 1 frame"):
        render(two.person, two.params, two.scene, width=64)


def test_face_out_of_the_picture_leaves_the_background() -> None:
    clip = draw_clip(Person.draw(9), 9, frames=1, size=64)
    params = clip.params
    away = torch.tensor([[10_000.0, 0, 0]])
    params = params.replace(landmarks=params.landmarks + away[:, None], translation=params.translation + away)
    expected = np.sqrt(paint_background(clip.scene, 64, 64)) * 255
    assert np.abs(render(clip.person, params, clip.scene, width=64) - expected).max() <= 1


def test_fit_recovers_the_pose_of_true_landmarks() -> None:
    errors = fit_errors_on_synthetic(8, 1, size=128)
    assert errors.found == 1
    assert max(errors.yaw, errors.pitch, errors.roll) < 0.2
    assert errors.expression < errors.expression_truth
    noisy = fit_errors_on_synthetic(8, 1, size=128, noise_px=0.5)
    assert noisy.yaw > errors.yaw


def test_tracker_sees_the_heads() -> None:
    """They look enough like people for the embedded tracker; how well it does is in benchmarks/synthetic.py."""
    errors = tracker_errors_on_synthetic(6, 2, size=128)
    assert errors.found >= 0.8
    assert errors.landmarks < 15
    assert errors.roll < 10
