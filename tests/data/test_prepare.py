"""Raw videos to a clip folder, and from there to pairs and shards: the portrait of scikit-image speaks."""

import csv
import json
import shutil
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader

import portrayal.data.prepare as module
from portrayal.data.clip_labels import load_clip_track
from portrayal.data.clips import clip_table, load_clip_landmarks
from portrayal.data.held_out import first_samples
from portrayal.data.pair_options import PairOptions
from portrayal.data.pairs import ClipPairs
from portrayal.data.prepare import list_jobs, prepare, split_of
from portrayal.data.prepare_options import ClipRules, PrepareOptions, ShardOptions
from portrayal.data.shard_pairs import ShardPairs
from portrayal.data.shards import read_index, write_shards
from portrayal.errors import InputError, MissingFileError
from portrayal.media.video import VideoWriter, probe, read_frames
from portrayal.systems.mmfa.config import Config
from portrayal.systems.mmfa.train import STAGE
from portrayal.tracking import TRACK_SUFFIX
from portrayal.train.loop import train
from portrayal.train.options import RunOptions as TrainOptions

RULES = ClipRules(min_frames=8, min_side=80, max_outside=0.3, min_confidence=0.5)
OPTIONS = PrepareOptions(size=96, rules=RULES, validation_share=0.0, device="cpu")


@pytest.fixture(scope="module")
def talk(talking) -> list[np.ndarray]:
    """Frames of the speaking portrait."""
    return [frame.image for frame in read_frames(talking)]


def write_video(path: Path, pictures: list[np.ndarray], fps: int = 25) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = pictures[0].shape[:2]
    with VideoWriter(path, width=width, height=height) as writer:
        for i, picture in enumerate(pictures):
            writer.write(picture, Fraction(i, fps), Fraction(1, fps))
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory, talk) -> Path:
    """Two people: ann with a cut between two shots and a stretch without a face, bob with a short video."""
    folder = tmp_path_factory.mktemp("videos")
    darker = [(p[:, ::-1] // 2) for p in talk[:12]]  # another shot: mirrored and dark
    nobody = [np.full_like(talk[0], 90)] * 5
    write_video(folder / "ann" / "one.mp4", talk[:14] + darker + nobody)
    write_video(folder / "bob.mp4", talk[10:20])
    (folder / "broken.mp4").write_bytes(b"no video at all")
    return folder


@pytest.fixture(scope="module")
def prepared(videos, tmp_path_factory):
    return prepare(videos, tmp_path_factory.mktemp("clips") / "faces", OPTIONS)


def contents(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_clips_follow_cuts_and_every_frame_is_accounted_for(prepared):
    clips = clip_table(prepared.out)
    assert [(c.name, c.identity, c.frames) for c in clips] == [
        ("ann_one_000", "ann", 14),
        ("ann_one_001", "ann", 12),
        ("bob_000", "bob", 10),
    ]
    report = json.loads((prepared.out / "report.json").read_text())
    assert report["frames"] == 14 + 12 + 5 + 10
    dropped = sum(d["frames"] for d in report["dropped"].values())
    assert report["kept"]["frames"] + dropped == report["frames"]
    assert report["dropped"]["no face"]["frames"] == 5
    assert "broken.mp4" in report["unreadable"]["broken"]
    summary = prepared.summary()
    assert "no face" in summary
    assert "3 clips of 2 people" in summary


def test_clips_are_square_with_fitting_tracks(prepared):
    for clip in clip_table(prepared.out):
        info = probe(clip.video)
        assert (info.width, info.height, info.frames, info.rate) == (96, 96, clip.frames, 25)
        track = load_clip_track(clip)
        assert len(track) == clip.frames
        assert track.times[1] == Fraction(1, 25)
        landmarks, valid = load_clip_landmarks(prepared.out, clip)
        assert valid.all()
        points = landmarks[:, :468, :2]
        low, high = points.min((0, 1)), points.max((0, 1))
        # The union of all boxes is in the middle and fills 1 / 1.2 of the crop.
        assert (high - low).max() == pytest.approx(96 / 1.2, rel=0.01)
        assert (low + high) / 2 == pytest.approx([48, 48], abs=0.5)


def test_the_crop_shows_the_face_that_was_tracked(prepared):
    """Tracked again, the clip's own pictures give its landmarks."""
    from portrayal.face.tracker import load_tracker

    clip = clip_table(prepared.out)[0]
    picture = next(read_frames(clip.video)).image
    again = load_tracker("cpu").track_picture(picture)[0].landmarks[0, :, :2].numpy()
    stored = load_clip_landmarks(prepared.out, clip)[0][0, :, :2]
    assert np.abs(again - stored).mean() < 1.5


def test_an_interrupted_run_gives_the_same_folder(videos, prepared, tmp_path, monkeypatch):
    real, calls = module.prepare_video, []

    def dies_at_the_second(video, *rest):
        calls.append(video.name)
        if len(calls) == 2:
            (tmp_path / "faces" / "clips" / "bob_000.mp4").write_bytes(b"half a clip")
            raise KeyboardInterrupt
        return real(video, *rest)

    monkeypatch.setattr(module, "prepare_video", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        prepare(videos, tmp_path / "faces", OPTIONS)
    assert not (tmp_path / "faces" / "clips.csv").exists()
    monkeypatch.setattr(module, "prepare_video", lambda video, *rest: calls.append(video.name) or real(video, *rest))
    prepare(videos, tmp_path / "faces", OPTIONS)
    assert calls == ["one.mp4", "bob.mp4", "bob.mp4", "broken.mp4"]  # the first video is not done again
    assert contents(tmp_path / "faces") == contents(prepared.out)


@pytest.mark.slow
def test_several_workers_give_the_same_folder(videos, prepared, tmp_path):
    options = PrepareOptions(size=96, rules=RULES, validation_share=0.0, device="cpu", workers=2)
    counted = []
    prepare(videos, tmp_path / "faces", options, progress=lambda stage, done, total: counted.append((stage, done)))
    assert contents(tmp_path / "faces") == contents(prepared.out)
    assert counted[-1][0] == "videos"
    assert max(done for stage, done in counted if stage == "frames") > 20


def test_other_options_need_another_folder(videos, prepared):
    other = PrepareOptions(size=64, rules=RULES, device="cpu")
    with pytest.raises(InputError, match=r"options\.json has another size; use the same options"):
        prepare(videos, prepared.out, other)


def test_nothing_usable_says_where_the_reasons_are(videos, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(videos / "broken.mp4", tmp_path / "in" / "broken.mp4")
    with pytest.raises(InputError, match=r"no clip could be made of its videos; .*report\.json says why"):
        prepare(tmp_path / "in", tmp_path / "out", OPTIONS)
    assert "broken" in json.loads((tmp_path / "out" / "report.json").read_text())["unreadable"]


def test_people_and_names(tmp_path):
    for path in ("x/a.mp4", "x_a.mp4", "b c.MOV", "notes.txt"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"1")
    jobs = {job.video.relative_to(tmp_path).as_posix(): job for job in list_jobs(tmp_path, None)}
    assert {path: job.identity for path, job in jobs.items()} == {"x/a.mp4": "x", "x_a.mp4": "x_a", "b c.MOV": "b c"}
    assert len({job.name for job in jobs.values()}) == 3
    assert jobs["b c.MOV"].name == "b_c"
    table = tmp_path / "people.csv"
    table.write_text("video,identity\nx/a.mp4,ann\nx_a.mp4,ann\nb c.MOV,bob\n")
    assert [job.identity for job in list_jobs(tmp_path, table)] == ["bob", "ann", "ann"]
    table.write_text("video,identity\nx/a.mp4,ann\n")
    with pytest.raises(InputError, match=r"people\.csv: the video b c\.MOV has no line"):
        list_jobs(tmp_path, table)
    with pytest.raises(MissingFileError, match="is no folder"):
        list_jobs(tmp_path / "nowhere", None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="there is no video"):
        list_jobs(tmp_path / "empty", None)


def test_halves_follow_from_labels_alone():
    halves = [split_of(f"person{i}", 0.25) for i in range(400)]
    assert 70 < halves.count("validation") < 130
    assert halves[:50] == [split_of(f"person{i}", 0.25) for i in range(50)]
    assert {split_of(f"person{i}", 0.0) for i in range(50)} == {"train"}


def test_prepared_clips_have_pairs(prepared, tmp_path):
    data = ClipPairs(prepared.out, "train", size=48, seed=0, samples=8, cache=tmp_path)
    sample = data[0]
    assert sample["source"].shape == (3, 48, 48)
    assert abs(float(sample["source_landmarks"][:468, 0].mean()) - 24) < 6
    labels = prepared.out / "clips" / f"bob_000{TRACK_SUFFIX}"
    kept = labels.read_bytes()
    labels.write_bytes(kept[:2000])
    try:
        assert list(ClipPairs(prepared.out, "train", size=48, seed=0, samples=8).table.skipped) == ["bob_000"]
    finally:
        labels.write_bytes(kept)


@pytest.fixture(scope="module")
def shards(prepared, tmp_path_factory):
    """Each clip in a shard of its own."""
    out = tmp_path_factory.mktemp("shards") / "shards"
    return write_shards(prepared.out, out, ShardOptions(shard_mb=0))


def test_shards_hold_every_clip_once(prepared, shards):
    index = read_index(shards.out)
    assert (shards.clips, shards.shards, shards.skipped) == (3, 3, {})
    assert index["identities"] == {"ann": 0, "bob": 1}
    assert list(index["shards"]["train"].values()) == [1, 1, 1]
    assert index["shards"]["validation"] == {}
    with pytest.raises(InputError, match="there are shards in this folder already"):
        write_shards(prepared.out, shards.out)


def shard_pairs(shards, **changes):
    plain = PairOptions(mirror=False, colour=0.0)
    pairs = ShardPairs(shards.out, "train", size=96, seed=0, options=plain)
    pairs.take_part(**changes)
    return pairs


def test_shards_give_the_pairs_of_the_folder(prepared, shards):
    """Every pair is two frames of one clip with that clip's labels."""
    frames = {c.name: [f.image for f in read_frames(c.video)] for c in clip_table(prepared.out)}
    tracks = {c.name: (load_clip_track(c).params, c.identity) for c in clip_table(prepared.out)}
    samples = first_samples(shard_pairs(shards), 24)
    seen = set()
    for sample in samples:
        clip = next(n for n, (p, _) in tracks.items() if (p.landmarks == sample["source_landmarks"]).all((1, 2)).any())
        params, identity = tracks[clip]
        seen.add(clip)
        assert {"ann": 0, "bob": 1}[identity] == sample["identity"]
        places = []
        for role in ("source", "driving"):
            place = int((params.landmarks == sample[f"{role}_landmarks"]).all(2).all(1).nonzero()[0, 0])
            places.append(place)
            assert np.array_equal(sample[role].permute(1, 2, 0).numpy(), frames[clip][place])
            assert torch.equal(sample[f"{role}_rotation"], params.rotation[place])
            assert sample[f"{role}_scale"] == pytest.approx(float(params.scale[place]))
        assert places[0] != places[1]
    assert len(seen) == 3


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("seen", [1, 4, 5])
def test_a_resumed_stream_goes_on_where_it_was(shards, workers, seen):
    """However many workers take turns, and at whose turn it was."""

    def batches(start, count):
        loader = DataLoader(shard_pairs(shards, workers=workers, batch=2, start=start), 2, num_workers=workers)
        return list(islice(loader, count))

    for a, b in zip(batches(0, 7)[seen:], batches(seen, 7 - seen), strict=True):
        assert all(torch.equal(a[k], b[k]) for k in a)


def test_each_shard_goes_to_one_worker(shards):
    alone = [first_samples(shard_pairs(shards, process=r, processes=3), 3) for r in range(3)]
    clips = [{s["source_landmarks"].numpy().tobytes() for s in part} for part in alone]
    assert not clips[0] & clips[1]
    assert not clips[1] & clips[2]
    with pytest.raises(InputError, match="3 train shards for 4 workers"):
        shard_pairs(shards, processes=2, workers=2)


def test_training_from_shards(shards, tmp_path):
    """A run that was stopped in its third step ends with the weights of one that was not."""

    def options(name):
        return TrainOptions(
            shards.out, tmp_path / name, precision="32-true", device="cpu", workers=0, save_every_steps=2
        )

    def interrupted(state, batch, config):
        if state.step == 3:
            raise KeyboardInterrupt
        return STAGE.train_step(state, batch, config)

    config = replace(Config.tiny(), steps=4, batch=2)
    whole = load_file(train(STAGE, config, options("whole")))
    with pytest.raises(KeyboardInterrupt):
        train(replace(STAGE, train_step=interrupted), config, options("parts"))
    again = load_file(train(STAGE, config, options("parts")))
    assert all(torch.equal(again[name], value) for name, value in whole.items())


def test_bad_shards(shards, tmp_path):
    with pytest.raises(InputError, match=r"there is no validation shard"):
        ShardPairs(shards.out, "validation", size=96, seed=0)
    with pytest.raises(InputError, match=r"shards\.json cannot be read"):
        ShardPairs(tmp_path, "train", size=96, seed=0)
    shutil.copytree(shards.out, tmp_path / "shards")
    index = json.loads((tmp_path / "shards" / "shards.json").read_text())
    index["shards"]["train"] = {"pipe:true": 1}
    (tmp_path / "shards" / "shards.json").write_text(json.dumps(index))
    copy = ShardPairs(tmp_path / "shards", "train", size=96, seed=0)
    with pytest.raises(InputError, match="can be read"):  # a file of that name is looked for, nothing is executed
        next(iter(copy))


def test_a_damaged_shard_is_left_out(shards, tmp_path):
    shutil.copytree(shards.out, tmp_path / "shards")
    first = sorted((tmp_path / "shards").glob("*.tar"))[0]
    first.write_bytes(first.read_bytes()[:3000])
    copy = ShardPairs(tmp_path / "shards", "train", size=96, seed=0)
    assert len(first_samples(copy, 6)) == 6
    assert "damaged" in copy.skipped[0]


def test_a_clip_that_cannot_be_packed_is_named(prepared, tmp_path):
    shutil.copytree(prepared.out, tmp_path / "faces")
    (tmp_path / "faces" / "clips" / "bob_000.mp4").unlink()
    done = write_shards(tmp_path / "faces", tmp_path / "shards")
    assert list(done.skipped) == ["bob_000"]
    assert "bob_000.mp4 cannot be read" in done.summary()
    with (tmp_path / "faces" / "clips.csv").open() as file:
        rows = list(csv.reader(file))
    rows[1][3] = "validation"
    with (tmp_path / "faces" / "clips.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(InputError, match="identity ann is in both halves"):
        write_shards(tmp_path / "faces", tmp_path / "other")
