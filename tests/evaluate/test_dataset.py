"""Layouts of public data sets, and the fixed list of pairs."""

from __future__ import annotations

from pathlib import Path

import pytest

from portrayal.errors import InputError, MissingFileError
from portrayal.evaluate.dataset import EvalClip, identities, read_dataset
from portrayal.evaluate.options import Layout
from portrayal.evaluate.pairs import PER_IDENTITY, fixed_pairs, make_pairs, pairs_for

PATHS: list[tuple[Layout, str, str]] = [
    ("voxceleb", "mp4/id10283/aZEd2TbWmS0/00012.mp4", "id10283"),
    ("voxceleb", "test/id10283#aZEd2TbWmS0#00012#12#300.mp4", "id10283"),
    ("vfhq", "Clip+1Pf9GkRLLdA+P0+C2+F9012-9179.mp4", "1Pf9GkRLLdA+P0"),
    ("talkinghead", "val/cropped_clips/--Y9imYnfBw_0000_S0_E271_L504_T63_R792_B351.mp4", "--Y9imYnfBw"),
    ("hdtf", "RD_Radio11_000.mp4", "RD_Radio11"),
    ("hdtf", "WRA_JohnThune_001.mp4", "WRA_JohnThune"),
    ("videos", "carl/a/b.webm", "carl"),
    ("videos", "carl.mov", "carl"),
]


@pytest.mark.parametrize(("layout", "path", "identity"), PATHS)
def test_layout_tells_who_it_is(tmp_path: Path, layout: Layout, path: str, identity: str) -> None:
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).touch()
    (tmp_path / "readme.txt").touch()
    (clip,) = read_dataset(tmp_path, layout=layout)
    assert clip.identity == identity
    assert clip.video == tmp_path / path
    assert "/" not in clip.name


def test_what_does_not_fit_the_layout_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").touch()
    with pytest.raises(InputError, match="layout vfhq"):
        read_dataset(tmp_path, layout="vfhq")


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="--data"):
        read_dataset(tmp_path / "nowhere")


def people(*counts: int) -> list[EvalClip]:
    return [EvalClip(f"{i}-{n}", f"p{i}", Path(f"{i}-{n}.mp4")) for i, c in enumerate(counts) for n in range(c)]


def test_everybody_is_driven_by_others_equally_often() -> None:
    clips = people(3, 1, 2, 5)
    who = {c.name: c.identity for c in clips}
    pairs = make_pairs(clips)
    assert pairs == make_pairs(list(reversed(clips)))
    assert len(pairs) == 4 * PER_IDENTITY == len(set(pairs))
    for side in ("source", "driving"):
        used = [who[getattr(pair, side)] for pair in pairs]
        assert all(used.count(name) == PER_IDENTITY for name in who.values())
    assert all(who[p.source] != who[p.driving] for p in pairs)


def test_two_people_can_only_drive_each_other() -> None:
    assert len(make_pairs(people(1, 1))) == 2
    with pytest.raises(InputError, match="two people"):
        make_pairs(people(4))


def test_other_data_gets_pairs_of_its_own() -> None:
    pairs, origin = pairs_for(people(2, 2), seed=3)
    assert pairs == make_pairs(people(2, 2), seed=3)
    assert "seed 3" in origin


def test_fixed_list_follows_from_the_rule_on_real_data(data_root: Path) -> None:
    clips = read_dataset(data_root, split="val")
    assert len(identities(clips)) == 10
    assert make_pairs(clips) == fixed_pairs()
    assert pairs_for(clips, seed=9)[0] == fixed_pairs()
