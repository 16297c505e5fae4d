"""The fast path of the tri-plane renderer against the straightforward one: speed, and how near the pictures are.

    python benchmarks/triplane.py
    python benchmarks/triplane.py --size 128 --threads 2 --device cuda --dtype float16

The face is a soft solid with bumps in planes of EG3D's size, rendered by EG3D's camera with 48 + 48 samples a ray. What
is measured is the rendering of one picture from planes that are there: `fresh` lays them out for reading first, as for
every frame of an animation; `kept` does not, and knows where the field is empty, as when only the camera moves.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import tyro
from rich.console import Console
from rich.progress import track
from torch import Tensor

from portrayal.face.camera import FOV_DEG, camera_label, fov_to_intrinsics, orbit
from portrayal.nn.rendering.fast import FastField, find_occupancy, render_fast
from portrayal.nn.rendering.rays import camera_rays
from portrayal.nn.rendering.volume import RayConfig, Rendered, middle_draws, render_rays
from portrayal.nn.triplane import OSGDecoder, triplane_field


@dataclass(frozen=True)
class Options:
    size: int = 64
    """Side of the rendered picture."""
    plane_size: int = 256
    channels: int = 32
    repeats: int = 5
    """The median of so many pictures."""
    threads: int = 1
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    """Of the fast path."""


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    planes, decoder = soft_face(options)
    config = RayConfig()
    cam2world = orbit(torch.tensor([1.8]), torch.tensor([1.5]))
    camera = camera_label(cam2world, fov_to_intrinsics(FOV_DEG)).to(options.device)
    origins, directions = camera_rays(camera, height=options.size, width=options.size)
    dtype = getattr(torch, options.dtype)
    kept = FastField(planes, decoder, dtype=dtype)
    occupancy = find_occupancy(kept, box_size=config.box_size, device=planes.device)

    def plain() -> Rendered:
        field = triplane_field(planes[None], decoder)
        return render_rays(field, origins, directions, config, middle_draws(origins, config), rays_per_chunk=4096)

    ways: dict[str, Callable[[], Rendered]] = {
        "straightforward": plain,
        "fast, fresh": lambda: render_fast(FastField(planes, decoder, dtype=dtype), origins[0], directions[0], config),
        "fast, kept": lambda: render_fast(kept, origins[0], directions[0], config, occupancy=occupancy),
    }
    console = Console()
    expected, seconds = plain(), {}
    where = torch.cuda.get_device_name() if planes.is_cuda else f"CPU, {options.threads} thread(s)"
    console.print(
        f"{options.size} x {options.size}, {where}; {float(expected.opacity.mean()):.0%} of the picture covered"
    )
    with torch.inference_mode():
        for name, render in track(ways.items(), "ways", console=console):
            found = render()
            seconds[name], processor = median_seconds(render, options.repeats, cuda=planes.is_cuda)
            error = float((found.colour - expected.colour).square().mean())
            quality = "" if name == "straightforward" else f", {-10 * math.log10(error + 1e-12):.1f} dB"
            speedup = seconds["straightforward"] / seconds[name]
            console.print(
                f"{name}: {seconds[name] * 1e3:.1f} ms ({processor * 1e3:.1f} ms of processor time), "
                f"{speedup:.2f} times as fast{quality}"
            )


@torch.no_grad()
def soft_face(options: Options) -> tuple[Tensor, OSGDecoder]:
    """Planes (3, c, h, w) and a decoder; channel 0 says how far outside a place is, the others are smooth noise."""
    random = torch.Generator().manual_seed(0)
    coarse = torch.randn(3, options.channels, 16, 16, generator=random)
    planes = torch.nn.functional.interpolate(coarse, size=(options.plane_size,) * 2, mode="bicubic")
    line = (torch.arange(options.plane_size) + 0.5) / options.plane_size * 2 - 1
    planes[:, 0] = 1.5 - 8 * (line[:, None] ** 2 + line**2) + 0.1 * planes[:, 1]
    decoder = OSGDecoder(options.channels).requires_grad_(False)
    hidden, last = decoder.net[0], decoder.net[2]
    hidden.weight.copy_(torch.randn(hidden.weight.shape, generator=random))
    last.weight.copy_(torch.randn(last.weight.shape, generator=random))
    # The first neuron alone is the solid: density 500 per world unit within a few hundredths below its surface.
    hidden.weight[0] = 0
    hidden.weight[0, 0] = 8 * math.sqrt(options.channels)
    last.weight[0] = 0
    last.weight[0, 0] = 60 * math.sqrt(last.weight.shape[1])
    last.bias[0] = -80
    return planes.to(options.device), decoder.to(options.device)


def median_seconds(work: Callable[[], Rendered], repeats: int, *, cuda: bool) -> tuple[float, float]:
    """Of the clock, and of the processor, which other programs on the machine disturb less."""
    taken, worked = [], []
    for _ in range(repeats):
        start, start_work = time.perf_counter(), time.process_time()
        work()
        if cuda:
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
        worked.append(time.process_time() - start_work)
    return statistics.median(taken), statistics.median(worked)


if __name__ == "__main__":
    main(tyro.cli(Options))
