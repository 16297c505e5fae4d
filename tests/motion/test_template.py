"""Motion templates: what is written comes back exactly, and nothing else is believed."""

import json
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from portrayal.errors import InputError, MissingFileError
from portrayal.motion.template import content_hash, load_template, save_template, template_info
from portrayal.types import Driving, FaceParams

NOTES = {"origin": "made up by a test", "consent": "nobody's face"}


@dataclass(frozen=True)
class Coded(Driving):
    """A system's motion with a tensor of its own."""

    code: Tensor


@pytest.fixture
def motion(actor) -> Driving:
    return Driving(actor(2, t=6), tuple(Fraction(61 * i, 1350) for i in range(6)))


@pytest.fixture
def saved(motion, tmp_path) -> Path:
    path = tmp_path / "a.motion.safetensors"
    save_template(path, motion, **NOTES)
    return path


def reopened(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata())  # noqa: SIM118


def test_round_trip_is_exact(motion, saved):
    again = load_template(saved)
    assert again.times == motion.times
    for field in fields(FaceParams):
        assert torch.equal(getattr(again.params, field.name), getattr(motion.params, field.name)), field.name


@settings(max_examples=15, deadline=None)
@given(
    times=st.lists(st.fractions(0, 1000), min_size=1, max_size=8, unique=True).map(sorted),
    seed=st.integers(0, 2**31),
    same_identity=st.booleans(),
)
def test_any_motion_round_trips(tmp_path_factory, times, seed, same_identity):
    generator = torch.Generator().manual_seed(seed)
    t = len(times)
    shapes = ((478, 3), (80,), (64,), (3, 3), (3,), (), (2, 2), (25,), (2,), ())
    parts = [torch.randn(t, *shape, generator=generator) * 10.0 ** (i - 4) for i, shape in enumerate(shapes)]
    if same_identity:
        parts[1] = parts[1][:1].expand(t, -1)
    path = tmp_path_factory.mktemp("round") / "x.motion.safetensors"
    motion = Driving(FaceParams(*parts), tuple(times))
    save_template(path, motion, **NOTES)
    again = load_template(path)
    assert again.times == motion.times
    assert all(torch.equal(getattr(again.params, f.name), getattr(motion.params, f.name)) for f in fields(FaceParams))


def test_what_it_says_about_itself(saved):
    info = template_info(saved)
    assert (info.system, info.origin, info.consent) == ("any", *NOTES.values())
    assert info.frames == 6
    assert info.duration == Fraction(305, 1350)
    assert info.fps == pytest.approx(1350 / 61)


def test_silence_about_origin_and_consent_is_kept_as_such(motion, tmp_path):
    path = tmp_path / "a.motion.safetensors"
    save_template(path, motion, origin="", consent=" ")
    assert (template_info(path).origin, template_info(path).consent) == ("not stated", "not stated")


def test_tensors_of_a_system(motion, tmp_path, saved):
    coded = Coded(motion.params, motion.times, torch.randn(6, 9).half())
    path = tmp_path / "b.motion.safetensors"
    save_template(path, coded, system="mine", **NOTES)
    again = load_template(path, Coded, system="mine")
    assert isinstance(again, Coded)
    assert torch.equal(again.code, coded.code)
    assert again.code.dtype == torch.float16
    assert type(load_template(path)) is Driving
    with pytest.raises(InputError, match="made for the system 'mine', not 'other'"):
        load_template(path, Coded, system="other")
    with pytest.raises(InputError, match="'any'"):
        load_template(saved, Coded, system="mine")


@pytest.mark.parametrize("name", ["params.landmarks", "params.gaze", "params.identity"])
def test_a_changed_tensor_is_refused(saved, name):
    tensors, metadata = reopened(saved)
    tensors[name] = tensors[name] + 1e-3
    save_file(tensors, saved, metadata)
    with pytest.raises(InputError, match="was changed"):
        load_template(saved)


@pytest.mark.parametrize("key", ["consent", "origin", "times", "system"])
def test_a_changed_note_is_refused(saved, key):
    tensors, metadata = reopened(saved)
    save_file(tensors, saved, metadata | {key: metadata[key].replace("1", "2") + " "})
    with pytest.raises(InputError, match="was changed"):
        load_template(saved)


def test_a_tensor_added_or_left_out_is_refused(saved):
    tensors, metadata = reopened(saved)
    save_file(tensors | {"extra.code": torch.zeros(6)}, saved, metadata)
    with pytest.raises(InputError, match="was changed"):
        load_template(saved)
    save_file({k: v for k, v in tensors.items() if k != "params.gaze"}, saved, metadata)
    with pytest.raises(InputError, match="was changed"):
        load_template(saved)


@settings(max_examples=40, deadline=None)
@given(where=st.floats(0, 1), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused(tmp_path_factory, person, where, bit):
    path = tmp_path_factory.mktemp("flip") / "a.motion.safetensors"
    save_template(path, Driving(person(1), (Fraction(0),)), **NOTES)
    data = bytearray(path.read_bytes())
    data[min(int(where * len(data)), len(data) - 1)] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.motion\.safetensors"):
        load_template(path)


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(saved, keep):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(InputError, match="damaged"):
        load_template(saved)


def forged(saved: Path, **changes: str) -> None:
    """Rewritten by someone who computes the hash as well."""
    tensors, metadata = reopened(saved)
    metadata |= changes
    metadata["sha256"] = content_hash(tensors, metadata)
    save_file(tensors, saved, metadata)


def test_another_version_is_refused(saved):
    forged(saved, version="2")
    with pytest.raises(InputError, match="version 2"):
        load_template(saved)


@pytest.mark.parametrize(
    ("times", "complaint"),
    [
        (["0", "1"], "complete"),
        (["0", "1", "2", "3", "4", "4"], "increase"),
        (["0", "1", "2", "3", "4", "5/0"], "complete"),
        (["0", "1", "2", "3", "4", "x"], "complete"),
        ([], "complete"),
        ({"a": 1}, "complete"),
    ],
)
def test_impossible_times_are_refused(saved, times, complaint):
    forged(saved, times=json.dumps(times))
    with pytest.raises(InputError, match=complaint):
        load_template(saved)


def test_numbers_that_are_not_finite_are_refused(motion, tmp_path):
    broken = Driving(motion.params.replace(scale=motion.params.scale * torch.nan), motion.times)
    with pytest.raises(InputError, match="scale"):
        save_template(tmp_path / "a.motion.safetensors", broken, **NOTES)
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_refused(tmp_path, motion):
    path = tmp_path / "a.motion.safetensors"
    with pytest.raises(MissingFileError):
        load_template(path)
    path.write_bytes(b"not a template at all, only some words")
    with pytest.raises(InputError, match="damaged or not"):
        load_template(path)
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="not a motion template"):
        load_template(path)
    with pytest.raises(InputError, match=r"\.motion\.safetensors"):
        save_template(tmp_path / "a.safetensors", motion, **NOTES)


def test_no_half_written_file_stays(motion, tmp_path, monkeypatch):
    def full(*args: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("portrayal.motion.template.save_file", full)
    with pytest.raises(Exception, match="No space left"):
        save_template(tmp_path / "a.motion.safetensors", motion, **NOTES)
    assert list(tmp_path.iterdir()) == []
