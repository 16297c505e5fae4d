"""The identity code of a face by inverting the generator: the inner loop of Algorithm 1, lines 3 and 6 to 10."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from portrayal.errors import InputError
from portrayal.systems.otavatar.camera import bias_intrinsics
from portrayal.systems.otavatar.descent import Descent, Watch, descend
from portrayal.systems.otavatar.generator import TriplaneGenerator, View
from portrayal.systems.otavatar.losses import view_loss
from portrayal.systems.otavatar.pairs import Faces
from portrayal.systems.otavatar.training_config import DecoupleConfig

BIAS_SIZE = 18
"""Numbers of `camera.bias_intrinsics`."""


@dataclass(frozen=True)
class Inverted:
    """What was found."""

    w: Tensor
    """(b, w_dim) w_id."""
    bias: Tensor
    """(b, 18) of the intrinsics; zeros where none is learned."""
    losses: tuple[float, ...]
    """Before each step."""


Objective = Callable[[Tensor, Tensor, int], Tensor]
"""w (b, w_dim), bias (b, 18) and the number of the step to a scalar."""


def find_identity(
    objective: Objective,
    first: Tensor,
    batch: int,
    config: DecoupleConfig,
    *,
    steps: int | None = None,
    watch: Watch | None = None,
) -> Inverted:
    """Descend from the average latent (line 3), or from where an encoder sees the faces.

    Args:
        objective: L; only w and the bias get gradients.
        first: (w_dim,) w_avg or (batch, w_dim). batch: faces, each with a w of its own.
        steps: N_id; None as in `config`.

    Raises:
        InputError: it diverges, even with a tenth of the step.

    Differs: in the official code the w that is returned lacks the last step.
    """
    no_bias = first.new_zeros(batch, BIAS_SIZE, dtype=torch.float32)

    def start(rate: float) -> Descent:
        w = first.detach().float().expand(batch, -1).clone().requires_grad_()
        learned = {"w": w}
        groups: list[dict[str, Any]] = [{"params": [w]}]
        if config.bias_intrinsics:
            learned["bias"] = no_bias.clone().requires_grad_()
            groups.append({"params": [learned["bias"]], "betas": (0.9, 0.9999)})
        return Descent(learned, torch.optim.Adam(groups, lr=rate), limited=[w], clip=config.clip)

    def loss(learned: Mapping[str, Tensor], step: int) -> Tensor:
        return objective(learned["w"], learned.get("bias", no_bias), step)

    steps = config.identity_steps if steps is None else steps
    found = descend(start, loss, rate=config.identity_rate, steps=steps, watch=watch or Watch())
    if found is None:
        raise InputError(
            "the inversion of the face diverged twice; check that the face is whole, near enough and in the picture, "
            "or lower decouple.identity_rate"
        )
    w, bias = found.learned["w"], found.learned.get("bias", no_bias)
    return Inverted(w.detach(), bias.detach(), tuple(found.losses))


def invert_portrait(
    generator: TriplaneGenerator,
    controller: nn.Module,
    faces: Faces,
    networks: Mapping[str, nn.Module],
    config: DecoupleConfig,
    *,
    first: Tensor | None = None,
    watch: Watch | None = None,
) -> Inverted:
    """w_id of single pictures, with the controller's code of their own window (code's inference).

    Densities are not judged here; super-resolution is in the last `motion_steps` only, which an early stop leaves out.

    Args:
        networks: `losses.feature_networks`.
        first: (b, w_dim) where the descent begins; None: w_avg.
    """
    with torch.no_grad():
        motion = controller(faces.window)

    def objective(w: Tensor, bias: Tensor, step: int) -> Tensor:
        view, _ = view_faces(generator, w, motion, bias, faces, config, enlarge=step >= config.identity_steps)
        return view_loss(view, faces, networks, config.losses)

    watch = replace(watch or Watch(), comparable=config.identity_steps)
    steps = config.identity_steps + config.motion_steps
    first = generator.w_mean if first is None else first
    return find_identity(objective, first, len(motion), config, steps=steps, watch=watch)


@torch.no_grad()
def first_identity(encoder: nn.Module | None, w_mean: Tensor, pictures: Tensor, motion: Tensor) -> Tensor:
    """Where inversion begins: the average latent (line 3), or with an encoder the code that shows the picture, less
    what the motion adds to it.

    Args:
        pictures: (b, 3, s, s) in [-1, 1]. motion: (b, layers, w_dim) C(x) of the pictures' own windows.

    Returns:
        (w_dim,), or with an encoder (b, w_dim).
    """
    return w_mean if encoder is None else encoder(pictures) - motion.mean(1)


def view_faces(
    generator: TriplaneGenerator,
    w: Tensor,
    motion: Tensor,
    bias: Tensor,
    faces: Faces,
    config: DecoupleConfig,
    *,
    enlarge: bool,
) -> tuple[View, Tensor]:
    """R(G(w_id, x), p) of lines 7 and 8, and the planes.

    Args:
        w: (b, w_dim). motion: (b, layers, w_dim), C(x). bias: (b, 18).
    """
    ws = limit(generator.broadcast(w) + motion, generator.w_mean, config.clamp)
    planes = generator.planes(ws)
    camera = bias_intrinsics(faces.camera, bias)
    return generator.view(planes, ws, camera, enlarge=enlarge), planes


def limit(ws: Tensor, w_mean: Tensor, distance: float | None) -> Tensor:
    """(b, l, w_dim), each channel at most `distance` from that of w_mean (w_dim,); None changes nothing."""
    return ws if distance is None else ws.clamp(w_mean - distance, w_mean + distance)
