"""The linear face model: the embedded file, the closed-form fit and its inverse."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from portrayal.errors import InputError, MissingFileError
from portrayal.face.build_model import face_model_errors
from portrayal.face.camera import FACE_DEPTH
from portrayal.face.measure import inter_ocular
from portrayal.face.morphable import fit_params, load_face_model, params_to_landmarks, save_face_model
from portrayal.face.pose import angles_to_rotation, head_to_picture, rotation_to_angles
from portrayal.face.topology import FACE_OVAL, LEFT_EYE, LIPS_INNER, MIRROR, NOSE_TIP, RIGHT_EYE, RIGHT_IRIS

DATA = Path(os.environ.get("PORTRAYAL_DATA", "../shared/data"))
SIZE = {"width": 512, "height": 512}


def test_the_embedded_mean_keeps_the_conventions(model):
    assert inter_ocular(model.mean).item() == pytest.approx(1, abs=1e-4)
    mirrored = model.mean[list(MIRROR)] * torch.tensor([-1, 1, 1])
    torch.testing.assert_close(model.mean, mirrored, atol=1e-5, rtol=0)
    assert model.mean[NOSE_TIP, 2] < model.mean[FACE_OVAL[0], 2] < 0
    corners = model.mean[model.triangles]
    area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=-1)
    centroid = (area[:, None] * corners.mean(1)).sum(0) / area.sum()
    torch.testing.assert_close(centroid, torch.tensor([0, 0, -FACE_DEPTH]), atol=1e-3, rtol=0)


def test_triangles_tile_the_mesh_symmetrically(model):
    triangles = model.triangles
    assert len(triangles) == 2 * 468 - 2 - len(FACE_OVAL)  # Euler: a disc with all 468 points
    assert set(triangles.flatten().tolist()) == set(range(468))

    def edges(triangles):
        return [frozenset((t[i], t[i - 1])) for t in triangles.tolist() for i in range(3)]

    def loop(points):
        return {frozenset(pair) for pair in zip(points, points[1:] + points[:1], strict=True)}

    def border(triangles):
        found = edges(triangles)
        return {e for e in found if found.count(e) == 1}

    assert border(triangles) == loop(FACE_OVAL)
    assert border(model.triangles_mouth) == loop(LIPS_INNER)
    assert border(model.triangles_eyes) == loop(RIGHT_EYE) | loop(LEFT_EYE)
    as_sets = {frozenset(t) for t in triangles.tolist()}
    assert {frozenset(MIRROR[p] for p in t) for t in as_sets} == as_sets


def test_bases_are_orthogonal_in_the_metric_of_the_fit(model):
    for basis in (model.identity_basis, model.expression_basis):
        flat = basis.flatten(1) * model.point_weights.flatten().sqrt()
        gram = flat @ flat.T
        length = gram.diagonal().sqrt()
        torch.testing.assert_close(gram / length[:, None] / length, torch.eye(len(gram)), atol=5e-3, rtol=0)
        assert (length.diff() < 1e-4).all()  # the important ones first


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_landmarks_survive_the_round_trip(model, make_params, seed):
    params = make_params(4, seed)
    fitted = fit_params(model, params.landmarks, **SIZE)
    error = (params_to_landmarks(model, fitted) - params.landmarks).norm(dim=-1) / params.scale[:, None]
    assert error.mean() < 0.006
    assert (rotation_to_angles(fitted.rotation) - rotation_to_angles(params.rotation)).abs().max() < 0.05
    torch.testing.assert_close(fitted.scale, params.scale, rtol=0.03, atol=0)


@settings(max_examples=20, deadline=None)
@given(roll=st.floats(-3.1, 3.1), zoom=st.floats(0.2, 5), x=st.floats(-500, 500), y=st.floats(-500, 500))
def test_a_turned_and_moved_face_changes_only_its_pose(model, make_params, roll, zoom, x, y):
    params = fit_params(model, make_params(2, 7).landmarks, **SIZE)
    turn = angles_to_rotation(torch.tensor([0, 0, roll]))
    moved = zoom * params.landmarks @ turn.T + torch.tensor([x, y, 0])
    again = fit_params(model, moved, **SIZE)
    torch.testing.assert_close(again.rotation, turn @ params.rotation, atol=1e-3, rtol=0)
    torch.testing.assert_close(again.scale, zoom * params.scale, rtol=1e-3, atol=0)
    torch.testing.assert_close(again.expression, params.expression, atol=0.05, rtol=0)
    torch.testing.assert_close(again.identity, params.identity, atol=0.05, rtol=0)
    torch.testing.assert_close(again.gaze, params.gaze, atol=0.01, rtol=0)


def test_the_pose_follows_a_turn_in_depth(model, make_params):
    params = fit_params(model, make_params(1, 3).landmarks, **SIZE)
    turn = angles_to_rotation(torch.tensor([0.3, -0.2, 0.0]))
    again = fit_params(model, params.landmarks @ turn.T, **SIZE)
    torch.testing.assert_close(again.rotation, turn @ params.rotation, atol=1e-3, rtol=0)
    torch.testing.assert_close(again.gaze, params.gaze, atol=0.03, rtol=0)


def test_identity_is_shared_within_a_clip_and_only_there(model, make_params):
    two_people = torch.cat([make_params(5, 1).landmarks, make_params(5, 2).landmarks])
    shared = fit_params(model, two_people, **SIZE).identity
    assert (shared == shared[0]).all()
    each = fit_params(model, two_people, **SIZE, shared_identity=False).identity
    alone = fit_params(model, two_people[6:7], **SIZE).identity
    torch.testing.assert_close(each[6:7], alone, atol=1e-3, rtol=1e-3)


def test_frames_without_confidence_do_not_shape_the_identity(model, make_params):
    person, other = make_params(4, 1), make_params(4, 2)
    both = torch.cat([person.landmarks, other.landmarks])
    confidence = torch.tensor([1.0] * 4 + [0.0] * 4)
    fitted = fit_params(model, both, **SIZE, confidence=confidence)
    expected = fit_params(model, person.landmarks, **SIZE)
    torch.testing.assert_close(fitted.identity[:4], expected.identity, atol=1e-3, rtol=1e-3)
    assert fit_params(model, both, **SIZE, confidence=torch.zeros(8)).identity.isfinite().all()
    nothing = fit_params(model, torch.zeros_like(both), **SIZE, confidence=torch.zeros(8))
    assert params_to_landmarks(model, nothing).isfinite().all()


def test_a_known_identity_is_kept(model, make_params):
    params = make_params(6, 5)
    clip = fit_params(model, params.landmarks, **SIZE)
    frame = fit_params(model, params.landmarks[2:3], **SIZE, identity=clip.identity[0])
    assert (frame.identity == clip.identity[:1]).all()
    torch.testing.assert_close(frame.expression, clip.expression[2:3], atol=0.02, rtol=0)


def test_gaze_comes_back_from_the_irises(model, make_params):
    params = make_params(8, 11)
    angles = torch.linspace(-0.5, 0.5, 8)
    gaze = torch.stack([torch.stack([angles, -angles / 2], -1), torch.stack([angles, angles / 3], -1)], 1)
    landmarks = params_to_landmarks(model, params.replace(gaze=gaze))
    fitted = fit_params(model, landmarks, **SIZE, identity=params.identity)
    torch.testing.assert_close(fitted.gaze, gaze, atol=0.05, rtol=0)


def test_gaze_signs(model):
    def iris_x_y(yaw, pitch):
        gaze = torch.tensor([[[yaw, pitch]] * 2])
        return model.shape(torch.zeros(1, 80), torch.zeros(1, 64), gaze)[0, RIGHT_IRIS[0], :2]

    ahead = iris_x_y(0.0, 0.0)
    torch.testing.assert_close(ahead, model.mean[RIGHT_IRIS[0], :2])
    assert iris_x_y(0.3, 0.0)[0] < ahead[0]  # positive yaw: to the picture's left
    assert iris_x_y(0.0, 0.3)[1] > ahead[1]  # positive pitch: down


def test_gradients_reach_the_landmarks(model, make_params):
    landmarks = make_params(2, 4).landmarks.clone().requires_grad_()
    with torch.inference_mode():
        fit_params(load_face_model(), landmarks.detach(), **SIZE)
    p = fit_params(model, landmarks, **SIZE)
    for name in ("identity", "expression", "rotation", "translation", "scale", "gaze", "camera", "eye_openness"):
        (grad,) = torch.autograd.grad(getattr(p, name).sin().sum(), landmarks, retain_graph=True)
        assert grad.isfinite().all(), name
        assert grad.abs().max() > 0, name


def test_the_fit_rejects_other_shapes(model):
    for shape in ((0, 478, 3), (1, 468, 3), (478, 3)):
        with pytest.raises(InputError, match=r"landmarks must be \(t, 478, 3\)"):
            fit_params(model, torch.zeros(shape), **SIZE)


def test_files(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_face_model(model, path, {"training_data": "none"})
    loaded = load_face_model(path=path)
    torch.testing.assert_close(loaded.mean, model.mean)
    assert (loaded.triangles == model.triangles).all()
    with pytest.raises(MissingFileError, match=r"nowhere\.safetensors does not exist"):
        load_face_model(path=tmp_path / "nowhere.safetensors")
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"bad\.safetensors cannot be read"):
        load_face_model(path=bad)
    other = tmp_path / "other.safetensors"
    other.write_bytes(path.read_bytes().replace(b"portrayal-face-model-1", b"portrayal-face-model-9"))
    with pytest.raises(InputError, match="not a face model of this version"):
        load_face_model(path=other)


@pytest.mark.skipif(not (DATA / "clips.csv").is_file(), reason=f"the development data is not at {DATA}")
def test_validation_faces_are_reproduced(model):
    errors = face_model_errors(model, DATA)
    assert errors["clips"]["identity+expression"] < 0.35 < errors["clips"]["identity"] < errors["clips"]["rigid"]
    assert errors["photos"]["identity+expression"] < 0.35
    assert errors["clips"]["irises"] < 0.6


def test_head_to_picture_is_the_formula_of_face_params(model, make_params):
    params = make_params(2, 9)
    shape = model.shape(params.identity, params.expression, params.gaze)
    by_hand = params.scale[1] * (params.rotation[1] @ shape[1, 100]) + params.translation[1]
    torch.testing.assert_close(params.landmarks[1, 100], by_hand, atol=1e-3, rtol=0)
    whole = head_to_picture(shape, params.scale, params.rotation, params.translation)
    torch.testing.assert_close(params.landmarks, whole)
