"""StyleGAN2's synthesis at 256 x 256: ours against the operators by definition.

    python -m benchmarks.stylegan2
    python -m benchmarks.stylegan2 --size 128 --batch 4 --threads 2

The reference makes a weight per picture, joins the batch as groups of one convolution, and doubles and blurs by
`upfirdn2d` as defined: zeros between the pixels, padding, one 4 x 4 convolution per channel. That is what the public
implementations do where their compiled operators are missing. All take turns in every round; the ratio is that of the
medians. Weights are random: time does not depend on them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
import tyro
from rich.progress import track
from torch import Tensor

from portrayal.nn.stylegan2 import CHANNEL_BASE, SynthesisNetwork
from portrayal.nn.stylegan2_inference import FoldedSynthesis
from tests.nn.stylegan2_reference import synthesis

Draw = Callable[[Tensor], Tensor]


@dataclass
class Benchmark:
    """Measure the time per picture of each path."""

    size: int = 256
    batch: int = 1
    rounds: int = 5
    threads: int = 1
    channel_base: int = CHANNEL_BASE
    """Channels times resolution."""
    device: str = "cpu"


@torch.no_grad()
def main(asked: Benchmark) -> None:
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    net = SynthesisNetwork(asked.size, 512, channel_base=asked.channel_base).to(asked.device)
    ws = torch.randn(asked.batch, net.layers, 512, device=asked.device)
    folded, half = FoldedSynthesis(net), FoldedSynthesis(net, dtype=torch.bfloat16)
    paths: dict[str, Draw] = {
        "operators by definition": lambda w: synthesis(net, w),
        "plain": net,
        "folded": folded,
        "folded, bfloat16": half,
    }
    seconds: dict[str, list[float]] = {name: [] for name in paths}
    expected = synthesis(net, ws)
    for name, draw in paths.items():
        difference = float((draw(ws) - expected).abs().max() / expected.abs().max())
        print(f"{name}: largest difference {difference:.1e} of the largest value")
    for _ in track(range(asked.rounds), description="rounds"):
        for name, draw in paths.items():
            seconds[name].append(timed(draw, ws) / asked.batch)
    base = median(seconds["operators by definition"])
    where = torch.cuda.get_device_name() if asked.device == "cuda" else f"CPU, {asked.threads} threads"
    print(f"{asked.size} x {asked.size}, batch {asked.batch}, {where}")
    for name, values in seconds.items():
        print(f"{name:24s} {median(values) * 1000:8.1f} ms a picture   {base / median(values):5.2f} times as fast")


def timed(draw: Draw, ws: Tensor) -> float:
    """Processor seconds on a CPU, which other programs hardly disturb; elapsed seconds on a GPU."""
    if ws.is_cuda:
        torch.cuda.synchronize()
        begin = time.perf_counter()
        draw(ws)
        torch.cuda.synchronize()
        return time.perf_counter() - begin
    begin = time.process_time()
    draw(ws)
    return time.process_time() - begin


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
