"""Identity on real faces: skipped where the development data or the identity network are absent."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from portrayal.data.clips import clip_table, load_clip_landmarks
from portrayal.evaluate.metrics_face import Csim
from portrayal.evaluate.networks import Networks
from portrayal.evaluate.view import View
from portrayal.face.morphable import fit_params, load_face_model
from portrayal.media.video import read_frames


@pytest.fixture
def identity_weights(data_root):
    folder = Path(os.environ.get("PORTRAYAL_DEV_WEIGHTS", data_root.parent / "weights"))
    if not (folder / "mobilefacenet.npz").is_file():
        pytest.skip(f"no mobilefacenet.npz in {folder} (PORTRAYAL_DEV_WEIGHTS names another folder)")
    return folder / "mobilefacenet.npz"


def two_frames(root, clip):
    """The first frame of a clip and one of half a second later."""
    landmarks, _ = load_clip_landmarks(root, clip)
    frames = [frame.image for frame in itertools.islice(read_frames(root / "clips" / f"{clip.name}.mp4"), 13)]
    images = torch.from_numpy(np.stack([frames[0], frames[12]])).permute(0, 3, 1, 2) / 255
    points = torch.from_numpy(landmarks[[0, 12]]).float()
    params = fit_params(load_face_model(), points, width=256, height=256, confidence=torch.ones(2))
    return View(images, clip=clip.name, params=params)


def test_one_person_is_alike_and_two_are_not(data_root, identity_weights):
    network = Networks(identity_weights=identity_weights).identity
    people = {clip.identity: clip for clip in clip_table(data_root, "validation")}
    views = [two_frames(data_root, clip) for clip in itertools.islice(people.values(), 4)]
    same, other = Csim(network), Csim(network)
    for view, stranger in zip(views, views[1:] + views[:1], strict=True):
        same.update(view, view.replace(images=view.images.flip(0), params=view.params[[1, 0]]))
        other.update(view, stranger)
    assert float(same.compute()) > 0.6
    assert float(other.compute()) < 0.3
