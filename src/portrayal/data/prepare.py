"""Raw videos to a clip folder: 25 frames per second, one face, FOMM's crop, tracked (`portrayal data prepare`).

    OUT/clips.csv                       clip, identity, frames, split
    OUT/clips/NAME.mp4                  square, H.264
    OUT/clips/NAME.track.safetensors    faces of all frames, in pixels of the clip
    OUT/report.json                     what was kept and dropped, and why, per video
    OUT/.prepare/                       one file per finished video: an interrupted run goes on after them

Videos are independent of each other, so the folder is the same whatever the number of workers and interruptions.
"""

from __future__ import annotations

import csv
import hashlib
import json
import multiprocessing
import queue
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from portrayal.data.clip_labels import mark
from portrayal.data.clips import Split
from portrayal.data.prepare_options import PrepareOptions
from portrayal.data.prepare_video import Count, Outcome, prepare_video
from portrayal.errors import InputError, MissingFileError, PortrayalError
from portrayal.face.tracker import load_tracker, pick_device
from portrayal.media.atomic import complete_or_absent, make_parent
from portrayal.tracking import Progress, silent

VIDEOS = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".flv", ".wmv", ".gif"})
MARKERS = ".prepare"


@dataclass(frozen=True)
class Job:
    """One video to prepare."""

    video: Path
    name: str
    """Begins the names of its clips; unique."""
    identity: str
    mark: str
    """Changes with the file."""


@dataclass(frozen=True)
class Prepared:
    """What came out of a whole folder."""

    out: Path
    report: dict[str, Any]

    def summary(self) -> str:
        """What the command line prints: a table of frames by what became of them."""
        report, fps = self.report, self.report["fps"]
        total = max(report["frames"], 1)
        rows = [("kept", report["kept"]["clips"], report["kept"]["frames"])]
        rows += [(f"dropped: {reason}", d["stretches"], d["frames"]) for reason, d in report["dropped"].items()]
        lines = [f"{'':32}{'stretches':>10}{'minutes':>10}{'share':>8}"]
        lines += [f"{what:32}{n:10d}{f / fps / 60:10.1f}{100 * f / total:7.1f} %" for what, n, f in rows]
        lines += [f"{name}: {sentence}" for name, sentence in report["unreadable"].items()]
        people = report["identities"]
        lines.append(
            f"{report['videos']} videos, {report['kept']['clips']} clips of {people['train']} people to train on and "
            f"{people['validation']} to validate on: {self.out}"
        )
        return "\n".join(lines)


def prepare(
    folder: Path | str, out: Path | str, options: PrepareOptions | None = None, *, progress: Progress = silent
) -> Prepared:
    """Make a clip folder of all videos below `folder`; an interrupted run goes on.

    Raises:
        InputError: no folder, no video in it, a broken table of identities, or `out` was made with other options.
        PortrayalError: the disk is full, or a worker was ended from outside.
    """
    folder, out, options = Path(folder), Path(out), options or PrepareOptions()
    jobs = list_jobs(folder, options.identities, apart_from=out)
    _check_options(out, options)
    todo = [job for job in jobs if _finished(out, job) is None]
    frames = 0

    def count(read: int) -> None:
        nonlocal frames
        frames += read
        progress("frames", frames, None)

    progress("videos", len(jobs) - len(todo), len(jobs))
    for done, (job, outcome) in enumerate(_run(todo, out / "clips", options, count), len(jobs) - len(todo) + 1):
        marker = {"mark": job.mark} | asdict(outcome)
        _write_text(out / MARKERS / f"{job.name}.json", json.dumps(marker, indent=1))
        progress("videos", done, len(jobs))
    outcomes = {job: result for job in jobs if (result := _finished(out, job)) is not None}
    rows = [
        (clip, job.identity, count_, split_of(job.identity, options.validation_share))
        for job, outcome in outcomes.items()
        for clip, count_ in outcome.clips
    ]
    report = _report(outcomes, rows, options)
    _write_text(out / "report.json", json.dumps(report, indent=1))
    if not rows:
        raise InputError(f"{folder}: no clip could be made of its videos; {out / 'report.json'} says why for each.")
    _write_table(out / "clips.csv", rows)
    return Prepared(out, report)


def list_jobs(folder: Path, identities: Path | None, *, apart_from: Path | None = None) -> list[Job]:
    """The videos below `folder` in order of their paths, with the people they show.

    Raises:
        InputError: as `prepare`.
    """
    if not folder.is_dir():
        raise MissingFileError(f"{folder} is no folder; give the folder of the videos")
    away = None if apart_from is None else apart_from.resolve()
    videos = sorted(
        p
        for p in folder.rglob("*")
        if p.suffix.lower() in VIDEOS and p.is_file() and (away is None or away not in p.resolve().parents)
    )
    if not videos:
        raise InputError(f"{folder}: there is no video in it; videos end with {', '.join(sorted(VIDEOS))}")
    people = None if identities is None else _read_identities(identities)
    slugs = [_slug(video.relative_to(folder).with_suffix("")) for video in videos]
    often = Counter(slug.lower() for slug in slugs)
    jobs = []
    for video, slug in zip(videos, slugs, strict=True):
        inside = video.relative_to(folder)
        unique = slug if often[slug.lower()] == 1 else f"{slug}-{hashlib.sha256(str(inside).encode()).hexdigest()[:6]}"
        if people is None:
            identity = inside.parts[0] if len(inside.parts) > 1 else inside.stem
        elif inside.as_posix() not in people:
            raise InputError(f"{identities}: the video {inside.as_posix()} has no line; add its identity")
        else:
            identity = people[inside.as_posix()]
        jobs.append(Job(video, unique, identity, mark(video)))
    return jobs


def split_of(identity: str, validation_share: float) -> Split:
    """A person's half, from the label alone: adding videos or people never moves anybody to the other half."""
    place = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big") / 2**64
    return "validation" if place < validation_share else "train"


def _run(jobs: Sequence[Job], clips: Path, options: PrepareOptions, count: Count) -> Iterator[tuple[Job, Outcome]]:
    """Every job's outcome as it comes; in this process or in several."""
    if options.workers == 1 or len(jobs) < 2:
        for job in jobs:
            yield job, _work(job, clips, options, count)
        return
    context = multiprocessing.get_context("spawn")
    read: multiprocessing.Queue[int] = context.Queue()
    workers = min(options.workers, len(jobs))
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(read,))
    try:
        waiting: dict[Future[Outcome], Job] = {pool.submit(_work_there, job, clips, options): job for job in jobs}
        while waiting:
            with suppress(queue.Empty):
                count(read.get(timeout=0.2))
            for future in [f for f in waiting if f.done()]:
                yield waiting.pop(future), future.result()
    except BrokenProcessPool as error:
        told = "a worker was ended, maybe for want of memory; run this again to go on, with fewer --workers"
        raise PortrayalError(f"{clips.parent}: {told}") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_read: multiprocessing.Queue[int] | None = None
"""In a worker: where the numbers of frames it has read go."""


def _start_worker(read: multiprocessing.Queue[int]) -> None:
    import cv2
    import torch

    global _read
    _read = read
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _work_there(job: Job, clips: Path, options: PrepareOptions) -> Outcome:
    assert _read is not None
    return _work(job, clips, options, _read.put)


def _work(job: Job, clips: Path, options: PrepareOptions, count: Count) -> Outcome:
    """Prepare one video; what cannot be read is an outcome as well."""
    tracker = load_tracker(str(pick_device(options.device)))
    try:
        return prepare_video(job.video, job.name, clips, tracker, options, count)
    except InputError as error:
        if not job.video.is_file():
            raise
        return Outcome(error=str(error))


def _finished(out: Path, job: Job) -> Outcome | None:
    """The outcome of a video that is done already, unless the file has changed or a clip is gone."""
    path = out / MARKERS / f"{job.name}.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored.pop("mark") != job.mark:
            return None
        outcome = Outcome(**stored)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    outcome.clips = [(name, frames) for name, frames in outcome.clips]
    there = all((out / "clips" / f"{name}.mp4").is_file() for name, _ in outcome.clips)
    return outcome if there else None


def _check_options(out: Path, options: PrepareOptions) -> None:
    """Remember what the clips depend on, or make sure that the folder's is the same."""
    path = out / MARKERS / "options.json"
    mine = json.loads(json.dumps(options.what_matters()))
    if path.is_file():
        theirs = json.loads(path.read_text(encoding="utf-8"))
        flat = [{**x, **x["rules"]} for x in (mine, theirs)]
        changed = sorted(k for k in flat[0] if k != "rules" and flat[0][k] != flat[1].get(k))
        if changed:
            raise InputError(f"{path} has another {', '.join(changed)}; use the same options or another folder with -o")
    else:
        _write_text(path, json.dumps(mine, indent=1))


def _report(
    outcomes: dict[Job, Outcome], rows: Sequence[tuple[str, str, int, Split]], options: PrepareOptions
) -> dict[str, Any]:
    dropped: dict[str, dict[str, int]] = {}
    for outcome in outcomes.values():
        for reason, lengths in outcome.dropped.items():
            entry = dropped.setdefault(reason, {"stretches": 0, "frames": 0})
            entry["stretches"] += len(lengths)
            entry["frames"] += sum(lengths)
    people = {half: len({identity for _, identity, _, s in rows if s == half}) for half in ("train", "validation")}
    return {
        "options": options.what_matters() | {"validation_share": options.validation_share},
        "fps": options.fps,
        "videos": len(outcomes),
        "frames": sum(outcome.frames for outcome in outcomes.values()),
        "kept": {"clips": len(rows), "frames": sum(frames for _, _, frames, _ in rows)},
        "dropped": dict(sorted(dropped.items(), key=lambda item: -item[1]["frames"])),
        "unreadable": {job.name: o.error for job, o in outcomes.items() if o.error is not None},
        "identities": people,
        "by_video": {job.name: asdict(outcome) | {"identity": job.identity} for job, outcome in outcomes.items()},
    }


def _read_identities(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist; give a table with the columns video and identity")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or any(not row.get("video") or not row.get("identity") for row in rows):
        raise InputError(f"{path} must be a table with the columns video and identity, both filled in every line")
    return {Path(row["video"]).as_posix(): row["identity"] for row in rows}


def _slug(path: Path) -> str:
    return re.sub(r"[^\w.+-]+", "_", path.as_posix()).lstrip(".") or "video"


def _write_table(path: Path, rows: Sequence[tuple[str, str, int, Split]]) -> None:
    with complete_or_absent(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("clip", "identity", "frames", "split"), *rows])


def _write_text(path: Path, text: str) -> None:
    make_parent(path)
    with complete_or_absent(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
