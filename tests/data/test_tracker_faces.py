"""Training samples of the tracker: what they hold, and that they depend on seed and index alone."""

import numpy as np
import pytest
import torch

from portrayal.data.tracker_faces import TrackerFaces, collate, draw_crop, draw_tile, load_pool
from portrayal.errors import MissingFileError
from portrayal.face.box import box_of_landmarks
from portrayal.face.config import Config
from tests.data.made_faces import make_folder


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    return load_pool(make_folder(tmp_path_factory.mktemp("data") / "faces"), "train")


def test_validation_identities_stay_out(tmp_path):
    root = make_folder(tmp_path / "faces")
    train, validation = load_pool(root, "train"), load_pool(root, "validation")
    assert (len(train.clips), len(validation.clips)) == (2, 1)
    assert len(train.photos) == 3
    assert (len(train.scenes), len(train.faceless)) == (1, 1)
    assert len(train.clips[0]) == 4  # every second of 8 frames


def test_missing_folder(tmp_path):
    with pytest.raises(MissingFileError, match=r"clips\.csv"):
        load_pool(tmp_path, "train")


def test_samples_depend_on_seed_and_index_alone(pool):
    config = Config.tiny()
    one, other = (TrackerFaces(pool, config, seed=3, samples=100) for _ in range(2))
    _ = other[7]
    for index in (4, 5):
        a, b = one[index], other[index]
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(one[4]["crop"], TrackerFaces(pool, config, seed=4, samples=100)[4]["crop"])


def test_crop_labels_lie_on_the_face(pool):
    """White eyes of the drawn faces: mean brightness at the lids' centre beats the cheek's in most crops."""
    rng = np.random.default_rng(0)
    config = Config(crop_size=128)
    faces = [draw_crop(pool, config, rng) for _ in range(40)]
    inside = [points for _, points, is_face in faces if is_face]
    assert 30 <= len(inside) < 40  # some crops are negatives
    side = np.median([box_of_landmarks(np.c_[(p[:, :2] + 1) * 64, p[:, 2]])[2] for p in inside])
    assert 128 / config.crop_margin == pytest.approx(side, rel=0.15)


def test_tiles_report_only_faces_in_sight(pool):
    rng = np.random.default_rng(1)
    config = Config.tiny()
    for _ in range(20):
        tile, faces = draw_tile(pool, config, rng)
        assert tile.shape == (config.tile_size, config.tile_size, 3)
        seen = faces[faces[:, 2] > 0]
        assert ((seen[:, :2] >= 0) & (seen[:, :2] <= config.tile_size)).all()
        assert (np.abs(seen[:, 3]) < 1.3).all()


def test_collate_stacks_tiles_of_half_the_samples(pool):
    data = TrackerFaces(pool, Config.tiny(), seed=0, samples=8)
    batch = collate([data[i] for i in range(4)])
    assert batch["crop"].shape == (4, 3, 64, 64)
    assert batch["tile"].shape == (2, 3, 96, 96)
    assert batch["crop"].dtype == torch.uint8
