"""Devices and processes of a training."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import nn

from portrayal.errors import InputError
from portrayal.face.tracker import pick_device
from portrayal.nn.precision import multiplies_bfloat16
from portrayal.train.options import RunOptions

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def launch(options: RunOptions) -> Fabric:
    """Start the other processes of this node where nobody else (torchrun, Slurm) has, and find each other.

    Raises:
        InputError: there are no such devices, or no such precision.
    """
    from lightning_fabric import Fabric  # takes seconds, and every command imports the stages

    precision = options.precision if options.precision != "auto" else quickest_precision(options.device)
    several = options.devices * options.num_nodes > 1
    try:
        fabric = Fabric(
            accelerator=options.device,
            devices=options.devices,
            num_nodes=options.num_nodes,
            strategy="ddp" if several else "auto",
            precision=precision,  # type: ignore[arg-type]
        )
    except (ValueError, RuntimeError) as error:  # Fabric's own errors are of these kinds
        raise InputError(
            f"--device {options.device} --devices {options.devices} --precision {precision}: {error}"
        ) from error
    fabric.launch()
    if several:
        atexit.register(_leave)
    return fabric


def quickest_precision(device: str) -> str:
    """Raises InputError: there is no such device."""
    return "bf16-mixed" if multiplies_bfloat16(pick_device(device).type) else "32-true"


def is_main_process() -> bool:
    """The one process of a training that prints and writes."""
    return not dist.is_initialized() or dist.get_rank() == 0


def prepare(modules: nn.ModuleDict, device: torch.device, *, channels_last: bool) -> nn.ModuleDict:
    """Move to the device, in the memory order chosen."""
    modules.to(device)
    if channels_last:
        for parameter in modules.parameters():
            if parameter.dim() == 4:  # volumes (5 dimensions) keep their order
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return modules


def compile_networks(modules: nn.ModuleDict) -> None:
    """Compile each outermost module that has a forward of its own."""
    for module in modules.children():
        for part in _with_forward(module):
            part.compile()


def _with_forward(module: nn.Module) -> Iterator[nn.Module]:
    if type(module).forward is not nn.Module.forward and not isinstance(module, nn.ModuleList | nn.ModuleDict):
        yield module
    else:
        for child in module.children():
            yield from _with_forward(child)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
