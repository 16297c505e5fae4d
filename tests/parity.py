"""Reader of the parity fixtures: numbers measured from official implementations, with weights made by a rule.

A fixture is NAME.json (the manifest: state dict, inputs, outputs, facts) and NAME.npz in the folder that
PORTRAYAL_PARITY names (default ../shared/parity). Use:

    fixture = parity_fixture("vgg16_features")  # skips the test where the folder is absent
    net = fixture.load(vgg16())                 # weights by the fixture's rule
    fixture.check("relu1_1", net(fixture.inputs["image_a"])["relu1_1"])
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Float32 = NDArray[np.float32]


def parity_root() -> Path:
    return Path(os.environ.get("PORTRAYAL_PARITY", Path(__file__).parents[2] / "shared" / "parity"))


def parity_fixture(name: str) -> Fixture:
    """The fixture; the calling test is skipped where the folder does not have it."""
    if not (parity_root() / f"{name}.json").is_file():
        pytest.skip(f"no parity fixture {name} in {parity_root()} (PORTRAYAL_PARITY names another folder)")
    return Fixture(name)


class Fixture:
    """One fixture, read lazily."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.manifest: dict[str, Any] = json.loads((parity_root() / f"{name}.json").read_text())
        with np.load(parity_root() / f"{name}.npz") as arrays:
            self.arrays: dict[str, NDArray[Any]] = {key: arrays[key] for key in arrays}
        self.configuration: dict[str, Any] = self.manifest["configuration"]

    @cached_property
    def inputs(self) -> dict[str, Tensor]:
        return {entry["name"]: torch.from_numpy(self._input(entry)) for entry in self.manifest["inputs"]}

    @cached_property
    def state(self) -> dict[str, Tensor]:
        """Official name -> weights, float32; structural buffers as the manifest gives them, where it gives them."""
        values: dict[str, NDArray[Any]] = {}
        entries = self.manifest["state_dict"]
        weights = self._weights_file()
        for entry in entries:
            name, kind = entry["name"], entry["kind"]
            if kind == "file":
                values[name] = weights[name].astype(np.float32)
            elif kind == "filled":
                noise = normal(name, entry["shape"], self.manifest["seed"])
                noise = np.abs(noise) if entry.get("abs") else noise
                values[name] = np.float32(entry["offset"]) + np.float32(entry["scale"]) * noise
            elif kind == "kept" and (kept := self._kept(entry)) is not None:
                values[name] = kept
        for entry in entries:
            if entry["kind"] == "alias":
                values[entry["name"]] = values[entry["of"]]
            elif entry["kind"] == "derived" and entry["name"].endswith("weight_u"):
                stem = entry["name"].removesuffix("weight_u")
                u = normal(entry["name"], entry["shape"], self.manifest["seed"])
                values[stem + "weight_u"], values[stem + "weight_v"] = _power_iteration(values[stem + "weight_orig"], u)
        return {name: torch.from_numpy(np.asarray(value)) for name, value in values.items()}

    def load(self, net: nn.Module, rename: Callable[[str], str] = lambda name: name) -> nn.Module:
        """Fill a module and put it into evaluation mode.

        Its names and shapes must be exactly the official ones, after `rename` (official name -> the module's), and its
        structural buffers (kernels) must have the official values. A module without such buffers may be built under
        `torch.device("meta")`, which saves the time of a random initialisation.
        """
        own, entries = net.state_dict(), self.manifest["state_dict"]
        official = {rename(entry["name"]): entry for entry in entries if not _is_counter(entry["name"])}
        assert {name for name in own if not _is_counter(name)} == set(official), "names of the state dict"
        for name, entry in official.items():
            assert list(own[name].shape) == entry["shape"], name
            if entry["kind"] == "kept" and "value_sum" in entry:
                assert float(own[name].sum()) == pytest.approx(entry["value_sum"], rel=1e-5, abs=1e-6), name
        values = {rename(name): value for name, value in self.state.items()}
        for name, value in values.items():
            if official[name]["kind"] == "kept":
                torch.testing.assert_close(own[name].float(), value.float(), msg=f"structural buffer {name}")
        counters = {name: torch.tensor(0) for name in own if _is_counter(name)}
        net.load_state_dict({**own, **counters, **values}, strict=True, assign=True)
        assert not any(value.is_meta for value in net.state_dict().values())
        return net.eval().requires_grad_(False)

    def check(self, name: str, mine: Tensor | NDArray[Any]) -> None:
        """Compare one output with the reference's, within the manifest's tolerance."""
        complaints = self._complaints(name, np.asarray(mine, np.float32))
        assert not complaints, complaints

    def _complaints(self, name: str, mine: Float32) -> list[str]:
        entry = next(output for output in self.manifest["outputs"] if output["name"] == name)
        if list(mine.shape) != entry["shape"]:
            return [f"{name}: shape {mine.shape}, expected {entry['shape']}"]
        arrays, found = self.arrays, []
        parts = []
        if entry["stored"] == "full":
            parts.append(("full", mine, arrays[f"out.{name}"]))
        else:
            parts.append(("samples", mine.reshape(-1)[arrays[f"pos.{name}"]], arrays[f"val.{name}"]))
            if "grid" in entry["stored"]:
                every = (slice(None, None, entry["grid_stride"]),) * (len(entry["shape"]) - 2)
                parts.append(("grid", mine[(Ellipsis, *every)], arrays[f"grid.{name}"]))
            for what, value in (("mean", mine.mean(dtype=np.float64)), ("std", mine.std(dtype=np.float64))):
                if abs(value - entry[what]) > entry["atol"]:
                    found.append(f"{name}: {what} {value}, expected {entry[what]}")
        for what, a, b in parts:
            excess = np.abs(a - b) - (entry["atol"] + entry["rtol"] * np.abs(b))
            if not np.isfinite(a).all() or excess.max() > 0:
                found.append(f"{name}, {what}: largest difference {np.abs(a - b).max():g}, atol {entry['atol']:g}")
        return found

    def _input(self, entry: Mapping[str, Any]) -> Float32:
        seed, key = self.manifest["seed"], f"input:{self.name}:{entry['name']}"
        offset, scale = np.float32(entry.get("offset", 0)), np.float32(entry.get("scale", 1))
        if entry["source"] == "npz":
            return np.asarray(self.arrays[f"in.{entry['name']}"], np.float32)
        if entry["rule"] == "normal":
            return offset + scale * normal(key, entry["shape"], seed)
        if entry["rule"] == "uniform":
            return offset + scale * _generator(key, seed).random(tuple(entry["shape"]), dtype=np.float32)
        (b, c, h, w), block = entry["shape"], entry["block"]
        coarse = normal(f"{key}:coarse", (b, c, h // block, w // block), seed).repeat(block, 2).repeat(block, 3)
        fine = normal(f"{key}:fine", entry["shape"], seed)
        image = np.clip(np.float32(0.5) + np.float32(0.2) * coarse + np.float32(0.05) * fine, 0, 1)
        return image if entry["rule"] == "image01" else image * np.float32(2) - np.float32(1)

    def _kept(self, entry: Mapping[str, Any]) -> NDArray[Any] | None:
        if (stored := self.arrays.get(f"kept.{entry['name']}")) is not None:
            return stored
        if "value" in entry and len(entry["value"]) == math.prod(entry["shape"]):
            return np.asarray(entry["value"], np.float32).reshape(entry["shape"])
        return None

    def _weights_file(self) -> Mapping[str, NDArray[Any]]:
        name = self.manifest.get("weights_file")
        if name is None:
            return {}
        path = parity_root().parent / name
        if not path.is_file():
            pytest.skip(f"the fixture {self.name} needs the weights {path}")
        with np.load(path) as arrays:
            return {key: arrays[key] for key in arrays}


def _generator(key: str, seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(zlib.crc32(key.encode()) + seed))


def normal(key: str, shape: tuple[int, ...] | list[int], seed: int) -> Float32:
    return np.asarray(_generator(key, seed).standard_normal(tuple(shape), dtype=np.float32))


def _power_iteration(weight: NDArray[Any], u: NDArray[Any], rounds: int = 12) -> tuple[Float32, Float32]:
    """Spectral norm's vectors u and v of a weight, its first axis against the rest."""
    matrix = weight.astype(np.float64).reshape(len(weight), -1)
    u = u.astype(np.float64) / np.linalg.norm(u.astype(np.float64))
    v = matrix.T @ u
    for _ in range(rounds):
        v = matrix.T @ u
        v /= np.linalg.norm(v)
        u = matrix @ v
        u /= np.linalg.norm(u)
    return u.astype(np.float32), v.astype(np.float32)


def _is_counter(name: str) -> bool:
    """Batch norm's count of batches: has no effect, and old checkpoints lack it."""
    return name.endswith("num_batches_tracked")
