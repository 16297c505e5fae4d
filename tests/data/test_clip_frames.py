"""Frames of one clip: what a sample holds, and what a mirror does to it."""

import numpy as np
import pytest
import torch

from portrayal.data.clip_frames import ClipFrames, mirror_frames
from portrayal.data.clip_labels import load_clip_track
from portrayal.data.clips import clip_table
from portrayal.data.frames import FrameCache
from portrayal.errors import InputError
from portrayal.face.camera import camera_from_pose, head_to_world, world_to_picture
from portrayal.face.morphable import load_face_model
from portrayal.face.topology import MIRROR
from tests.data.made_faces import make_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("frames") / "faces", frames=8)


def test_a_sample_has_different_frames_of_one_clip_with_their_labels(folder):
    data = ClipFrames(folder, "train", size=32, seed=0, samples=6, count=5)
    labels = {clip.name: (clip, load_clip_track(clip).params) for clip in clip_table(folder, "train")}
    for index in range(6):
        sample = data[index]
        assert sample["pictures"].shape == (5, 3, 32, 32)
        clip, params = labels[f"clip00{int(sample['identity'])}"]
        rows = [int((params.camera - camera).abs().sum(1).argmin()) for camera in sample["camera"]]
        assert len(set(rows)) == 5
        for name in ("expression", "gaze", "camera"):
            torch.testing.assert_close(sample[name], getattr(params, name)[rows])
        torch.testing.assert_close(sample["shape"], params.identity[rows])
        torch.testing.assert_close(sample["landmarks"], params.landmarks[rows, :, :2] / 128)
        shown = np.stack(FrameCache(None, 32).read(clip, rows))
        assert np.array_equal(sample["pictures"].permute(0, 2, 3, 1).numpy(), shown)


def test_a_sample_follows_from_seed_and_index(folder):
    one, same, other = (ClipFrames(folder, "train", size=32, seed=s, samples=4, count=5) for s in (0, 0, 1))
    assert all(torch.equal(one[2][k], same[2][k]) for k in one[2])
    assert any(not torch.equal(one[i]["camera"], other[i]["camera"]) for i in range(4))


def test_clips_that_are_too_short_are_explained(folder):
    with pytest.raises(InputError, match=r"no train clip has 9 frames with a face, the longest has 8; use longer"):
        ClipFrames(folder, "train", size=32, seed=0, samples=1, count=9)


def test_every_second_sample_is_mirrored(folder):
    plain, mirrored = (ClipFrames(folder, "train", size=32, seed=0, samples=40, count=2, mirror=m) for m in (0, 1))
    turned = [i for i in range(40) if not torch.equal(plain[i]["pictures"], mirrored[i]["pictures"])]
    assert 8 < len(turned) < 32
    for name, value in mirror_frames({k: v for k, v in plain[turned[0]].items() if k != "identity"}).items():
        torch.testing.assert_close(mirrored[turned[0]][name], value)


def test_a_mirrored_face_is_where_the_mirrored_picture_shows_it():
    """Landmarks of a turned, smiling head through its camera, against those of the mirrored fields."""
    torch.manual_seed(0)
    model = load_face_model()
    yaw = torch.tensor(0.4)
    turn = torch.tensor([[yaw.cos(), 0, yaw.sin()], [0, 1, 0], [-yaw.sin(), 0, yaw.cos()]])[None]
    camera = camera_from_pose(turn, torch.tensor([[60.0, 68, 0]]), torch.tensor([30.0]), width=128, height=128)
    camera[:, [17, 18]] = torch.tensor([0.1, 0.55])  # skew and a principal point beside the middle
    fields = {
        "pictures": torch.rand(1, 3, 8, 8),
        "expression": torch.randn(1, 64),
        "shape": torch.randn(1, 80),
        "gaze": torch.tensor([[[0.1, 0.2], [0.3, 0.4]]]),
        "camera": camera,
        "landmarks": torch.rand(1, 478, 2),
    }
    mirrored = mirror_frames(fields)

    def seen(frames):
        shape = model.shape(frames["shape"], frames["expression"])
        return world_to_picture(head_to_world(shape), frames["camera"], width=128, height=128)

    torch.testing.assert_close(mirror_frames(mirrored)["landmarks"], fields["landmarks"])
    there = seen(fields)[:, list(MIRROR)]
    there[..., 0] = 128 - there[..., 0]
    assert (seen(mirrored) - there).abs().max() < 1.5  # the basis is symmetric but for rounding
    assert (seen(fields) - there).abs().max() > 10
    torch.testing.assert_close(mirrored["gaze"], torch.tensor([[[-0.3, 0.4], [-0.1, 0.2]]]))
    assert torch.equal(mirrored["pictures"], fields["pictures"].flip(-1))
    again = mirror_frames(mirrored)
    assert all(torch.allclose(again[name], fields[name], atol=1e-6) for name in fields)


def test_of_a_photo_the_warped_picture_comes_first(folder):
    """The second picture is the photo's own face: only its labels lie in the middle, where the crop puts them."""
    data = ClipFrames(folder, "train", size=64, seed=0, samples=6, count=2, photo_share=1.0)
    people = {data.table.identities[photo.identity] for photo in data.table.photos}
    for index in range(3):
        sample = data[index]
        assert int(sample["identity"]) in people
        assert sample["pictures"].shape == (2, 3, 64, 64)
        own = [data.photos.read(photo, np.random.Generator(np.random.PCG64(0)))[0][0] for photo in data.table.photos]
        shown = sample["pictures"].permute(0, 2, 3, 1).numpy()
        assert any(np.array_equal(shown[1], picture) for picture in own)
        assert not any(np.array_equal(shown[0], picture) for picture in own)
        assert not torch.allclose(sample["camera"][0], sample["camera"][1])


def test_clips_and_photos_are_mixed_by_share(folder):
    data = ClipFrames(folder, "train", size=32, seed=0, samples=60, count=2, photo_share=0.3)
    people = {data.table.identities[photo.identity] for photo in data.table.photos}
    share = sum(int(data[i]["identity"]) in people for i in range(60)) / 60
    assert 0.1 < share < 0.5
    with pytest.raises(ValueError, match="samples of two pictures, not of 5"):
        ClipFrames(folder, "train", size=32, seed=0, samples=1, count=5, photo_share=0.3)


def test_colours_change_alike_in_all_pictures_of_a_sample(folder):
    plain, coloured = (ClipFrames(folder, "train", size=32, seed=0, samples=9, count=3, colour=c) for c in (0.0, 0.3))
    for index in range(3):
        before, after = (data[index]["pictures"].float().mean((2, 3)) for data in (plain, coloured))
        change = after - before
        assert change.abs().max() > 2
        assert (change - change.mean(0)).abs().max() < 0.3 * change.abs().max()
