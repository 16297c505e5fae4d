"""Animate one portrait with somebody's motion.

    import portrayal
    done = portrayal.animate("me.jpg", "talk.mp4", "out.mp4")
    print(done.summary())

Importing this package is quick: what a name needs is imported when the name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from portrayal.animation import Animation, animate, preflight, template, track
    from portrayal.editing import Edited, edit
    from portrayal.errors import InputError, PortrayalError
    from portrayal.options import AnimateOptions, EditOptions, RunOptions, TemplateOptions, TrackOptions
    from portrayal.systems import SYSTEMS, load
    from portrayal.types import FaceParams, Track

_HOME = {
    "AnimateOptions": "options",
    "Animation": "animation",
    "EditOptions": "options",
    "Edited": "editing",
    "FaceParams": "types",
    "InputError": "errors",
    "PortrayalError": "errors",
    "RunOptions": "options",
    "SYSTEMS": "systems",
    "TemplateOptions": "options",
    "Track": "types",
    "TrackOptions": "options",
    "animate": "animation",
    "edit": "editing",
    "load": "systems",
    "preflight": "animation",
    "template": "animation",
    "track": "animation",
}
"""The module of each public name."""

__all__ = [
    "SYSTEMS",
    "AnimateOptions",
    "Animation",
    "EditOptions",
    "Edited",
    "FaceParams",
    "InputError",
    "PortrayalError",
    "RunOptions",
    "TemplateOptions",
    "Track",
    "TrackOptions",
    "animate",
    "edit",
    "load",
    "preflight",
    "template",
    "track",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'portrayal' has no attribute {name!r}")
    return getattr(import_module(f"portrayal.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
