"""Where numbers stop being finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from portrayal.train.state import TrainState


def explain(state: TrainState, repeat_step: Callable[[], Mapping[str, Tensor]]) -> str:
    """Repeat a step without learning from it and say where its numbers stop being finite.

    Args:
        repeat_step: the step, from the same random state on; returns the loss terms.

    Returns:
        Which terms are not finite, and the first weights, else the first module whose output is not finite.
    """
    weights = (name for name, p in state.networks.named_parameters() if not p.isfinite().all())
    bad_weights = next(weights, None)
    found: list[str] = []
    hooks = [
        module.register_forward_hook(_reporter(name, found))
        for networks in (state.networks, state.frozen)
        for name, module in networks.named_modules()
        if name
    ]
    state.gradients.dry = True
    try:
        with torch.compiler.set_stance("force_eager"):  # hooks inside compiled networks are not called
            terms = repeat_step()
    finally:
        state.gradients.dry = False
        for hook in hooks:
            hook.remove()
    bad_terms = ", ".join(name for name, term in terms.items() if not term.isfinite().all())
    parts = [f"loss {bad_terms} is not finite"] if bad_terms else []
    if bad_weights:
        parts.append(f"the weights {bad_weights} are not finite")
    elif found:
        parts.append(f"the first output that is not finite is that of {found[0]}")
    return "; ".join(parts)


def _reporter(name: str, found: list[str]) -> Callable[[nn.Module, Any, Any], None]:
    def report(module: nn.Module, inputs: Any, output: Any) -> None:
        if not found and not _finite(output):
            fed = "" if _finite(inputs) else ", whose input is not finite either"
            found.append(f"{name} ({type(module).__name__}){fed}")

    return report


def _finite(value: Any) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in _tensors(value))


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists, mappings and dataclasses."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _tensors(item)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from _tensors(getattr(value, name))
