"""Meshes as files, read back byte by byte as the formats' descriptions say."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from portrayal.errors import InputError
from portrayal.media.mesh_file import linear_light, write_mesh

POINTS = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]], np.float32)
TRIANGLES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.uint32)
COLOURS = np.array([[0, 0, 0], [1, 0.5, 0], [0, 1, 0], [0.2, 0.4, 1]], np.float32)


def test_ply(tmp_path: Path) -> None:
    path = tmp_path / "made" / "a.ply"
    write_mesh(path, POINTS, TRIANGLES, COLOURS)
    header, _, body = path.read_bytes().partition(b"end_header\n")
    assert header.decode().splitlines() == [
        "ply", "format binary_little_endian 1.0", "element vertex 4", "property float x", "property float y",
        "property float z", "property uchar red", "property uchar green", "property uchar blue", "element face 4",
        "property list uchar int vertex_indices",
    ]  # fmt: skip
    rows = [struct.unpack_from("<fffBBB", body, 15 * i) for i in range(4)]
    assert [row[:3] for row in rows] == [tuple(p) for p in POINTS.tolist()]
    assert rows[1][3:] == (255, 128, 0)
    faces = [struct.unpack_from("<Biii", body, 60 + 13 * i) for i in range(4)]
    assert faces == [(3, *t) for t in TRIANGLES.tolist()]
    assert len(body) == 60 + 4 * 13


def test_glb(tmp_path: Path) -> None:
    path = tmp_path / "a.glb"
    write_mesh(path, POINTS, TRIANGLES, COLOURS)
    data = path.read_bytes()
    magic, version, length, text_length, text_kind = struct.unpack_from("<4sIII4s", data)
    assert (magic, version, length, text_kind) == (b"glTF", 2, len(data), b"JSON")
    assert text_length % 4 == 0
    about = json.loads(data[20 : 20 + text_length])
    binary_length, binary_kind = struct.unpack_from("<I4s", data, 20 + text_length)
    binary = data[28 + text_length :]
    assert (binary_kind, binary_length, about["buffers"]) == (b"BIN\0", len(binary), [{"byteLength": len(binary)}])

    def read(accessor: int) -> np.ndarray:
        entry = about["accessors"][accessor]
        view = about["bufferViews"][entry["bufferView"]]
        kind = {5126: "<f4", 5125: "<u4"}[entry["componentType"]]
        wide = {"VEC3": 3, "SCALAR": 1}[entry["type"]]
        part = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        values = np.frombuffer(part, kind).reshape(-1, wide)
        assert len(values) == entry["count"]
        return values

    (primitive,) = about["meshes"][0]["primitives"]
    position = primitive["attributes"]["POSITION"]
    assert np.array_equal(read(position), POINTS)
    assert (about["accessors"][position]["min"], about["accessors"][position]["max"]) == ([0, 0, 0], [1, 2, 3])
    assert read(primitive["attributes"]["COLOR_0"]) == pytest.approx(linear_light(COLOURS))
    assert np.array_equal(read(primitive["indices"]).reshape(-1, 3), TRIANGLES)


def test_linear_light_of_known_values() -> None:
    """IEC 61966-2-1: ends stay, the middle grey of pictures is a fifth of the light."""
    assert linear_light(np.array([0, 0.04, 0.5, 1], np.float32)) == pytest.approx([0, 0.003096, 0.214041, 1], abs=1e-5)


def test_other_endings_and_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.obj: a mesh is written as \.glb or \.ply"):
        write_mesh(tmp_path / "a.obj", POINTS, TRIANGLES, COLOURS)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        write_mesh(tmp_path / "file" / "a.ply", POINTS, TRIANGLES, COLOURS)
    assert not list(tmp_path.glob("a.*"))
