"""Building the face model, on a data folder that the test makes from known faces."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from portrayal.errors import InputError, MissingFileError
from portrayal.face.build_model import build_face_model, face_model_errors
from portrayal.face.measure import inter_ocular, mouth_openness
from portrayal.face.morphable import load_face_model, params_to_landmarks
from portrayal.face.topology import MIRROR
from portrayal.face.triangulate import area_centroid, triangulate_face

CLIPS, FRAMES = 44, 12


@pytest.fixture(scope="module")
def folder(model, make_params, tmp_path_factory):
    """Clips of people who open their mouths, drawn from the embedded model; one of them is for validation."""
    root = tmp_path_factory.mktemp("data")
    (root / "clips").mkdir()
    lines = ["clip,identity,frames,split"]
    jaw = mouth_openness(model.mean + 2 * model.expression_basis).argmax()
    for i in range(CLIPS):
        params = make_params(FRAMES, seed=i)
        params.expression[:, jaw] += torch.linspace(0, 4, FRAMES)
        steps = (8 * params_to_landmarks(model, params)).round().numpy().transpose(1, 2, 0)
        delta = np.diff(steps, axis=2, prepend=0).astype(np.int16)
        np.savez(root / "clips" / f"c{i}.npz", landmarks_delta=delta, valid=np.ones(FRAMES, bool))
        lines.append(f"c{i},id{i},{FRAMES},{'validation' if i < 4 else 'train'}")
    (root / "clips.csv").write_text("\n".join(lines))
    (root / "photos.csv").write_text("photo,identity,size,split\np0,id90,512,train\np1,id91,512,validation\n")
    photos = torch.cat([make_params(1, seed=200 + i).landmarks for i in range(2)])
    np.savez(root / "photos.npz", landmarks=(32 * photos).round().clamp(-32768, 32767).numpy().astype(np.int16))
    return root


@pytest.mark.slow
def test_the_build_finds_the_faces_again(folder, tmp_path):
    lines = []
    out = tmp_path / "new" / "model.safetensors"
    built = build_face_model(folder, out, report=lines.append)
    assert inter_ocular(built.mean).item() == pytest.approx(1, abs=1e-5)
    errors = face_model_errors(built, folder)["clips"]
    assert errors["identity+expression"] < 0.5 * errors["identity"] < 0.5 * errors["rigid"]
    assert errors["identity+expression"] < 1
    assert lines[0] == "40 clips (240 frames) and 1 portraits"
    assert lines[-1] == f"wrote {out}"
    loaded = load_face_model(path=out)
    torch.testing.assert_close(loaded.expression_basis, built.expression_basis, atol=1e-3, rtol=0)
    with safe_open(out, "pt") as file:
        assert file.metadata()["preset"] == "face_model"
        assert json.loads(file.metadata()["metrics"])["validation"]["clips"] == errors


def test_too_few_faces(folder, tmp_path):
    with pytest.raises(MissingFileError, match=r"clips\.csv"):
        build_face_model(tmp_path)
    for name in ("clips", "photos.csv", "photos.npz"):
        (tmp_path / name).symlink_to(folder / name)
    (tmp_path / "clips.csv").write_text("clip,identity,frames,split\nc9,id9,12,train\n")
    with pytest.raises(InputError, match="1 clips and 1 portraits are too few"):
        build_face_model(tmp_path, tmp_path / "model.safetensors")
    assert not (tmp_path / "model.safetensors").exists()


def test_area_centroid_weighs_by_area():
    points = np.array([[0.0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0], [1, 1, 9]])
    square = np.array([[0, 1, 2], [0, 2, 3]])
    np.testing.assert_allclose(area_centroid(points, square), [1, 1, 0])


def test_another_open_mouth_gives_as_many_triangles(model):
    jaw = mouth_openness(model.mean + 2 * model.expression_basis).argmax()
    wide = model.mean + 4 * model.expression_basis[jaw]
    wide = (wide + wide[list(MIRROR)] * torch.tensor([-1, 1, 1])) / 2
    parts = triangulate_face(wide.double().numpy())
    assert {name: len(t) for name, t in parts.items()} == {"skin": 852, "mouth": 18, "eyes": 28}
