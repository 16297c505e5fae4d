"""Photos with moved lids, gaze and mouth, and landmarks that follow."""

import numpy as np
import torch

from portrayal.data.edited_faces import SIDE, draw_edit, edited_faces
from portrayal.face.measure import eye_openness
from tests.data.made_faces import draw_face


def test_pictures_and_landmarks_change_together():
    picture, landmarks = draw_face(256, (128, 120), 64, 0.0)
    faces = list(edited_faces(picture, landmarks, np.random.default_rng(0), count=16))
    assert len(faces) == 16
    assert all(image.shape == (SIDE, SIDE, 3) and image.dtype == np.uint8 for image, _ in faces)
    openness = [float(eye_openness(torch.from_numpy(points)[None]).mean()) for _, points in faces]
    assert min(openness) < 0.06 < 0.15 < max(openness)
    # Where the lids are shut, the white of the eyes is gone from between them.
    shut, clear = (faces[int(f(openness))][0] for f in (np.argmin, np.argmax))
    assert (clear.min(2) > 230).sum() > 4 * (shut.min(2) > 230).sum()


def test_the_same_seed_gives_the_same_edits():
    assert draw_edit(np.random.default_rng(5)) == draw_edit(np.random.default_rng(5))
    blinks = [draw_edit(rng).blink for rng in [np.random.default_rng(0)] for _ in range(400)]
    assert 110 <= sum(b == 1 for b in blinks) <= 170
    assert 90 <= sum(b == 0 for b in blinks) <= 150
