"""The command line: one dataclass per verb, parsed by tyro. It shows what the Python functions do and decides nothing.

Options, their help and their defaults come from `portrayal.options`. Heavy modules are imported when a command runs, so
that `--help` answers at once.
"""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from tyro.conf import Positional, arg, subcommand

from portrayal.data.commands import Data
from portrayal.errors import PortrayalError
from portrayal.evaluate.commands import Ablate, Compare, Evaluate
from portrayal.options import AnimateOptions, EditOptions, MeshOptions, RunOptions, TemplateOptions, TrackOptions
from portrayal.train.options import RunOptions as TrainOptions
from portrayal.weights.commands import Weights

INTERRUPTED, UNREAD = 130, 141
"""Exit codes after Ctrl-C, and when nobody reads what is printed any more (SIGPIPE), as shells have them."""

Source = Annotated[str | None, arg(aliases=["-s"], metavar="PICTURE|VIDEO", help_behavior_hint="")]
Driving = Annotated[str | None, arg(aliases=["-d"], metavar="MOTION", help_behavior_hint="")]
Output = Annotated[Path | None, arg(aliases=["-o"], metavar="FILE", help_behavior_hint="")]
Debug = Annotated[bool, arg(help="Show the traceback of an error.", help_behavior_hint="")]


class Command(Protocol):
    """A verb: its fields are what can be typed, `run` does it and prints what came out."""

    debug: Debug

    def run(self) -> None: ...


@dataclass
class Animate:
    """Animate a portrait with somebody's motion.

    For example

        portrayal animate
        portrayal animate -s me.jpg -d talk.mp4 -o out.mp4
        portrayal animate -s me.jpg -d builtin:nod --strength 1.3
        portrayal animate -s couple.jpg -d talk.mp4 --face all --compare
        portrayal animate -s me.mp4 -d talk.mp4 --region lips
        portrayal animate -s me.jpg -d talk.mp4 --system export3d --background photo
        portrayal animate -s me.avatar.safetensors -d talk.mp4 --system otavatar

    Built-in motions are talk, nod, look-around, smile and blink. The kind of the result follows its name: .mp4, .webm,
    .gif, or a folder of pictures such as frames/%06d.png. An interrupted command continues when it is given again.
    """

    source: Annotated[str | None, arg(aliases=["-s"], metavar="PICTURE|VIDEO|AVATAR", help_behavior_hint="")] = None
    """The face to animate, an avatar being a file that --keep-avatar wrote; without it a built-in portrait."""
    driving: Driving = None
    """The motion: a video, picture, motion template, builtin:NAME or 0 for the camera; without it builtin:talk."""
    output: Output = None
    """The result; without it animations/<source>--<driving>.mp4."""
    options: Annotated[AnimateOptions, arg(name="")] = field(default_factory=AnimateOptions)
    debug: Debug = False

    def run(self) -> None:
        from portrayal.animation import animate

        with progress_bars() as progress:
            done = animate(self.source, self.driving, self.output, self.options, progress=progress)
        print(done.summary())


@dataclass
class Edit:
    """Change a portrait by numbers or by another picture: pose, size, place, expression, gaze.

    For example

        portrayal edit -s me.jpg --yaw 15 --smile 1
        portrayal edit -s me.jpg --sweep yaw -o turn.gif
        portrayal edit -s me.jpg --system directions --along expression-3
        portrayal edit -s me.jpg --system export3d --sweep yaw --depth
        portrayal edit -s me.jpg --from friend.jpg --take expression
        portrayal edit -s me.jpg --interpolate friend.jpg --take expression
        portrayal edit -s me.jpg --interpolate friend.jpg --take identity --system otavatar

    Angles are in degrees. A sweep or an interpolation is a video with a sheet of pictures beside it.
    """

    source: Annotated[str | None, arg(aliases=["-s"], metavar="PICTURE|AVATAR", help_behavior_hint="")] = None
    """The face to change; without it a built-in portrait."""
    output: Output = None
    """The result; without it edits/<source>--<what>."""
    taken_from: Annotated[str | None, arg(name="from", metavar="PICTURE", help_behavior_hint="")] = None
    """Another picture, of which the portrait takes --take."""
    reference: Annotated[str | None, arg(metavar="PICTURE", help_behavior_hint="")] = None
    """For --motion relative: the person in --from at rest."""
    interpolate: Annotated[str | None, arg(metavar="PICTURE|AVATAR", help_behavior_hint="")] = None
    """Another picture towards which the portrait goes in equal steps. With --take expression it has that picture's
    pose from the beginning; with --take identity it keeps its own pose and expression and becomes that person. With
    --take identity --amount 0.5, --keep-avatar writes the person in between."""
    options: Annotated[EditOptions, arg(name="")] = field(default_factory=EditOptions)
    debug: Debug = False

    def run(self) -> None:
        from portrayal.editing import edit

        with progress_bars() as progress:
            done = edit(
                self.source,
                self.output,
                self.options,
                taken_from=self.taken_from,
                reference=self.reference,
                interpolate=self.interpolate,
                progress=progress,
            )
        print(done.summary())


@dataclass
class Mesh:
    """Write the head of a photo as a 3D model with coloured points; for systems that make heads in space.

    For example

        portrayal mesh -s me.jpg -o head.glb --system export3d
        portrayal mesh -s me.jpg -o head.ply --system otavatar --resolution 256
    """

    source: Annotated[str | None, arg(aliases=["-s"], metavar="PICTURE|AVATAR", help_behavior_hint="")] = None
    """The face; without it a built-in portrait."""
    output: Output = None
    """The model, .glb or .ply; without it meshes/<source>.glb."""
    options: Annotated[MeshOptions, arg(name="")] = field(default_factory=MeshOptions)
    debug: Debug = False

    def run(self) -> None:
        from portrayal.mesh import make_mesh

        with progress_bars() as progress:
            done = make_mesh(self.source, self.output, self.options, progress=progress)
        print(done.summary())


@dataclass
class Track:
    """Find and follow the faces of a picture or video: landmarks, pose, expression, gaze.

    For example

        portrayal track talk.mp4
        portrayal track me.jpg -o me.track.safetensors

    Writes a track file (docs/quickstart.md says how to read it) and the same pictures with the landmarks drawn.
    """

    input: Annotated[Positional[str], arg(metavar="PICTURE|VIDEO")]
    """A picture or a video."""
    output: Output = None
    """The track file; without it tracks/<input>.track.safetensors. The overlay lies beside it."""
    options: Annotated[TrackOptions, arg(name="")] = field(default_factory=TrackOptions)
    debug: Debug = False

    def run(self) -> None:
        from portrayal.animation import track

        with progress_bars() as progress:
            done = track(self.input, self.output, self.options, progress=progress)
        print(done.summary())


@dataclass
class Template:
    """Keep the motion of a video as a small file that animates portraits without the video.

    For example

        portrayal template talk.mp4 --origin "my own recording" --consent "mine"
        portrayal animate -s me.jpg -d templates/talk.motion.safetensors
    """

    driving: Annotated[Positional[str], arg(metavar="MOTION")]
    """A video, a picture or builtin:NAME."""
    output: Output = None
    """The file; without it templates/<driving>.motion.safetensors."""
    options: Annotated[TemplateOptions, arg(name="")] = field(default_factory=TemplateOptions)
    debug: Debug = False

    def run(self) -> None:
        from portrayal.animation import template

        with progress_bars() as progress:
            done = template(self.driving, self.output, self.options, progress=progress)
        print(done.summary())


@dataclass
class Preflight:
    """Say in plain words what will limit the result, and which frame is the reference, before animating.

    For example

        portrayal preflight -s me.jpg -d talk.mp4
    """

    source: Source = None
    """The face to animate; without it a built-in portrait."""
    driving: Driving = None
    """The motion: a video, picture, motion template, builtin:NAME or 0 for the camera; without it builtin:talk."""
    options: Annotated[RunOptions, arg(name="")] = field(default_factory=RunOptions)
    debug: Debug = False

    def run(self) -> None:
        from portrayal.animation import preflight

        with progress_bars() as progress:
            findings = preflight(self.source, self.driving, self.options, progress=progress)
        for finding in findings:
            print(finding)


@dataclass
class Train:
    """Train one stage of a system; the same command continues an interrupted run.

    For example

        portrayal train face tracker --data faces --out runs/tracker
        portrayal train face tracker --data faces --out runs/try --preset tiny --device cpu
        portrayal train face tracker --data faces --config.steps 2000 --config.loss.gaps 1

    --config.FIELD VALUE changes a field of the preset; --config.help lists the fields.
    """

    system: Annotated[Positional[str], arg(metavar="SYSTEM")]
    """What to train: face, or a system with learned weights."""
    stage: Annotated[Positional[str], arg(metavar="STAGE")]
    """The stage: tracker for face."""
    options: Annotated[TrainOptions, arg(name="")]
    preset: Literal["tiny", "compact", "paper", "refine"] = "compact"
    """Networks and length of the training: compact is what the package ships, refine goes on from --init."""
    overrides: tyro.conf.Suppress[tuple[str, ...]] = ()
    """The --config.FIELD VALUE that were typed; what fields there are depends on system and preset."""
    debug: Debug = False

    def run(self) -> None:
        from portrayal.train.launch import is_main_process
        from portrayal.train.run import train_stage

        weights = train_stage(self.system, self.stage, self.options, preset=self.preset, overrides=self.overrides)
        if is_main_process():
            print(f"Weights: {weights}")


COMMANDS: dict[str, type[Command]] = {
    "animate": Animate,
    "edit": Edit,
    "mesh": Mesh,
    "track": Track,
    "template": Template,
    "preflight": Preflight,
    "train": Train,
    "data": Data,
    "weights": Weights,
    "evaluate": Evaluate,
    "compare": Compare,
    "ablate": Ablate,
}


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int | None], None]]:
    """A function (stage, done, total) that draws one bar per stage on stderr; nothing where that is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield show


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0 done, 1 a failure of ours, 2 input that cannot be used, 130 Ctrl-C, 141 nobody
    reads what is printed any more."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    try:
        parse(arguments or ["--help"]).run()
    except PortrayalError as error:
        return _fail(str(error), error.exit_code, debug)
    except KeyboardInterrupt:
        return _fail("interrupted: no unfinished result was left; the same command continues.", INTERRUPTED, debug)
    except BrokenPipeError:  # standard output goes to a program that has ended: portrayal --help | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    except Exception as error:
        hint = "" if debug else " --debug shows where."
        return _fail(f"unexpected failure, {type(error).__name__}: {error}.{hint}", 1, debug)
    return 0


def parse(arguments: Sequence[str]) -> Command:
    """The command that was typed. Exits with 0 after help and with 2 after a mistake in the options."""
    overrides: list[str] = []
    if arguments[0] in ("train", "ablate"):
        arguments, overrides = split_overrides(arguments)
    verbs: list[Any] = [
        Annotated[command, subcommand(verb, description=_description(command, in_full=verb == arguments[0]))]
        for verb, command in COMMANDS.items()
    ]
    command: Command = tyro.cli(
        reduce(or_, verbs),
        prog="portrayal",
        description="Animate one portrait with somebody's motion. Start with: portrayal animate",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    return replace(command, overrides=tuple(overrides)) if isinstance(command, Train | Ablate) else command


def split_overrides(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments without and with `--config.FIELD VALUE`; the values of a field go on until the next option."""
    plain: list[str] = []
    overrides: list[str] = []
    taking = plain
    for argument in arguments:
        if argument.startswith("-") and not argument[1:2].isdigit() and argument[1:2] != ".":
            taking = overrides if argument.startswith("--config.") else plain
        taking.append(argument)
    return plain, overrides


def _description(command: type[Command], *, in_full: bool) -> str:
    """The docstring for the help of one verb, its first sentence for the list of all."""
    text = inspect.getdoc(command) or ""
    return text if in_full else text.split("\n\n")[0]


def _fail(sentence: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"portrayal: {sentence}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
