"""Training pairs: what a sample holds, that it fits its pictures, what happens to clips that cannot be used."""

import csv
import pickle
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import portrayal.data.frames
from portrayal.data.bad import BadSample
from portrayal.data.clips import VALIDATION_IDENTITIES, clip_table
from portrayal.data.pair_options import PairOptions
from portrayal.data.pairs import ClipPairs, draw_frames, pair_table
from portrayal.errors import InputError
from portrayal.face.morphable import load_face_model
from portrayal.face.topology import LEFT_IRIS, RIGHT_IRIS
from tests.data.made_faces import make_folder
from tests.media.made_videos import every, make_video

PLAIN = PairOptions(mirror=False, colour=0.0)


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path / "faces", frames=12)


def pairs(folder, cache=None, *, size=128, options=PLAIN, split="train", seed=0):
    return ClipPairs(folder, split, size=size, seed=seed, samples=100, options=options, cache=cache)


def rigid(sample, role):
    """Landmarks that the role's pose gives the mean face, (478, 3) px."""
    turned = sample[f"{role}_scale"] * load_face_model().mean @ sample[f"{role}_rotation"].T
    return turned + sample[f"{role}_translation"]


def test_a_sample_is_two_frames_of_one_clip_with_their_faces(folder, tmp_path):
    data = pairs(folder, tmp_path / "cache")
    for index in range(6):
        sample = data[index]
        for role in ("source", "driving"):
            assert sample[role].shape == (3, 128, 128)
            assert sample[role].dtype == torch.uint8
            shapes = {"landmarks": (478, 3), "rotation": (3, 3), "translation": (3,), "scale": ()}
            for name, shape in shapes.items():
                assert sample[f"{role}_{name}"].shape == shape
                assert sample[f"{role}_{name}"].dtype == torch.float32
            # The drawn faces are the mean face moved rigidly: the pose alone must give the landmarks ...
            assert (rigid(sample, role) - sample[f"{role}_landmarks"]).abs().max() < 1.0
            # ... and the dark irises lie where the landmarks say.
            for iris in (RIGHT_IRIS, LEFT_IRIS):
                x, y = sample[f"{role}_landmarks"][iris[0], :2].int().tolist()
                assert sample[role][:, y, x].max() < 110
        assert not torch.equal(sample["source"], sample["driving"])
        assert sample["identity"] in (0, 1)
        assert not sample["pseudo"]


def test_labels_follow_the_size_of_the_pictures(folder, tmp_path):
    small, large = (pairs(folder, tmp_path / "cache", size=size)[3] for size in (64, 128))
    for name in ("landmarks", "translation", "scale"):
        torch.testing.assert_close(2 * small[f"driving_{name}"], large[f"driving_{name}"])
    assert torch.equal(small["driving_rotation"], large["driving_rotation"])


def test_a_mirrored_pair_is_consistent(folder):
    plain, mirror = pairs(folder), pairs(folder, options=PairOptions(colour=0.0))
    turned = 0
    for index in range(8):
        a, b = plain[index], mirror[index]
        if torch.equal(a["source"], b["source"]):
            assert torch.equal(a["driving"], b["driving"])
            continue
        turned += 1
        for role in ("source", "driving"):
            assert torch.equal(a[role].flip(2), b[role])
            assert (rigid(b, role) - b[f"{role}_landmarks"]).abs().max() < 1.0
            assert torch.linalg.det(b[f"{role}_rotation"]) == pytest.approx(1, abs=1e-5)
    assert 0 < turned < 8


def test_colours_change_alike_and_faces_stay(folder):
    plain, colour = pairs(folder), pairs(folder, options=PairOptions(mirror=False, colour=0.3))
    changes = []
    for index in range(4):
        a, b = plain[index], colour[index]
        assert torch.equal(a["source_landmarks"], b["source_landmarks"])
        # Both pictures have the same grey background: the same change of both gives the same colour there.
        corner = [b[role][:, :8, :8].float().mean((1, 2)) for role in ("source", "driving")]
        assert (corner[0] - corner[1]).abs().max() < 3
        changes.append(float((b["source"].float() - a["source"].float()).abs().mean()))
    assert max(changes) > 4


def test_samples_depend_on_seed_and_index_alone(folder, tmp_path):
    options = PairOptions(photos=0.4, photo_variants=2)
    one = pairs(folder, tmp_path / "cache", options=options)
    other = pairs(folder, None, options=options)  # without a cache the same
    _ = other[9]
    for index in range(6):
        a, b = one[index], other[index]
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(one[0]["source"], pairs(folder, seed=1)[0]["source"])


def test_photos_become_pairs_with_the_photo_as_truth(folder, tmp_path):
    options = PairOptions(mirror=False, colour=0.0, photos=1.0, photo_variants=3)
    data = pairs(folder, tmp_path / "cache", options=options)
    truths, sources = set(), set()
    for index in range(12):
        sample = data[index]
        assert sample["pseudo"]
        truths.add(sample["driving"].numpy().tobytes())
        sources.add(sample["source"].numpy().tobytes())
        assert (sample["source_landmarks"] - sample["driving_landmarks"]).abs().max() > 1
    assert len(truths) <= 3 < len(sources) <= 9  # three photos with three variants each
    reverse = PairOptions(mirror=False, colour=0.0, photos=1.0, photo_variants=3, photo_is_source=True)
    assert torch.equal(pairs(folder, options=reverse)[0]["source"], data[0]["driving"])


@settings(deadline=None)
@given(st.lists(st.integers(0, 300), min_size=2, unique=True), st.integers(1, 4), st.integers(0, 99))
def test_frames_of_a_pair_differ(frames, candidates, seed):
    chosen = draw_frames(np.array(sorted(frames)), candidates, np.random.default_rng(seed))
    assert len(set(chosen)) == 2
    assert set(chosen) <= set(frames)


def test_more_candidates_draw_farther_frames():
    frames, rng = np.arange(100), np.random.default_rng(0)
    gaps = [np.mean([abs(np.subtract(*draw_frames(frames, n, rng))) for _ in range(400)]) for n in (1, 4)]
    assert gaps[0] == pytest.approx(33, abs=4)
    assert gaps[1] > gaps[0] + 10


def test_people_or_clips_are_drawn_alike(folder):
    rows = [["clip000", "id000", 12], ["clip001", "id001", 12]]
    for i in range(5):
        for ending in ("mp4", "npz"):
            shutil.copy(folder / "clips" / f"clip001.{ending}", folder / "clips" / f"more{i}.{ending}")
        rows.append([f"more{i}", "id001", 12])
    write_table(folder, rows)
    share = {}
    for by_identity in (True, False):
        data = pairs(folder, options=PairOptions(mirror=False, colour=0.0, by_identity=by_identity), size=16)
        share[by_identity] = np.mean([int(data[i]["identity"]) for i in range(100)])
    assert 0.35 < share[True] < 0.65
    assert share[False] > 0.75  # six of the seven clips show id001


def test_each_half_has_its_own_people(folder):
    assert VALIDATION_IDENTITIES.isdisjoint(pair_table(folder, "train").identities)
    assert set(pair_table(folder, "validation").identities) == {"id003"}
    rows = [["clip000", "id000", 12, "train"], ["clip001", "id000", 12, "validation"]]
    write_table(folder, rows, "split")
    with pytest.raises(InputError, match=r"clips\.csv: identity id000 is in both halves \(split\)"):
        pair_table(folder, "train")


def test_frames_are_decoded_once(folder, tmp_path, monkeypatch):
    data = pairs(folder, tmp_path / "cache")
    before = [data[i] for i in range(8)]
    stored = sorted((tmp_path / "cache").glob("*.npy"))
    assert len(stored) == 2  # the validation clip is not touched
    assert np.load(stored[0]).shape == (12, 128, 128, 3)
    monkeypatch.setattr(portrayal.data.frames, "read_frames", None)
    again = pairs(folder, tmp_path / "cache")
    assert all(torch.equal(again[i]["source"], before[i]["source"]) for i in range(8))


def test_a_cut_off_cache_file_is_made_again(folder, tmp_path):
    data = pairs(folder, tmp_path / "cache")
    before = [data[i]["source"] for i in range(6)]
    for path in (tmp_path / "cache").glob("*.npy"):
        path.write_bytes(path.read_bytes()[:1000])
    assert all(torch.equal(pairs(folder, tmp_path / "cache")[i]["source"], before[i]) for i in range(6))


def test_a_cache_that_cannot_be_written_only_costs_time(folder, tmp_path, monkeypatch, caplog):
    expected = pairs(folder, None)[0]["source"]
    (tmp_path / "file").write_text("")
    data = pairs(folder, tmp_path / "file" / "cache")
    assert torch.equal(data[0]["source"], expected)
    assert "decoded each time" in caplog.text
    monkeypatch.setattr(portrayal.data.frames, "RESERVE", 1 << 60)  # as if the disk were full
    assert torch.equal(pairs(folder, tmp_path / "full")[0]["source"], expected)
    assert "nearly full" in caplog.text
    assert not list((tmp_path / "full").glob("*.npy"))


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("content", [b"", b"no video"])
def test_a_broken_video_is_a_bad_sample(folder, tmp_path, cached, content):
    """The training takes another sample then (`train.batches`); the other clip's samples stay what they were."""
    expected = [pairs(folder)[i] for i in range(8)]
    (folder / "clips" / "clip000.mp4").write_bytes(content)
    data, bad = pairs(folder, tmp_path / "cache" if cached else None), 0
    for index, sample in enumerate(expected):
        if sample["identity"] == 1:
            assert torch.equal(data[index]["source"], sample["source"])
        else:
            bad += 1
            with pytest.raises(BadSample, match=r"clip000\.mp4"):
                _ = data[index]
    assert 0 < bad < 8
    if cached:
        assert [path.name.split("-")[0] for path in (tmp_path / "cache").glob("*.npy")] == ["clip001"]
    again = pickle.loads(pickle.dumps(BadSample("clip000", "what is wrong")))  # as a loader's worker hands it on
    assert (again.name, str(again)) == ("clip000", "what is wrong")


def test_labels_of_another_length_name_file_and_field(folder):
    write_table(folder, [["clip000", "id000", 11], ["clip001", "id001", 12]])
    data = pairs(folder)
    assert list(data.table.skipped) == ["clip000"]
    assert "clip000.npz" in data.table.skipped["clip000"]
    assert "frames = 11" in data.table.skipped["clip000"]
    assert {int(data[i]["identity"]) for i in range(8)} == {0}  # the one person that is left


def test_a_video_of_another_length_is_skipped(folder, tmp_path):
    shorter = make_folder(tmp_path / "other", frames=9)
    shutil.copy(shorter / "clips" / "clip000.mp4", folder / "clips" / "clip000.mp4")
    sentences = []
    for cache in (None, tmp_path / "cache"):
        data = pairs(folder, cache)
        clip = next(c for c in clip_table(folder) if c.name == "clip000")
        with pytest.raises(BadSample) as error:
            data.frames.read(clip, [0, 11])
        sentences.append(str(error.value))
    assert "clip000.mp4: 9 frames, but clips.csv has frames = 12" in sentences[1]
    assert "clip000.mp4: frame 11 is missing" in sentences[0]


def test_a_folder_without_pairs(folder):
    for name in ("clip000", "clip001"):
        path = folder / "clips" / f"{name}.npz"
        arrays = dict(np.load(path))
        np.savez(path, landmarks_delta=arrays["landmarks_delta"], valid=np.arange(12) == 3)
    with pytest.raises(InputError, match=r"clips\.csv: no train clip has a pair .*clip000\.npz: fewer than two frames"):
        pairs(folder)


def test_other_mistakes_in_the_table(folder):
    write_table(folder, [["clip000", "id000", "many"]])
    with pytest.raises(
        InputError, match=r"clips\.csv: frames must be a whole number in the line 'clip000, id000, many'"
    ):
        pairs(folder)
    write_table(folder, [["../clip000", "id000", 12]])
    with pytest.raises(InputError, match=r"clips\.csv: clip '\.\./clip000' is no file name"):
        pairs(folder)


def test_unequal_sides_are_refused(folder, tmp_path):
    make_video(folder / "clips" / "clip000.mp4", every(Fraction(1, 25), 12))
    clip = next(c for c in clip_table(folder) if c.name == "clip000")
    with pytest.raises(BadSample, match=r"clip000\.mp4: frames are 96x64, clips must be square"):
        pairs(folder, tmp_path / "cache").frames.read(clip, [0])


def test_development_data_has_pairs(data_root, tmp_path):
    data = ClipPairs(data_root, "train", size=64, seed=0, samples=4, cache=tmp_path)
    assert len(data.table.people) > 50
    assert VALIDATION_IDENTITIES.isdisjoint(data.table.identities)
    sample = data[0]
    assert 0.08 < sample["source_scale"] / 64 < 0.5


def write_table(folder: Path, rows: list, *more: str) -> None:
    with (folder / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["clip", "identity", "frames", *more], *rows])


def test_data_can_be_imported_before_the_systems_that_train_on_it():
    command = "import portrayal.data.pairs, portrayal.data.shard_pairs, portrayal.systems"
    subprocess.run([sys.executable, "-c", command], check=True)
