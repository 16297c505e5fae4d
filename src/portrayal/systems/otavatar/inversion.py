"""The identity code of a face by inverting the generator: the inner loop of Algorithm 1, lines 3 and 6 to 10."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from portrayal.errors import InputError
from portrayal.systems.otavatar.camera import bias_intrinsics
from portrayal.systems.otavatar.config import DecoupleConfig
from portrayal.systems.otavatar.generator import TriplaneGenerator, View
from portrayal.systems.otavatar.losses import view_loss
from portrayal.systems.otavatar.pairs import Faces

BIAS_SIZE = 18
"""Numbers of `camera.bias_intrinsics`."""
LEAST_GAIN = 1e-3
"""Share of the loss that must be gained for a step to count as progress."""


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
Progress = Callable[[int, int, float], None]
"""Called with (steps done, steps in all, loss)."""


def find_identity(
    objective: Objective,
    w_mean: Tensor,
    batch: int,
    config: DecoupleConfig,
    *,
    steps: int | None = None,
    progress: Progress | None = None,
    patience: int | None = None,
) -> Inverted:
    """Descend from the average latent (line 3).

    Args:
        objective: L; only w and the bias get gradients.
        w_mean: (w_dim,) w_avg. batch: faces, each with a w of its own.
        steps: N_id; None as in `config`.
        patience: stop after as many steps without progress; None never stops.

    Raises:
        InputError: the loss is not finite, even with a tenth of the step.

    Differs: in the official code the w that is returned lacks the last step.
    """
    steps = config.identity_steps if steps is None else steps
    for rate in (config.identity_rate, config.identity_rate / 10):
        found = _descend(objective, w_mean, batch, config, rate, steps, progress, patience)
        if found is not None:
            return found
    raise InputError(
        "the inversion of the face diverged twice; check that the face is whole, near enough and in the picture, or "
        "lower decouple.identity_rate"
    )


def _descend(
    objective: Objective,
    w_mean: Tensor,
    batch: int,
    config: DecoupleConfig,
    rate: float,
    steps: int,
    progress: Progress | None,
    patience: int | None,
) -> Inverted | None:
    """None where the loss stops being finite."""
    w = w_mean.detach().float().expand(batch, -1).clone().requires_grad_()
    bias = w.new_zeros(batch, BIAS_SIZE).requires_grad_(config.bias_intrinsics)
    optimizers: list[torch.optim.Optimizer] = [torch.optim.Adam([w], lr=rate)]
    if config.bias_intrinsics:
        optimizers.append(torch.optim.AdamW([bias], lr=rate, betas=(0.9, 0.9999), weight_decay=0))
    learned = [x for x in (w, bias) if x.requires_grad]
    losses: list[float] = []
    best, best_step = math.inf, 0
    for step in range(steps):
        with torch.enable_grad():
            loss = objective(w, bias, step)
            gradients = torch.autograd.grad(loss, learned)
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]) or not all(bool(g.isfinite().all()) for g in gradients):
            return None
        for value, gradient in zip(learned, gradients, strict=True):
            value.grad = gradient.clone()
        nn.utils.clip_grad_norm_([w], config.clip)
        for optimizer in optimizers:
            optimizer.step()
        if progress is not None:
            progress(step + 1, steps, losses[-1])
        if losses[-1] < best * (1 - LEAST_GAIN):
            best, best_step = losses[-1], step
        elif patience is not None and step - best_step >= patience:
            break
    return Inverted(w.detach(), bias.detach(), tuple(losses))


def invert_portrait(
    generator: TriplaneGenerator,
    controller: nn.Module,
    faces: Faces,
    networks: Mapping[str, nn.Module],
    config: DecoupleConfig,
    *,
    progress: Progress | None = None,
    patience: int | None = 20,
) -> Inverted:
    """w_id of single pictures, with the controller's code of their own window (code's inference).

    Densities are not judged here; super-resolution is in the last `motion_steps` only, which an early stop leaves out.

    Args:
        networks: `losses.feature_networks`.
    """
    with torch.no_grad():
        motion = controller(faces.window)

    def objective(w: Tensor, bias: Tensor, step: int) -> Tensor:
        view, _ = view_faces(generator, w, motion, bias, faces, config, enlarge=step >= config.identity_steps)
        return view_loss(view, faces, networks, config.losses)

    steps = config.identity_steps + config.motion_steps
    return find_identity(
        objective, generator.w_mean, len(motion), config, steps=steps, progress=progress, patience=patience
    )


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
