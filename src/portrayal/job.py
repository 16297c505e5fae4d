"""Writing an animation so that an interrupted one continues: what is finished waits beside the result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from portrayal.driving import Performance, keep_track
from portrayal.media.image import UInt8, write_image
from portrayal.media.segments import SegmentedWriter
from portrayal.options import AnimateOptions
from portrayal.rendering import Plan, Renderer, row_size, side_by_side
from portrayal.tracking import TRACK_SUFFIX, Progress, one_torch_thread

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
"""Extensions of a result that is one picture."""


class Job:
    """One result and what lies beside it until it is complete."""

    def __init__(self, output: Path, *, key: str, compare: bool) -> None:
        self.output, self.key = output, key
        self.compared = output.with_name(f"{output.stem}--compare{output.suffix}") if compare else None
        """The side-by-side file."""
        place = output.parent if "%" in output.name else output
        self.cache = place.with_name(f"{place.name}.{key[:12]}.part{TRACK_SUFFIX}")
        """The driving track; only the same inputs and options find it again."""

    def writer(self, path: Path, size: tuple[int, int], performance: Performance) -> SegmentedWriter:
        """Of the result or the side-by-side file, with the sound of the driving video."""
        width, height = size
        return SegmentedWriter(path, key=self.key, width=width, height=height, sound_from=performance.sound)


def fingerprint(source: Path | str | None, driving: Path | str | None, options: AnimateOptions) -> str:
    """A hash over options, names, sizes and dates of the inputs: the same for the same animation only."""
    parts: list[object] = [asdict(options)]
    for given in (source, driving, options.weights, options.background):
        parts.append(str(given))
        if given is not None and Path(given).is_file():
            status = Path(given).stat()
            parts += [str(Path(given).resolve()), status.st_size, status.st_mtime_ns]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def write_animation(
    job: Job, renderer: Renderer, performance: Performance, plan: Plan, progress: Progress
) -> list[str]:
    """Render and write the result and the side-by-side file, going on where an interrupted run stopped.

    Returns:
        What the user should know about the sound.
    """
    if len(plan.frames) == 1 and job.output.suffix.lower() in PICTURES:
        return _write_picture(job, renderer, performance, plan)
    with ExitStack() as stack:
        if not renderer.has_weights:
            stack.enter_context(one_torch_thread())
        keep_track(performance, job.cache)
        result = stack.enter_context(job.writer(job.output, renderer.size, performance))
        writers = [(result, result.frames_done)]
        if job.compared is not None:
            row = row_size([renderer.sitter.size, (performance.width, performance.height), renderer.size])
            second = stack.enter_context(job.writer(job.compared, (sum(w for w, _ in row), row[0][1]), performance))
            writers.append((second, second.frames_done))
        start = min(done for _, done in writers)
        rest = plan.rest(start)
        beside = _panels(renderer, performance, rest) if job.compared else None
        for index, picture in enumerate(renderer.pictures(rest), start):
            shown = [picture] if beside is None else [picture, side_by_side([*next(beside), picture])]
            for (writer, done), image in zip(writers, shown, strict=True):
                if index >= done:
                    writer.write(image, plan.times[index])
            progress("animating", index + 1, len(plan.frames))
    job.cache.unlink(missing_ok=True)
    return result.notes


def _write_picture(job: Job, renderer: Renderer, performance: Performance, plan: Plan) -> list[str]:
    picture = next(renderer.pictures(plan))
    write_image(job.output, picture)
    if job.compared is not None:
        write_image(job.compared, side_by_side([*next(_panels(renderer, performance, plan)), picture]))
    return []


def _panels(renderer: Renderer, performance: Performance, plan: Plan) -> Iterator[tuple[UInt8, UInt8]]:
    """(source picture, driving picture) of each planned frame."""
    return zip(renderer.sitter.pictures(plan.source_frames), performance.pictures(plan.frames), strict=True)
