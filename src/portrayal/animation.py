"""The main job from end to end: everything that the command line does, as functions.

    import portrayal
    done = portrayal.animate("me.jpg", "talk.mp4", "out.mp4")
    print(done.summary())

The driving video is read twice: first every frame is tracked, which leaves some kilobytes per frame; then, with the
motion of the whole clip known, it is smoothed, moved onto the source and rendered picture by picture into the file.
Decoding and encoding run in threads of their own; nothing grows with the length but those kilobytes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from portrayal.avatars import check_keeping, keep_avatar, open_sitter
from portrayal.background import open_background
from portrayal.driving import is_builtin, motion_name, open_driving
from portrayal.encoding import encode_motion
from portrayal.errors import InputError
from portrayal.face.tracker import load_tracker, pick_device
from portrayal.job import PICTURES, Job, fingerprint, write_animation
from portrayal.media.crop import params_to_picture
from portrayal.media.image import is_picture, read_image, write_image
from portrayal.media.video import VideoWriter, output_kind, read_frames
from portrayal.motion.preflight import Finding
from portrayal.motion.preflight import preflight as find_limits
from portrayal.motion.template import SUFFIX as TEMPLATE_SUFFIX
from portrayal.motion.template import save_template
from portrayal.options import AnimateOptions, RunOptions, TemplateOptions, TrackOptions
from portrayal.rendering import Renderer, plan_animation
from portrayal.source import Sitter, open_source
from portrayal.systems import load, name_of
from portrayal.tracking import TRACK_SUFFIX, Progress, draw_landmarks, save_track, silent, track_picture, track_video
from portrayal.types import Driving, Track
from portrayal.weights.model import mark_of

GLIMPSE = 0.05
"""Share of a video's frames up to which a face beside the most prominent one is left out of its tracks."""


@dataclass(frozen=True)
class Animation:
    """What came out of `animate`."""

    output: Path
    compared: Path | None
    """The side-by-side file."""
    avatar: Path | None
    """The portrait as an avatar file."""
    frames: int
    missing: int
    """Driving frames without a face."""
    handled: str
    """What happened to them, in words."""
    reference: int
    """Driving frame that stood for the source's own pose and expression."""
    jitter: tuple[float, float]
    """Of the driving landmarks before and after smoothing, in percent of the distance of the eyes (`jitter_score`)."""
    seconds: float
    """For everything, reading to written file."""
    notes: tuple[str, ...]

    def summary(self) -> str:
        """What the command line prints."""
        before, after = self.jitter
        missing = f"{self.missing} driving frame{'s show' if self.missing > 1 else ' shows'} no face"
        rate = self.frames / self.seconds
        lines = [*self.notes]
        if self.missing:
            lines.append(f"{missing}: {self.handled}.")
        lines.append(
            f"Reference frame: {self.reference}. Jitter: {before:.2f} % before smoothing, {after:.2f} % after."
        )
        lines.append(f"{self.frames} frames in {self.seconds:.1f} s ({rate:.1f} per second): {self.output}")
        if self.compared:
            lines.append(f"Side by side: {self.compared}")
        if self.avatar:
            lines.append(f"Avatar: {self.avatar}")
        return "\n".join(lines)


def animate(
    source: Path | str | None = None,
    driving: Path | str | None = None,
    output: Path | str | None = None,
    options: AnimateOptions | None = None,
    *,
    progress: Progress = silent,
) -> Animation:
    """Animate a portrait with somebody's motion and write the result.

    Args:
        source: picture, video or avatar file; None is a built-in portrait.
        driving: video, picture, motion template or "builtin:NAME"; None is builtin:talk.
        output: .mp4, .mov, .webm, .gif or a folder of pictures; None is animations/<source>--<driving>.mp4.
        options: None takes the defaults.
        progress: called with (stage, done, total).

    Raises:
        InputError: where something given cannot be used. PortrayalError: where writing fails.
    """
    started = time.monotonic()
    options = options or AnimateOptions()
    target = None if output is None else _checked(Path(output), source, driving)
    system, model = load(options.system, device=str(pick_device(options.device)), weights=options.weights)
    background = open_background(options.background, system)
    tracker = load_tracker(options.device, options.tracker)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(options.seed)
        sitter = open_sitter(
            source,
            system,
            model,
            tracker=tracker,
            face=options.face,
            size=options.size,
            crop=options.is_square,
            progress=progress,
        )
        check_keeping(options.keep_avatar, system, sitter)
        options.check_one_face(len(sitter.faces))
        target = target or _default_output(sitter, driving)
        job = Job(target, key=fingerprint(source, driving, options), compare=options.compare)
        performance = open_driving(driving, tracker=tracker, cache=job.cache, progress=progress)
        plan = plan_animation(system, model, sitter, performance, options, progress=progress)
        sitter = plan.sitter
        side = (options.size or sitter.faces[0].crop.size) if options.is_square else None
        renderer = Renderer(system, model, sitter, side, progress, background)
        keep_avatar(options.keep_avatar, renderer)
        notes = write_animation(job, renderer, performance, plan, progress)
    return Animation(
        output=target,
        compared=job.compared,
        avatar=options.keep_avatar,
        frames=len(plan.frames),
        missing=int((~performance.found).sum()),
        handled="they were left out" if options.missing == "skip" else "the motion was held there",
        reference=plan.reference,
        jitter=plan.jitter,
        seconds=time.monotonic() - started,
        notes=(*sitter.notes, *performance.notes, *plan.notes, *renderer.notes, *notes),
    )


def _checked(output: Path, *inputs: Path | str | None) -> Path:
    """The output, if something can be written there without destroying an input."""
    if output.suffix.lower() not in PICTURES:
        output_kind(output)
    for given in inputs:
        if given is not None and Path(given).exists() and output.exists() and output.samefile(given):
            raise InputError(f"{output}: the result would replace its own input; choose another output with -o.")
    return output


def _default_output(sitter: Sitter, driving: Path | str | None) -> Path:
    """animations/<source>--<driving>.mp4, or .png where a picture drives a picture."""
    name = f"{sitter.name}--{motion_name(driving)}"
    still = driving is not None and not is_builtin(driving) and is_picture(driving) and sitter.picture is not None
    return Path("animations") / (name + (".png" if still else ".mp4"))


@dataclass(frozen=True)
class Tracking:
    """What came out of `track`."""

    files: tuple[Path, ...]
    overlay: Path | None
    tracks: tuple[Track, ...]
    """One per face, the most prominent first."""

    def summary(self) -> str:
        """What the command line prints."""
        lines = []
        for file, track in zip(self.files, self.tracks, strict=True):
            lines.append(f"Face in {int(track.found.sum())} of {len(track)} frames: {file}")
        return "\n".join([*lines, *([f"Overlay: {self.overlay}"] if self.overlay else [])])


def track(
    path: Path | str,
    output: Path | str | None = None,
    options: TrackOptions | None = None,
    *,
    progress: Progress = silent,
) -> Tracking:
    """Follow the faces of a picture or a video into a track file each, and draw them over it.

    Faces seen only for a moment (`GLIMPSE`) are left out.

    Args:
        path: picture or video.
        output: track file of the most prominent face, further ones get a number; None is
            tracks/<name>.track.safetensors.
        options: None takes the defaults.

    Raises:
        InputError: where it cannot be read or shows no face.
    """
    options, path = options or TrackOptions(), Path(path)
    output = Path(output or Path("tracks") / f"{path.stem}{TRACK_SUFFIX}")
    if not output.name.endswith(TRACK_SUFFIX):
        raise InputError(f"{output}: a track file must be named *{TRACK_SUFFIX}.")
    tracker = load_tracker(options.device, options.tracker)
    if is_picture(path):
        tracks = track_picture(path, tracker=tracker)
    else:
        tracks = track_video(path, tracker=tracker, progress=progress)
    if not tracks:
        raise InputError(f"{path}: no face was found in it; give a picture or video that shows a face.")
    tracks = [t for t in tracks if t is tracks[0] or float(t.found.float().mean()) > GLIMPSE]
    stem = output.name.removesuffix(TRACK_SUFFIX)
    files = [output, *(output.with_name(f"{stem}-{i}{TRACK_SUFFIX}") for i in range(2, len(tracks) + 1))]
    for file, one in zip(files, tracks, strict=True):
        save_track(file, one)
    overlay = _draw(path, tracks, output.with_name(f"{stem}--track"), progress) if options.overlay else None
    return Tracking(tuple(files), overlay, tuple(tracks))


def _draw(path: Path, tracks: list[Track], stem: Path, progress: Progress) -> Path:
    """Write the pictures with the landmarks of all tracks, beside the track file."""
    if is_picture(path):
        overlay = stem.with_name(f"{stem.name}.png")
        write_image(overlay, draw_landmarks(read_image(path), [t.params for t in tracks]))
        return overlay
    overlay = stem.with_name(f"{stem.name}.mp4")
    with VideoWriter(overlay, width=tracks[0].width, height=tracks[0].height, sound_from=path) as writer:
        for i, frame in enumerate(read_frames(path)):
            writer.write(draw_landmarks(frame.image, [t.params[i] for t in tracks if t.found[i]]), frame.time)
            progress("drawing", i + 1, len(tracks[0]))
    return overlay


@dataclass(frozen=True)
class Template:
    """What came out of `template`."""

    output: Path
    frames: int
    notes: tuple[str, ...]

    def summary(self) -> str:
        """What the command line prints."""
        return "\n".join([*self.notes, f"Motion of {self.frames} frames: {self.output}"])


def template(
    driving: Path | str,
    output: Path | str | None = None,
    options: TemplateOptions | None = None,
    *,
    progress: Progress = silent,
) -> Template:
    """Keep a motion as a file that animates portraits without its video.

    Args:
        driving: as in `animate`.
        output: None is templates/<driving>.motion.safetensors.
        options: who moves and that they agreed must be said.

    Raises:
        InputError: where the motion cannot be read or the consent is not stated.
    """
    options = options or TemplateOptions()
    if not options.consent.strip():
        raise InputError('say whether and how the person agreed, e.g. --consent "my own face"; the file keeps it.')
    target = None if output is None else Path(output)
    if target is not None and not target.name.endswith(TEMPLATE_SUFFIX):
        raise InputError(f"{target}: a motion template must be named *{TEMPLATE_SUFFIX}.")
    system, model = load(options.system, device=str(pick_device(options.device)), weights=options.weights)
    performance = open_driving(driving, tracker=load_tracker(options.device, options.tracker), progress=progress)
    target = target or Path("templates") / f"{performance.name}{TEMPLATE_SUFFIX}"
    origin = options.origin or performance.name
    motion, made_for = Driving(performance.params, performance.times), {}
    if system.driving_pixels(model) is not None:  # what needs no pictures is worked out again when it is needed
        motion = encode_motion(system, model, performance, performance.params, progress=progress)
        made_for = {"system": name_of(system), "weights": mark_of(model)}
    save_template(target, motion, origin=origin, consent=options.consent, **made_for)
    return Template(target, len(performance), performance.notes)


def preflight(
    source: Path | str | None = None,
    driving: Path | str | None = None,
    options: RunOptions | None = None,
    *,
    progress: Progress = silent,
) -> list[Finding]:
    """Say what will limit an animation, and which driving frame is its reference, before it is made.

    Args:
        source, driving: as in `animate`; the largest face of the source is looked at.
        options: None takes the defaults.

    Raises:
        InputError: where one of them cannot be read or shows no face.
    """
    options = options or RunOptions()
    tracker = load_tracker(options.device, options.tracker)
    sitter = open_source(source, tracker=tracker, face="largest", size=None, crop=False, progress=progress)
    performance = open_driving(driving, tracker=tracker, progress=progress)
    face = sitter.faces[0]
    return find_limits(
        params_to_picture(face.params, face.crop, width=sitter.size[0], height=sitter.size[1]),
        performance.params,
        source_size=sitter.size,
        faces_in_source=sitter.faces_found,
        driving_size=(performance.width, performance.height) if performance.path else None,
        driving_times=performance.times,
        faces_in_driving=performance.faces_found,
    )
