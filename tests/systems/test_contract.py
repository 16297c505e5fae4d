"""Every entry of `SYSTEMS` keeps the contract of DESIGN, section 3. There is no list of exceptions."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from portrayal.encoding import encode_params
from portrayal.errors import InputError
from portrayal.face.camera import camera_from_pose
from portrayal.face.morphable import fit_params, load_face_model, params_to_landmarks
from portrayal.face.pose import angles_to_rotation
from portrayal.motion.edit import apply_edit
from portrayal.motion.options import RetargetOptions
from portrayal.motion.template import load_template, save_template
from portrayal.systems import SYSTEMS, load, name_of
from portrayal.train.state import TrainState
from portrayal.types import (
    Driving,
    Edit,
    FaceClip,
    FaceParams,
    Portrait,
    Source,
    System,
    join_drivings,
    move,
    own_fields,
)
from tests.data.made_faces import make_folder

SIZE = 96
HOOKS = {
    "identity_interpolation": ("interpolate_identity",),
    "expression_sampling": ("sample_expressions", "interpolate_expressions"),
    "canonical_face": ("render_canonical",),
    "tuning": ("tune_source",),
    "directions": ("direction_names", "move_along"),
    "expression_codes": ("expression_codes",),
    "remarks": ("remarks",),
    "mesh": ("head_field",),
    "depth": ("render_depth",),
    "layers": ("render_layers",),
    "avatars": ("save_avatar", "load_avatar"),
}
"""Capabilities that ask for functions beside those that every system has."""


@pytest.fixture(params=sorted(SYSTEMS))
def system(request: pytest.FixtureRequest) -> System:
    return SYSTEMS[request.param]


@pytest.fixture
def model(system: System) -> torch.nn.Module:
    torch.manual_seed(0)
    return system.build(system.Config.tiny()).eval()


@pytest.fixture(scope="module")
def face() -> FaceParams:
    """The mean face in the middle of a crop, facing the camera."""
    model = load_face_model()
    start = fit_params(model, model.mean[None] * 40 + torch.tensor([SIZE / 2, SIZE / 2, 0]), width=SIZE, height=SIZE)
    return dataclasses.replace(start, landmarks=params_to_landmarks(model, start), confidence=torch.ones(1))


@pytest.fixture(scope="module")
def portrait(face: FaceParams) -> Portrait:
    x = torch.linspace(0, 6, SIZE)
    image = torch.stack([x.sin()[None] * x.cos()[:, None], (x[None] * x[:, None]).sin(), (x[None] + x[:, None]).cos()])
    return Portrait(image[None] * 0.4 + 0.5, face)


@pytest.fixture(scope="module")
def clip(face: FaceParams, portrait: Portrait) -> FaceClip:
    """Three frames: at rest, turned with the mouth opening, further."""
    model = load_face_model()
    angles = torch.tensor([[0.0, 0.0, 0.0], [0.2, 0.1, 0.05], [0.4, 0.1, 0.1]])
    params = face[[0, 0, 0]].replace(rotation=angles_to_rotation(angles) @ face.rotation)
    params = params.replace(expression=params.expression + torch.tensor([0.0, 0.5, 1.0])[:, None])
    pose = {name: getattr(params, name) for name in ("rotation", "translation", "scale")}
    params = params.replace(
        landmarks=params_to_landmarks(model, params), camera=camera_from_pose(**pose, width=SIZE, height=SIZE)
    )
    times = tuple(Fraction(i, 25) for i in range(3))
    return FaceClip(portrait.image.expand(3, -1, -1, -1).clone(), params, times)


def encode(system: System, model: torch.nn.Module, clip: FaceClip) -> Driving:
    """The clip as the pipeline gives it: crops of the side the system asks for, or no pixels."""
    side = system.driving_pixels(model)
    images = torch.empty(len(clip.params), 3, 0, 0)
    if side is not None:
        images = torch.nn.functional.interpolate(clip.images, (side, side), mode="bilinear")
    with torch.no_grad():
        return system.encode_driving(model, FaceClip(images, clip.params, clip.times))


def render(system: System, model: torch.nn.Module, portrait: Portrait, clip: FaceClip) -> Tensor:
    with torch.no_grad():
        source = system.encode_source(model, portrait)
        driving = system.retarget_codes(encode(system, model, clip), RetargetOptions(reference=0))
        assert isinstance(source, Source)
        assert isinstance(driving, Driving)
        return torch.cat(list(system.render(model, source, driving)))


def test_registry_names_are_packages() -> None:
    for name, module in SYSTEMS.items():
        assert isinstance(module, ModuleType)
        assert module.__name__ == f"portrayal.systems.{name}"


def test_load_gives_the_best_and_refuses_others(best: str) -> None:
    system, model = load("auto")
    assert system is SYSTEMS[best]
    assert not model.training
    with pytest.raises(InputError, match=r"no system 'warp'.*meshwarp"):
        load("warp")


def test_config_is_frozen_with_three_presets(system: System) -> None:
    presets: list[Callable[[], Any]] = [system.Config.tiny, system.Config.compact, system.Config.paper]
    for preset in presets:
        config = preset()
        assert isinstance(config, system.Config)
        field = dataclasses.fields(config)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config, field, None)


def test_capabilities_are_known_words(system: System) -> None:
    known = {"pose", "expression", "gaze", "novel_view", *HOOKS}
    assert system.CAPABILITIES
    assert known >= system.CAPABILITIES


def test_a_capability_with_functions_of_its_own_has_them(system: System) -> None:
    for word, names in HOOKS.items():
        assert (word in system.CAPABILITIES) == all(hasattr(system, name) for name in names)


def test_every_frame_has_the_documented_shape_and_range(
    system: System, model: torch.nn.Module, portrait: Portrait, clip: FaceClip
) -> None:
    frames = render(system, model, portrait, clip)
    assert frames.shape == (3, 3, SIZE, SIZE)
    assert frames.dtype == torch.float32
    assert float(frames.min()) >= 0
    assert float(frames.max()) <= 1


def test_rendering_repeats_bit_for_bit(
    system: System, model: torch.nn.Module, portrait: Portrait, clip: FaceClip
) -> None:
    assert torch.equal(render(system, model, portrait, clip), render(system, model, portrait, clip))


def test_frames_change_with_the_motion(
    system: System, model: torch.nn.Module, portrait: Portrait, clip: FaceClip
) -> None:
    frames = render(system, model, portrait, clip)
    assert float((frames[1] - frames[0]).abs().mean()) > 1e-3
    assert float((frames[2] - frames[1]).abs().mean()) > 1e-3


def test_a_motion_in_pieces_renders_the_same(
    system: System, model: torch.nn.Module, portrait: Portrait, clip: FaceClip
) -> None:
    with torch.no_grad():
        source, driving = system.encode_source(model, portrait), encode(system, model, clip)
        driving = system.retarget_codes(driving, RetargetOptions(reference=0))
        whole = torch.cat(list(system.render(model, source, driving)))
        pieces = [torch.cat(list(system.render(model, source, driving[i : i + 1]))) for i in range(3)]
    assert torch.allclose(whole, torch.cat(pieces), atol=1e-5)


def test_inputs_stay_as_they_are(system: System, model: torch.nn.Module, portrait: Portrait, clip: FaceClip) -> None:
    image, landmarks = portrait.image.clone(), clip.params.landmarks.clone()
    render(system, model, portrait, clip)
    assert torch.equal(portrait.image, image)
    assert torch.equal(clip.params.landmarks, landmarks)


def test_the_side_of_driving_pictures_is_said_once(system: System, model: torch.nn.Module, clip: FaceClip) -> None:
    side = system.driving_pixels(model)
    assert side is None or (isinstance(side, int) and side > 0)
    assert side == system.driving_pixels(model)
    assert type(encode(system, model, clip)) is system.DRIVING


def test_a_motion_is_encoded_chunk_by_chunk(system: System, model: torch.nn.Module, clip: FaceClip) -> None:
    whole = encode(system, model, clip)
    chunks = [FaceClip(clip.images[part], clip.params[part], clip.times[part]) for part in (slice(0, 2), slice(2, 3))]
    joined = join_drivings([encode(system, model, chunk) for chunk in chunks])
    assert type(joined) is type(whole)
    assert joined.times == whole.times
    for name in own_fields(system.DRIVING):
        assert torch.allclose(getattr(joined, name), getattr(whole, name), atol=1e-5)


def test_frames_of_a_motion_can_be_picked(system: System, model: torch.nn.Module, clip: FaceClip) -> None:
    driving = encode(system, model, clip)
    picked = driving.pick([2, 0])
    assert picked.times == (clip.times[2], clip.times[0])
    for name in own_fields(system.DRIVING):
        assert torch.equal(getattr(picked, name), getattr(driving, name)[[2, 0]])


def test_a_motion_template_gives_the_motion_back(
    system: System, model: torch.nn.Module, clip: FaceClip, tmp_path: Path
) -> None:
    driving, path = encode(system, model, clip), tmp_path / "a.motion.safetensors"
    save_template(path, driving, origin="made", consent="nobody", system=name_of(system))
    back = load_template(path, system.DRIVING, system=name_of(system))
    assert back.times == driving.times
    assert torch.equal(back.params.landmarks, driving.params.landmarks)
    for name in own_fields(system.DRIVING):
        assert torch.equal(getattr(back, name), getattr(driving, name))


def test_source_and_motion_move_to_another_device(
    system: System, model: torch.nn.Module, portrait: Portrait, clip: FaceClip
) -> None:
    with torch.no_grad():
        values = (system.encode_source(model, portrait), encode(system, model, clip))
    for value in values:
        assert all(tensor.is_meta for tensor in tensors_of(move(value, "meta")))
        assert not any(tensor.is_meta for tensor in tensors_of(value))


def tensors_of(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if dataclasses.is_dataclass(value):
        return [x for f in dataclasses.fields(value) for x in tensors_of(getattr(value, f.name))]
    if isinstance(value, tuple | list):
        return [x for item in value for x in tensors_of(item)]
    return [x for item in value.values() for x in tensors_of(item)] if isinstance(value, dict) else []


def test_motion_of_strength_zero_and_the_reference_itself_change_nothing(
    system: System, model: torch.nn.Module, portrait: Portrait, clip: FaceClip
) -> None:
    """Relative motion is the change since the reference frame, in a system's own tensors too."""
    still = FaceClip(clip.images, portrait.params[[0, 0, 0]], clip.times)
    driving = encode(system, model, still)
    with torch.no_grad():
        source = system.encode_source(model, portrait)
        moved = system.retarget_codes(driving, RetargetOptions(reference=0))
        off = system.retarget_codes(driving, RetargetOptions(reference=0, strength=0.0))
        frames, same = (torch.cat(list(system.render(model, source, d))) for d in (moved, off))
    assert torch.allclose(frames[0], same[0], atol=1e-5)
    assert torch.allclose(same[0], same[2], atol=1e-5)


def test_edits_reach_the_picture(system: System, model: torch.nn.Module, portrait: Portrait) -> None:
    edits = (Edit(), Edit(yaw=0.3), Edit(mouth_open=1.0))
    params = FaceParams.cat([apply_edit(portrait.params, edit) for edit in edits])
    times = tuple(Fraction(i, 25) for i in range(3))
    driving = encode_params(system, model, portrait, params, times)
    with torch.no_grad():
        source = system.encode_source(model, portrait)
        frames = torch.cat(list(system.render(model, source, driving)))
    assert float((frames[1] - frames[0]).abs().mean()) > 1e-4
    assert float((frames[2] - frames[0]).abs().mean()) > 1e-5


def test_saved_weights_give_the_same_frames(
    system: System, model: torch.nn.Module, portrait: Portrait, clip: FaceClip
) -> None:
    torch.manual_seed(1)
    other = system.build(system.Config.tiny()).eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(render(system, model, portrait, clip), render(system, other, portrait, clip))


def parts_with_gradients(networks: torch.nn.Module) -> set[str]:
    """Names of the modules whose own parameters get a gradient other than zero from now on: the set fills itself."""
    reached: set[str] = set()
    for name, parameter in networks.named_parameters():
        part = name.rpartition(".")[0]

        def note(gradient: Tensor, part: str = part) -> None:
            if gradient.any():
                reached.add(part)

        if parameter.requires_grad:
            parameter.register_hook(note)
    return reached


def test_every_stage_learns_from_a_batch_that_it_makes(system: System, tmp_path: Path) -> None:
    """Finite terms, gradients in every part that is trained, a preview, and weights for the stage that follows."""
    data, before, weights = make_folder(tmp_path / "faces", frames=6), None, None
    for name, stage in system.STAGES.items():
        torch.manual_seed(0)
        config = stage.configure(system.Config.tiny())
        weights, before = weights if config == before else None, config
        networks, averaged = (torch.nn.ModuleDict(stage.networks(config)) for _ in range(2))
        frozen = torch.nn.ModuleDict(stage.frozen(config) if stage.frozen else {})
        state = TrainState(networks, averaged.eval(), stage.optimizers(networks, config), frozen)
        if weights is not None:
            stage.load_weights(weights, state)
        reached = parts_with_gradients(networks)
        samples = stage.dataset(data, config, 0, 2)
        batch = stage.collate([samples[0], samples[1]])
        terms = stage.train_step(state, batch, config)
        assert terms
        assert all(bool(term.isfinite()) for term in terms.values()), f"{name}: {terms}"
        assert reached == {n.rpartition(".")[0] for n, p in networks.named_parameters() if p.requires_grad}, name
        state.average(0.5)
        assert stage.preview(state, batch, config).dtype == np.uint8
        weights = tmp_path / f"{name}.safetensors"
        about = {"system": system.__name__.rpartition(".")[2], "config": json.dumps(dataclasses.asdict(config))}
        stage.save_weights(weights, state, config, about)
