"""Training of the tracker: one stage, both networks side by side."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import Dataset

from portrayal.data.tracker_faces import TrackerFaces, collate, load_pool
from portrayal.face import losses
from portrayal.face.config import Config
from portrayal.face.networks import Detector, LandmarkNet
from portrayal.train.loop import Batch, Stage, TrainState
from portrayal.weights.registry import save_tensors


def networks(config: Config) -> dict[str, nn.Module]:
    return {"detector": Detector(config), "landmarks": LandmarkNet(config)}


def optimizers(modules: nn.ModuleDict, config: Config) -> dict[str, torch.optim.Optimizer]:
    return {
        "both": torch.optim.AdamW(
            modules.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            betas=(0.9, 0.99),
            fused=True,
        )
    }


def dataset(root: Path, config: Config, seed: int, samples: int) -> Dataset[Batch]:
    return TrackerFaces(load_pool(root, "train", edits=config.edits_per_photo), config, seed=seed, samples=samples)


def train_step(state: TrainState, batch: Batch, config: Config) -> dict[str, Tensor]:
    """One step of both networks on one batch of crops and tiles."""
    measure = state.networks["landmarks"](to_input(batch["crop"]))
    maps = state.networks["detector"](to_input(batch["tile"]))
    terms = losses.landmark_losses(measure, batch["landmarks"], batch["is_face"].float())
    terms |= losses.detector_losses(maps, batch["tile_faces"], config.face_sizes)
    total = torch.stack([getattr(config.loss, name) * term for name, term in terms.items()]).sum()
    state.backward(total)
    state.step_optimizer("both", clip=5.0)
    return terms


@torch.no_grad()
def preview(state: TrainState, batch: Batch, config: Config) -> NDArray[np.uint8]:
    """Eight crops with labels (green) and the averaged network's landmarks (red)."""
    crops = batch["crop"][:8]
    found = state.averaged["landmarks"](to_input(crops)).landmarks.cpu().numpy()
    panels = []
    for crop, label, mine in zip(crops.cpu().numpy(), batch["landmarks"].cpu().numpy(), found, strict=False):
        panel = cv2.resize(np.ascontiguousarray(crop.transpose(1, 2, 0)), (256, 256))
        for points, colour in ((label, (0, 255, 0)), (mine, (255, 0, 0))):
            for x, y in ((points[:, :2] + 1) * 128).astype(int).tolist():
                cv2.circle(panel, (x, y), 1, colour, -1)
        panels.append(panel)
    return np.concatenate(panels, 1)


def to_input(pictures: Tensor) -> Tensor:
    """(b, 3, h, w) uint8 to float [0, 1], channels last."""
    return pictures.float().div(255).contiguous(memory_format=torch.channels_last)


def save_weights(path: Path, state: TrainState, config: Config, metadata: dict[str, str]) -> None:
    """The averaged networks as fp16 with what made them."""
    tensors = {name: value.half() for name, value in state.averaged.state_dict().items()}
    about = {"system": "face", "stage": "tracker", "licence": "Apache-2.0", "data": "portrayal development faces"}
    save_tensors(path, tensors, about | metadata)


def load_weights(path: Path, state: TrainState) -> None:
    tensors = {name: value.float() for name, value in load_file(path).items()}
    state.networks.load_state_dict(tensors)
    state.averaged.load_state_dict(tensors)


STAGES = {
    "tracker": Stage(
        networks=networks,
        optimizers=optimizers,
        dataset=dataset,
        collate=collate,
        train_step=train_step,
        preview=preview,
        save_weights=save_weights,
        load_weights=load_weights,
    )
}
