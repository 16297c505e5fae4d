"""Avatar files as sources and results of commands; systems with the capability avatars write and read them."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from torch import nn

from portrayal.capabilities import AvatarKeeper
from portrayal.errors import InputError
from portrayal.face.tracker import Tracker
from portrayal.options import AVATAR_SUFFIX
from portrayal.rendering import Renderer
from portrayal.source import Sitter, open_source, sitter_of_avatar
from portrayal.systems import able, name_of
from portrayal.tracking import Progress, silent
from portrayal.types import System


def open_sitter(
    source: Path | str | None,
    system: System,
    model: nn.Module,
    *,
    tracker: Tracker,
    face: str,
    size: int | None,
    crop: bool,
    progress: Progress = silent,
) -> Sitter:
    """`source.open_source`, or the portrait in an avatar file, which this system has encoded already.

    Raises:
        InputError: as `open_source`; an avatar file that cannot be used with this system and its weights.
    """
    if source is None or not str(source).endswith(AVATAR_SUFFIX):
        return open_source(source, tracker=tracker, face=face, size=size, crop=crop, progress=progress)
    if "avatars" not in system.CAPABILITIES:
        raise InputError(f"{source} is an avatar, and {name_of(system)} takes none; {able('avatars')}.")
    encoded = cast(AvatarKeeper, system).load_avatar(Path(source), model)
    return sitter_of_avatar(Path(source), encoded, face=face, size=size, crop=crop)


def check_keeping(path: Path | None, system: System, sitter: Sitter) -> None:
    """Whether a source can be kept as an avatar, before any work on it; None asks for nothing.

    Raises:
        InputError: the system has no avatar files, the source is a video, or several faces move.
    """
    if path is None:
        return
    if "avatars" not in system.CAPABILITIES:
        raise InputError(f"{name_of(system)} has no avatar files, which --keep-avatar writes; {able('avatars')}.")
    if sitter.picture is None or len(sitter.faces) > 1:
        shown = f"{sitter.path} is a video" if sitter.picture is None else "--face all moves several"
        raise InputError(f"an avatar is one face of a picture, and {shown}; leave --keep-avatar out.")


def keep_avatar(path: Path | None, renderer: Renderer) -> None:
    """Write the portrait that is rendered, which `check_keeping` has passed, as an avatar; None writes nothing.

    Raises:
        InputError: the place cannot be written. PortrayalError: the disk is full.
    """
    if path is not None:
        cast(AvatarKeeper, renderer.system).save_avatar(path, renderer.model, renderer.source_of(0))
