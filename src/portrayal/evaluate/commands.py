"""The verbs `evaluate`, `compare` and `ablate` as the command line parses them; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, Suppress, arg

from portrayal.errors import InputError
from portrayal.evaluate.options import STUDY, CompareOptions, EvaluateOptions, StudyOptions

Out = Annotated[Path | None, arg(aliases=["-o"], metavar="FOLDER", help_behavior_hint="")]
Debug = Annotated[bool, arg(help="Show the traceback of an error.", help_behavior_hint="")]


@dataclass
class Evaluate:
    """Measure systems on video clips with the metrics and protocols of the papers; or hold a user study.

    For example

        portrayal evaluate copy-source meshwarp --data faces --split val --out evaluation
        portrayal evaluate meshwarp --data faces --protocol attributes expression-interpolation
        portrayal evaluate copy-source meshwarp --data HDTF --layout hdtf --clips 50
        portrayal evaluate copy-source meshwarp --data synthetic
        portrayal evaluate study --make evaluation --out study
        portrayal evaluate study --serve study
        portrayal evaluate study --tally study

    Writes report.md, report.json and pictures. An interrupted evaluation continues; a second run gives the same
    numbers; a clip that cannot be used is listed and does not end it. copy-source is the trivial baseline.
    """

    systems: Annotated[Positional[tuple[str, ...]], arg(metavar="SYSTEM...")]
    """What to measure: copy-source and the names of systems; or the word study."""
    data: Annotated[str | None, arg(metavar="FOLDER", help_behavior_hint="")] = None
    """The clips, or the word synthetic for heads with known ground truth."""
    out: Out = None
    """Where report and pictures go; without it evaluation, or study."""
    options: Annotated[EvaluateOptions, arg(name="")] = field(default_factory=EvaluateOptions)
    study: Annotated[StudyOptions, arg(name="")] = field(default_factory=StudyOptions)
    debug: Debug = False

    def run(self) -> None:
        from portrayal.cli import progress_bars

        if STUDY in self.systems:
            from portrayal.evaluate.userstudy import run_study

            print(run_study(self.study, self.out))
            return
        if self.data is None:
            raise InputError("say what to measure on: --data FOLDER, or --data synthetic.")
        from portrayal.evaluate.bench import evaluate

        with progress_bars() as progress:
            done = evaluate(self.systems, self.data, self.out, self.options, progress=progress)
        print(done.summary())


@dataclass
class Compare:
    """Animate a portrait with every system, side by side in one video, with numbers, time and memory.

    For example

        portrayal compare -s me.jpg -d talk.mp4
        portrayal compare -s me.jpg -d talk.mp4 --systems copy-source meshwarp -o both.mp4
    """

    source: Annotated[str | None, arg(aliases=["-s"], metavar="PICTURE", help_behavior_hint="")] = None
    """The face to animate; without it a built-in portrait."""
    driving: Annotated[str | None, arg(aliases=["-d"], metavar="MOTION", help_behavior_hint="")] = None
    """The motion: a video, motion template or builtin:NAME; without it builtin:talk."""
    output: Annotated[Path | None, arg(aliases=["-o"], metavar="FILE", help_behavior_hint="")] = None
    """The video; without it comparisons/<source>--<driving>.mp4. The table lies beside it."""
    options: Annotated[CompareOptions, arg(name="")] = field(default_factory=CompareOptions)
    debug: Debug = False

    def run(self) -> None:
        from portrayal.cli import progress_bars
        from portrayal.evaluate.compare import compare

        with progress_bars() as progress:
            done = compare(self.source, self.driving, self.output, self.options, progress=progress)
        print(done.summary())


@dataclass
class Ablate:
    """Train and evaluate a system without each of its parts, in the layout of its paper's ablation table.

    For example

        portrayal ablate mmfa --data faces --preset compact
        portrayal ablate export3d --data faces --rows "Direct 3DMM" "Full (CLeBS)" --config.steps 300
        portrayal ablate otavatar --data faces --weights runs/eg3d/weights.safetensors --config.decouple.steps 60

    --config.FIELD VALUE changes a field of the preset, in every row. What lies in the output folder is taken over.
    Rows of directions and otavatar begin with the generator of --weights, else of the package; others from scratch.
    """

    system: Annotated[Positional[str], arg(metavar="SYSTEM")]
    """Whose table."""
    data: Annotated[Path, arg(metavar="FOLDER")]
    """Clips to train and to measure on."""
    out: Out = None
    """Where runs and table go; without it ablations/<system>."""
    preset: Literal["tiny", "compact", "paper"] = "compact"
    """Size of the networks and length of the training."""
    rows: tuple[str, ...] = ()
    """Only these rows of the table."""
    options: Annotated[EvaluateOptions, arg(name="")] = field(default_factory=EvaluateOptions)
    overrides: Suppress[tuple[str, ...]] = ()
    """The --config.FIELD VALUE that were typed."""
    debug: Debug = False

    def run(self) -> None:
        from portrayal.cli import progress_bars
        from portrayal.evaluate.ablations import ablate

        with progress_bars() as progress:
            done = ablate(
                self.system,
                self.data,
                self.out,
                self.options,
                preset=self.preset,
                only=self.rows,
                overrides=self.overrides,
                progress=progress,
            )
        print(done.summary())
