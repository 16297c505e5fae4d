"""A driving motion as what a system keeps of it; pictures are read again only for a system that looks at them.

Such a system says the side of the crops it wants (`System.driving_pixels`). They come from one fixed square around the
driving face, as in the papers, a few frames at a time: memory does not grow with the length of the pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from typing import Literal, cast

import torch
from torch import Tensor, nn

from portrayal.capabilities import Tuner
from portrayal.driving import Performance
from portrayal.errors import InputError
from portrayal.media.crop import apply_crop, crop_around, params_to_crop
from portrayal.media.image import to_tensor
from portrayal.motion.options import RetargetOptions
from portrayal.motion.template import load_template
from portrayal.systems import meshwarp, name_of
from portrayal.tracking import Progress, nearest, silent
from portrayal.types import Driving, FaceClip, FaceParams, Portrait, Source, System, join_drivings, move
from portrayal.weights.model import mark_of

CHUNK = 16
"""Driving pictures that are encoded at a time."""


@torch.no_grad()
def encode_portrait(
    system: System,
    model: nn.Module,
    portrait: Portrait,
    *,
    previous: Source | None = None,
    progress: Progress = silent,
) -> Source:
    """A portrait as a system renders it, on the model's device: `encode_source`, and the optimisation of a `Tuner`.

    Args:
        previous: the frame before, in a source video.
    """
    source = system.encode_source(model, move(portrait, model_device(model)))
    if "tuning" not in system.CAPABILITIES:
        return source
    return cast(Tuner, system).tune_source(model, source, previous=previous, progress=progress)


def model_device(model: nn.Module) -> torch.device:
    """Where a model's weights are; the CPU where it has none."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


@torch.no_grad()
def encode_motion(
    system: System, model: nn.Module, performance: Performance, params: FaceParams, *, progress: Progress = silent
) -> Driving:
    """`System.encode_driving` of a whole performance.

    In frames without a face a system's own tensors are those of the nearest frame with one, as `params` are.

    Args:
        params: t frames, the performance's parameters, smoothed or not; the result holds them as they are.

    Returns:
        `System.DRIVING` of t frames on the CPU.

    Raises:
        InputError: the system needs pictures or a template of its own, and the motion comes with neither.
    """
    side = system.driving_pixels(model)
    if side is None:
        clip = FaceClip(torch.empty(len(params), 3, 0, 0), params, performance.times)
        return move(system.encode_driving(model, move(clip, model_device(model))), "cpu")
    if performance.template is not None:
        codes = load_template(performance.template, system.DRIVING, system=name_of(system), weights=mark_of(model))
        return replace(codes, params=params)
    pictures = performance.all_pictures()
    if pictures is None:
        name = name_of(system)
        raise InputError(
            f"{performance.name} is a motion without pictures, and {name} looks at the driving face; give a video or "
            f"picture with -d, or a template of one that was made with --system {name}."
        )
    crop = crop_around(performance.params.landmarks[performance.found], size=side)
    crops = (to_tensor(apply_crop(picture, crop)) for picture in pictures)
    codes = _encode_pictures(
        system, model, crops, params_to_crop(performance.params, crop), performance.times, progress=progress
    )
    if not bool(performance.found.all()):
        seen = performance.found.nonzero()[:, 0]
        codes = codes.pick(seen[nearest(seen, len(codes))].tolist())
    return replace(codes, params=params, times=performance.times)


@torch.no_grad()
def encode_params(
    system: System,
    model: nn.Module,
    portrait: Portrait,
    params: FaceParams,
    times: tuple[Fraction, ...],
    *,
    region: Literal["all", "pose"] = "all",
) -> Driving:
    """What a system renders when a portrait's own face is moved to `params` by numbers.

    A system that looks at the driving face gets pictures of it: the mesh warp draws the portrait with that motion, and
    the system's own tensors change by what the first picture, the portrait as it is, and the others differ.

    Args:
        params: t frames in pixels of the portrait.
        region: pose where the expression is the portrait's own, so that no drawing of it is looked at.

    Returns:
        `System.DRIVING` of t frames on the CPU, ready for `render`.
    """
    side = system.driving_pixels(model)
    if side is None:
        clip = FaceClip(torch.empty(len(params), 3, 0, 0), params, times)
        return move(system.encode_driving(model, move(clip, model_device(model))), "cpu")
    before = FaceParams.cat([portrait.params, params])
    drawn_times = tuple(Fraction(i, 25) for i in range(len(before)))
    codes = _encode_pictures(system, model, _drawn(portrait, before, side), before, drawn_times)
    moved = system.retarget_codes(codes, RetargetOptions(reference=0, region=region))
    return replace(moved[1:], params=params, times=times)


def _drawn(portrait: Portrait, params: FaceParams, side: int) -> Iterator[Tensor]:
    """(1, 3, side, side) pictures of the portrait moved by the mesh warp."""
    warp = meshwarp.build(meshwarp.Config.compact())
    source = meshwarp.encode_source(warp, portrait)
    for batch in meshwarp.render(warp, source, Driving(params, tuple(Fraction(i) for i in range(len(params))))):
        yield from nn.functional.interpolate(batch, (side, side), mode="bilinear", antialias=True).split(1)


def _encode_pictures(
    system: System,
    model: nn.Module,
    crops: Iterator[Tensor],
    params: FaceParams,
    times: tuple[Fraction, ...],
    *,
    progress: Progress = silent,
) -> Driving:
    """Encode (1, 3, side, side) crops, one per frame of `params`, in chunks."""
    device, parts = model_device(model), []
    for start in range(0, len(params), CHUNK):
        images = torch.cat(list(islice(crops, CHUNK)))
        stop = start + len(images)
        clip = move(FaceClip(images, params[start:stop], times[start:stop]), device)
        parts.append(move(system.encode_driving(model, clip), "cpu"))
        progress("encoding motion", stop, len(params))
    return join_drivings(parts)
