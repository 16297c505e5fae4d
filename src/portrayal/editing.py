"""`portrayal edit`: one portrait changed by numbers or by another picture, swept, interpolated (MMFA 4.3, 4.4).

    import portrayal
    portrayal.edit("me.jpg", "smiling.png", portrayal.EditOptions(smile=1, yaw=15))

Every edit is a change of `FaceParams` that any system renders. Systems may offer more, under the capabilities
`expression_sampling` (`capabilities.ExpressionSampler`) and `canonical_face` (`capabilities.CanonicalFace`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from portrayal.avatars import check_keeping, keep_avatar, open_sitter
from portrayal.background import open_background
from portrayal.editor import RATE, Editor, Motions, edit_of, open_other, open_person
from portrayal.errors import InputError
from portrayal.face.tracker import load_tracker, pick_device
from portrayal.job import PICTURES
from portrayal.media.depth import UInt16, as_rgb, write_depth
from portrayal.media.image import UInt8, write_image
from portrayal.media.sheet import labelled_grid
from portrayal.media.video import VideoWriter, output_kind
from portrayal.options import SWEEPS, EditOptions
from portrayal.systems import able, load, name_of
from portrayal.tracking import Progress, silent
from portrayal.types import Edit, System

CAPABILITIES = {
    "take identity": "identity_interpolation",
    "sample-expression": "expression_sampling",
    "canonical": "canonical_face",
    "along": "directions",
    "depth": "depth",
}
"""What some edits ask of a system."""
COLUMNS = 6
"""Random expressions in a row of their sheet."""


@dataclass(frozen=True)
class Written:
    """What one kind of edit has written; fields as in `Edited`."""

    pictures: int
    sheet: Path | None = None
    depth: Path | None = None


@dataclass(frozen=True)
class Edited:
    """What came out of `edit`."""

    output: Path
    pictures: int
    sheet: Path | None
    """Pictures of a sweep or an interpolation side by side, with their depths where these were asked for."""
    depth: Path | None
    """The depth of a single picture."""
    avatar: Path | None
    """The portrait as an avatar file."""
    seconds: float
    """For everything, reading to written file."""
    notes: tuple[str, ...]

    def summary(self) -> str:
        """What the command line prints."""
        count = f"{self.pictures} pictures" if self.pictures > 1 else "1 picture"
        beside = {"Sheet": self.sheet, "Depth": self.depth, "Avatar": self.avatar}
        named = [f"{what}: {path}" for what, path in beside.items() if path]
        return "\n".join([*self.notes, f"{count} in {self.seconds:.1f} s: {self.output}", *named])


def edit(
    source: Path | str | None = None,
    output: Path | str | None = None,
    options: EditOptions | None = None,
    *,
    taken_from: Path | str | None = None,
    reference: Path | str | None = None,
    interpolate: Path | str | None = None,
    progress: Progress = silent,
) -> Edited:
    """Change a portrait and write the result.

    The numbers of `options` are added after what is taken from another picture.

    Args:
        source: picture or avatar file; None is a built-in portrait.
        output: a picture; of a sweep or an interpolation a video or a folder of pictures. None is
            edits/<source>--<what>.
        options: None takes the defaults.
        taken_from: another picture, of which the portrait takes `options.take`.
        reference: for relative motion: a picture of the same person as in `taken_from`, at rest.
        interpolate: another picture towards which pose and expression go in equal steps. With `take` expression, the
            portrait has that picture's pose all the time (Fig. 8). With `take` identity it is another person, in a
            picture or an avatar file, whom the portrait becomes without moving (OTAvatar, supplement 1.2).
        progress: called with (stage, done, total).

    Raises:
        InputError: where something given cannot be used. PortrayalError: where writing fails.
    """
    started = time.monotonic()
    options = options or EditOptions()
    what = _what(options, taken_from, reference, interpolate)
    if output is not None:
        _check_output(Path(output), moving=_moves(what, options), inputs=(source, taken_from, interpolate))
    system, model = load(options.system, device=str(pick_device(options.device)), weights=options.weights)
    identity = options.take == "identity"
    for asked in (what, *(["take identity"] if identity else []), *(["depth"] if options.depth else [])):
        _check_capability(system, asked)
    background = open_background(options.background, system)
    tracker = load_tracker(options.device, options.tracker)
    with torch.no_grad():
        sitter = open_sitter(
            source, system, model, tracker=tracker, face=options.face, size=options.size, crop=options.is_square
        )
        if sitter.picture is None:
            raise InputError(f"{sitter.path} is a video; edit changes a picture, give one with -s.")
        check_keeping(options.keep_avatar, system, sitter)
        options.check_one_face(len(sitter.faces))
        person = None
        if identity and interpolate is not None:
            person, interpolate = open_person(interpolate, system, model, tracker=tracker, progress=progress), None
        given = [path for path in (reference, taken_from or interpolate) if path is not None]
        others = [open_other(path, tracker, sitter) for path in given]
        editor = Editor(system, model, sitter, options, others, progress, person, background)
        target = Path(output) if output is not None else _default_output(editor, what)
        if person is not None and options.amount is not None:
            editor = editor.toward_person(options.amount)
        keep_avatar(options.keep_avatar, editor.renderer)
        written = _WRITERS[what](editor, target, progress)
    taken = [note for other in others for note in other.performance.notes]
    met = [*person.sitter.notes, *person.notes] if person is not None else []
    notes = (*sitter.notes, *taken, *met, *editor.renderer.notes)
    return Edited(
        output=target,
        pictures=written.pictures,
        sheet=written.sheet,
        depth=written.depth,
        avatar=options.keep_avatar,
        seconds=time.monotonic() - started,
        notes=notes,
    )


def _what(options: EditOptions, taken_from: object | None, reference: object | None, interpolate: object | None) -> str:
    """Which kind of edit is meant: a key of `_WRITERS`."""
    asked = {
        "sweep": options.sweep is not None,
        "along": options.along is not None,
        "interpolate": interpolate is not None,
        "sample-expression": options.sample_expression > 0,
        "canonical": options.canonical,
    }
    kinds = [f"--{name}" for name, given in asked.items() if given]
    if len(kinds) > 1:
        raise InputError(f"{' and '.join(kinds)} are different results; ask for one at a time.")
    if taken_from is not None and interpolate is not None:
        raise InputError("--interpolate takes from the picture it names; leave --from out.")
    if options.take == "identity" and interpolate is None:
        raise InputError("--take identity is the way to another person; name that person's picture with --interpolate.")
    if options.amount is not None and options.along is None and interpolate is None:
        raise InputError(
            "--amount is that of a direction or an interpolation; say which with --along or --interpolate."
        )
    if options.motion == "relative" and (reference is None or taken_from is None):
        raise InputError("--motion relative adds the change from --reference to --from; give both pictures.")
    if options.motion == "absolute" and reference is not None:
        raise InputError("--reference is for relative motion; add --motion relative or leave it out.")
    if not kinds and taken_from is None and edit_of(options) == Edit():
        raise InputError("nothing is to be changed; say what, for example --yaw 20 --smile 1, or --sweep yaw.")
    return kinds[0].removeprefix("--") if kinds else "picture"


def _moves(what: str, options: EditOptions) -> bool:
    """Whether the result is a video."""
    return what == "sweep" or (what in ("along", "interpolate") and options.amount is None)


def _check_output(output: Path, *, moving: bool, inputs: Sequence[Path | str | None]) -> None:
    if moving:
        output_kind(output)
    elif output.suffix.lower() not in PICTURES:
        raise InputError(f"{output}: this edit is one picture, written as {', '.join(PICTURES)}; choose one of these.")
    for given in inputs:
        if given is not None and Path(given).exists() and output.exists() and output.samefile(given):
            raise InputError(f"{output}: the result would replace its own input; choose another output with -o.")


def _check_capability(system: System, what: str) -> None:
    needed = CAPABILITIES.get(what)
    if needed and needed not in system.CAPABILITIES:
        words = needed.replace("_", " ")
        raise InputError(f"{name_of(system)} has no {words}, which --{what} needs; {able(needed)}.")


def _default_output(editor: Editor, what: str) -> Path:
    """edits/<source>--<what>."""
    options = editor.options
    names = {"picture": "edit", "sample-expression": "expressions", "canonical": "canonical"}
    names |= {"sweep": f"{options.sweep}", "along": f"{options.along}"}
    if what == "interpolate":
        names[what] = editor.person.sitter.name if editor.person else editor.others[-1].performance.name
    return Path("edits") / f"{editor.sitter.name}--{names[what]}.{'mp4' if _moves(what, options) else 'png'}"


def _write_picture(editor: Editor, target: Path, progress: Progress) -> Written:
    return _write_single(editor, editor.still(), target)


def _write_single(editor: Editor, motions: Motions, target: Path) -> Written:
    """The picture of a motion of one frame, and its depth beside it."""
    write_image(target, next(editor.pictures(motions)))
    if not editor.options.depth:
        return Written(1)
    beside = target.with_name(f"{target.stem}--depth.png")
    write_depth(beside, next(editor.depths(motions)))
    return Written(1, depth=beside)


def _write_canonical(editor: Editor, target: Path, progress: Progress) -> Written:
    write_image(target, editor.canonical())
    return Written(1)


def _write_samples(editor: Editor, target: Path, progress: Progress) -> Written:
    count = editor.options.sample_expression
    pictures = []
    for done, picture in enumerate(editor.pictures(editor.samples()), 1):
        pictures.append(picture)
        progress("sampling", done, count)
    columns = min(COLUMNS, count)
    pictures += [np.full_like(pictures[0], 255)] * (-count % columns)
    rows = [pictures[i : i + columns] for i in range(0, len(pictures), columns)]
    write_image(target, labelled_grid([""] * columns, rows))
    return Written(count)


def _write_sweep(editor: Editor, target: Path, progress: Progress) -> Written:
    options = editor.options
    assert options.sweep is not None
    return _write_range(editor, editor.sweep, options.sweep, SWEEPS[options.sweep], target, progress)


def _write_along(editor: Editor, target: Path, progress: Progress) -> Written:
    options = editor.options
    assert options.along is not None
    if options.amount is not None:
        return _write_single(editor, editor.along([options.amount]), target)
    return _write_range(editor, editor.along, options.along, (-1, 1), target, progress)


def _write_range(
    editor: Editor,
    move: Callable[[Sequence[float]], Motions],
    name: str,
    usual: tuple[float, float],
    target: Path,
    progress: Progress,
) -> Written:
    """Pictures of values from one end of a range to the other, and there and back."""
    options = editor.options
    low, high = options.range or usual
    still = np.linspace(low, high, options.steps).tolist()
    moving = [low + (high - low) * share for share in _there_and_back(options.frames)]
    titles = [f"{name} {value:.3g}" for value in still]
    motions = move([*still, *moving])
    return _write_moving(editor, editor.pictures(motions), editor.depths(motions), titles, target, progress)


def _write_interpolation(editor: Editor, target: Path, progress: Progress) -> Written:
    options = editor.options
    if options.amount is not None:
        still = editor.still() if editor.person else editor.interpolation(torch.tensor([options.amount]))
        return _write_single(editor, still, target)
    shares = torch.cat([torch.linspace(0, 1, options.steps), torch.tensor(_there_and_back(options.frames))])
    if editor.person is not None:
        pictures, depths = _persons(editor, shares.tolist())
        name, other = "other", editor.person.sitter.picture
    else:
        motions = editor.interpolation(shares)
        pictures, depths = editor.pictures(motions), editor.depths(motions)
        name, other = "driving", editor.others[-1].picture
    titles = ["source", name, *[f"{share:.2f}" for share in shares[: options.steps].tolist()]]
    assert editor.sitter.picture is not None
    assert other is not None
    return _write_moving(editor, pictures, depths, titles, target, progress, [editor.sitter.picture, other])


def _persons(editor: Editor, shares: Sequence[float]) -> tuple[Iterator[UInt8], Iterator[UInt16]]:
    """Pictures and depths of the portrait on the way to the other person; of one person at a time."""
    still = editor.still()
    pictures = (next(editor.toward_person(share).pictures(still)) for share in shares)
    return pictures, (next(editor.toward_person(share).depths(still)) for share in shares)


def _there_and_back(frames: int) -> list[float]:
    """Shares from 0 to 1 and back, slow at both ends; played again and again it has no jump."""
    return [(1 - math.cos(2 * math.pi * i / frames)) / 2 for i in range(frames)]


def _write_moving(
    editor: Editor,
    pictures: Iterator[UInt8],
    depths: Iterator[UInt16],
    titles: Sequence[str],
    target: Path,
    progress: Progress,
    first: Sequence[UInt8] = (),
) -> Written:
    """The first pictures as a sheet, after those in `first`, with a row of depths if asked for; the rest as a video.

    Args:
        depths: of the pictures; made only as far as they are shown.
    """
    options = editor.options
    total = options.steps + options.frames
    shown = []
    for done, picture in enumerate(islice(pictures, options.steps), 1):
        shown.append(picture)
        progress("editing", done, total)
    folder = target.parent if "%" in target.name else target
    sheet = folder.with_name(f"{folder.stem}--sheet.png")
    width, height = editor.renderer.size
    with VideoWriter(target, width=width, height=height) as writer:
        for done, picture in enumerate(pictures):
            writer.write(picture, Fraction(done, RATE))
            progress("editing", options.steps + done + 1, total)
    rows, labels = [[*first, *shown]], []
    if options.depth:
        beside = map(as_rgb, islice(depths, options.steps))
        rows.append([*(np.full_like(picture, 255) for picture in first), *beside])
        labels = ["", "depth"]
    write_image(sheet, labelled_grid(titles, rows, labels))
    return Written(total, sheet=sheet)


_WRITERS = {
    "picture": _write_picture,
    "sweep": _write_sweep,
    "along": _write_along,
    "interpolate": _write_interpolation,
    "sample-expression": _write_samples,
    "canonical": _write_canonical,
}
