"""A user study on one machine: make it from rendered videos, show it in a browser, count the answers.

pairwise: of two results for the same source and motion, which is better? Reported as the directions paper does (Sec.
4.1, USER): in percent of the comparisons in which a system was shown. ratings: motion and identity from 0 to 10, as in
OTAvatar's supplement, Table 2.

A study is a folder: `study.json` (what is compared; the page never sees it), `media/` (videos under meaningless names)
and `answers.sqlite`. Every rater gets all trials in an order, and with sides, of her own, among them attention checks
that say what to answer; whoever fails one is not counted.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from portrayal.errors import InputError, MissingFileError
from portrayal.evaluate.options import StudyOptions
from portrayal.media.atomic import complete_or_absent
from portrayal.media.image import read_image
from portrayal.media.video import VideoWriter

MEDIA = frozenset({".mp4", ".webm", ".gif", ".png", ".jpg", ".jpeg"})
CHECKS = 2
"""Attention checks per rater."""
FORMAT = "portrayal-study-1"


@dataclass(frozen=True)
class Clip:
    """One result that raters see."""

    system: str
    item: str
    """Which source and motion; systems are compared within an item."""
    file: str
    """Its name in `media/`, which tells nothing."""


@dataclass(frozen=True)
class Trial:
    """One question to one rater."""

    number: str
    """The same for all raters."""
    clips: tuple[Clip, ...]
    """Left and right, or the one to be rated; sides are of this rater."""
    check: str = ""
    """The answer that an attention check asks for; empty for a real question."""


@dataclass(frozen=True)
class Study:
    """What `study.json` holds."""

    kind: str
    """pairwise or ratings."""
    clips: tuple[Clip, ...]
    seed: int = 0

    def trials(self, rater: str) -> list[Trial]:
        """All questions in the order of this rater: the same whenever she comes back."""
        draw = random.Random(f"{self.seed} {rater}")
        trials = self._pairs(draw) if self.kind == "pairwise" else self._single()
        draw.shuffle(trials)
        for number in range(CHECKS):
            place = draw.randrange(len(trials) + 1)
            trials.insert(place, self._check(number, draw))
        return trials

    def _pairs(self, draw: random.Random) -> list[Trial]:
        trials = []
        for item in dict.fromkeys(c.item for c in self.clips):
            shown = [c for c in self.clips if c.item == item]
            for a, b in itertools.combinations(shown, 2):
                sides = (a, b) if draw.random() < 0.5 else (b, a)
                trials.append(Trial(f"{item}:{a.system}:{b.system}", sides))
        return trials

    def _single(self) -> list[Trial]:
        return [Trial(f"{c.item}:{c.system}", (c,)) for c in self.clips]

    def _check(self, number: int, draw: random.Random) -> Trial:
        """A question that says its own answer."""
        if self.kind == "pairwise":
            first = draw.choice(self.clips)
            others = [c for c in self.clips if c.item == first.item and c.system != first.system]
            return Trial(f"check:{number}", (first, draw.choice(others)), draw.choice(("left", "right")))
        return Trial(f"check:{number}", (draw.choice(self.clips),), str(draw.randrange(11)))


def run_study(options: StudyOptions, output: Path | None) -> str:
    """What `portrayal evaluate study` does; returns what to print.

    Raises:
        InputError: not exactly one of make, serve and tally, or a folder that cannot be used.
    """
    chosen = [p for p in (options.make, options.serve, options.tally) if p is not None]
    if len(chosen) != 1:
        raise InputError("study needs one of --make FOLDER, --serve STUDY, --tally STUDY.")
    if options.make is not None:
        folder = output or Path("study")
        study = make_study(options.make, folder, kind=options.kind)
        return f"{len(study.trials(''))} questions per rater. Show it with: portrayal evaluate study --serve {folder}"
    if options.serve is not None:
        from portrayal.evaluate.userstudy_server import serve

        serve(options.serve, port=options.port)
        return ""
    from portrayal.evaluate.userstudy_tally import tally

    return tally(chosen[0])


def make_study(results: Path, folder: Path, *, kind: str = "pairwise", seed: int = 0) -> Study:
    """Make a study of rendered results.

    Args:
        results: `<system>/<item>.mp4` (or .webm, .gif, .png, .jpg), or an evaluation's output folder, whose rendered
            cross-identity frames (same-identity where there are none) become videos; evaluate with --frames 0 for whole
            ones.
        folder: where the study goes; must not hold one already.

    Raises:
        InputError: no item that two systems have, or a study in `folder`.
    """
    if (folder / "study.json").exists():
        raise InputError(f"{folder} holds a study already; choose another folder with --out")
    found = _from_evaluation(results) if (results / "cases").is_dir() else _from_videos(results)
    items = {item for item in found if len(found[item]) > 1 or kind == "ratings"}
    if not items:
        raise InputError(f"{results} holds no results of two systems for one item; see portrayal evaluate --help")
    (folder / "media").mkdir(parents=True, exist_ok=True)
    clips = []
    for item in sorted(items):
        for system, path in sorted(found[item].items()):
            name = hashlib.sha256(f"{seed} {system} {item}".encode()).hexdigest()[:20]
            clips.append(Clip(system, item, _copy(path, folder / "media" / name)))
    study = Study(kind, tuple(clips), seed)
    with complete_or_absent(folder / "study.json") as beside:
        beside.write_text(json.dumps({"format": FORMAT, **asdict(study)}, indent=1), encoding="utf-8")
    return study


def load_study(folder: Path) -> Study:
    """
    Raises:
        MissingFileError: no study there. InputError: not a study of this version.
    """
    path = folder / "study.json"
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist; make a study with: portrayal evaluate study --make RESULTS")
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if kept["format"] != FORMAT:
            raise InputError(f"{path} has the format {kept['format']!r}, this version reads {FORMAT}; make it again")
        return Study(kept["kind"], tuple(Clip(**c) for c in kept["clips"]), kept["seed"])
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is damaged ({error}); make the study again") from error


def _from_videos(results: Path) -> dict[str, dict[str, Path]]:
    """Item -> system -> file."""
    if not results.is_dir():
        raise MissingFileError(f"{results} is no folder; give one with <system>/<item>.mp4 below it")
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(results.glob("*/*")):
        if path.suffix.lower() in MEDIA:
            found.setdefault(path.stem, {})[path.parent.name] = path
    return found


def _from_evaluation(results: Path) -> dict[str, dict[str, Path]]:
    """Item -> system -> folder of PNGs."""
    cases = results / "cases"
    protocol = next((p for p in ("cross", "same") if (cases / p).is_dir()), "")
    found: dict[str, dict[str, Path]] = {}
    for path in sorted((cases / protocol).glob("*/*/result.json")):
        found.setdefault(path.parent.parent.name, {})[path.parent.name] = path.parent
    return found


def _copy(path: Path, target: Path) -> str:
    """Put a result under a name that tells nothing; the name with its extension. Folders of PNGs become videos."""
    if path.is_file():
        named = target.with_suffix(path.suffix.lower())
        shutil.copyfile(path, named)
        return named.name
    frames: Sequence[Path] = sorted(path.glob("*.png"))
    if not frames:
        raise InputError(f"{path} holds no rendered frames; evaluate again")
    named = target.with_suffix(".mp4")
    first = read_image(frames[0])
    with VideoWriter(named, width=first.shape[1], height=first.shape[0]) as writer:
        for number, frame in enumerate(frames):
            writer.write(read_image(frame), Fraction(number, 25))
    return named.name
