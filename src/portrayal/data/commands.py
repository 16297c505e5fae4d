"""The verb `data` as the command line parses it; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg, subcommand

from portrayal.data.prepare_options import PrepareOptions, ShardOptions

Debug = Annotated[bool, arg(help="Show the traceback of an error.", help_behavior_hint="")]
OutFolder = Annotated[Path, arg(aliases=["-o"], metavar="FOLDER")]


@dataclass
class Prepare:
    """Raw videos to a clip folder: 25 frames per second, scene cuts, tracking, FOMM's crop, quality filters.

    For example

        portrayal data prepare videos -o faces
        portrayal data prepare videos -o faces --workers 8 --rules.min-side 128

    An interrupted command goes on when it is given again. report.json says what was dropped and why.
    """

    folder: Annotated[Positional[Path], arg(metavar="FOLDER")]
    """Folder of videos, searched with its subfolders."""
    out: OutFolder
    """The clip folder."""
    options: Annotated[PrepareOptions, arg(name="")] = field(default_factory=PrepareOptions)

    def run(self) -> None:
        from portrayal.cli import progress_bars
        from portrayal.data.prepare import prepare

        with progress_bars() as progress:
            done = prepare(self.folder, self.out, self.options, progress=progress)
        print(done.summary())


@dataclass
class Shards:
    """A clip folder to WebDataset shards, for training on many machines.

    For example

        portrayal data shards faces -o shards
    """

    folder: Annotated[Positional[Path], arg(metavar="FOLDER")]
    """Clip folder."""
    out: OutFolder
    """Where the shards go; a new folder."""
    options: Annotated[ShardOptions, arg(name="")] = field(default_factory=ShardOptions)

    def run(self) -> None:
        from portrayal.cli import progress_bars
        from portrayal.data.shards import write_shards

        with progress_bars() as progress:
            done = write_shards(self.folder, self.out, self.options, progress=progress)
        print(done.summary())


@dataclass
class FaceModel:
    """The linear 3D face model, from landmark-labelled clips and pictures.

    For example

        portrayal data face-model --data faces --output face_model.safetensors
    """

    data: Annotated[Path, arg(metavar="FOLDER")]
    """Folder with clips.csv, photos.csv and what they name."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="FILE")]
    """The face model."""

    def run(self) -> None:
        from portrayal.face.build_model import build_face_model

        build_face_model(self.data, self.output, report=print)


@dataclass
class Data:
    """Make training data: clips of raw videos, shards of clips, the face model of labelled faces.

    For example

        portrayal data prepare videos -o faces
        portrayal data shards faces -o shards
        portrayal data face-model --data faces --output face_model.safetensors

    portrayal data prepare --help shows the options of each.
    """

    what: tyro.conf.OmitSubcommandPrefixes[
        Annotated[Prepare, subcommand("prepare")]
        | Annotated[Shards, subcommand("shards")]
        | Annotated[FaceModel, subcommand("face-model")]
    ]
    debug: Debug = False

    def run(self) -> None:
        self.what.run()
