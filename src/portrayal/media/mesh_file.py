"""Triangles with coloured points as files that 3D programs open: binary glTF (.glb) and PLY (.ply)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portrayal.errors import InputError
from portrayal.media.atomic import complete_or_absent, make_parent

MESH_FILES = (".glb", ".ply")
FLOAT, UNSIGNED = 5126, 5125
"""glTF's names of 32-bit floats and integers, and"""
VERTICES, INDICES = 34962, 34963
"""of what a part of the file is for (glTF 2.0, 5.11.5)."""


def check_mesh_name(path: Path) -> None:
    """
    Raises:
        InputError: the name does not end as a mesh's.
    """
    if path.suffix.lower() not in MESH_FILES:
        raise InputError(f"{path}: a mesh is written as {' or '.join(MESH_FILES)}; choose one of these with -o")


def write_mesh(
    path: Path, points: NDArray[np.float32], triangles: NDArray[np.uint32], colours: NDArray[np.float32]
) -> None:
    """Write a mesh; the file appears only when it is complete.

    Args:
        path: .glb or .ply.
        points: (n, 3) metres, x right, y up, z towards the viewer. triangles: (m, 3) numbers of points,
            counterclockwise from outside. colours: (n, 3) RGB in [0, 1], as pictures hold it.

    Raises:
        InputError: another ending, or a place that cannot be written. PortrayalError: the disk is full or fails.
    """
    check_mesh_name(path)
    content = (_glb if path.suffix.lower() == ".glb" else _ply)(points, triangles, colours)
    make_parent(path)
    with complete_or_absent(path) as beside:
        beside.write_bytes(content)


def _ply(points: NDArray[np.float32], triangles: NDArray[np.uint32], colours: NDArray[np.float32]) -> bytes:
    point = np.dtype([("place", "<f4", 3), ("colour", "u1", 3)])
    triangle = np.dtype([("count", "u1"), ("points", "<i4", 3)])
    rows, faces = np.zeros(len(points), point), np.zeros(len(triangles), triangle)
    rows["place"], rows["colour"] = points, np.rint(255 * colours)
    faces["count"], faces["points"] = 3, triangles
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"element vertex {len(points)}",
        *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {colour}" for colour in ("red", "green", "blue")),
        f"element face {len(triangles)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    return "\n".join(header).encode() + b"\n" + rows.tobytes() + faces.tobytes()


def _glb(points: NDArray[np.float32], triangles: NDArray[np.uint32], colours: NDArray[np.float32]) -> bytes:
    """glTF has colours proportional to light."""
    arrays = [
        ("VEC3", FLOAT, VERTICES, points.astype("<f4")),
        ("VEC3", FLOAT, VERTICES, linear_light(colours).astype("<f4")),
        ("SCALAR", UNSIGNED, INDICES, triangles.astype("<u4").ravel()),
    ]
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []
    start = 0
    for index, (kind, number, purpose, array) in enumerate(arrays):
        views.append({"buffer": 0, "byteOffset": start, "byteLength": array.nbytes, "target": purpose})
        accessors.append({"bufferView": index, "componentType": number, "count": len(array), "type": kind})
        start += array.nbytes  # a multiple of four, as the format asks
    accessors[0] |= {"min": points.min(0).tolist(), "max": points.max(0).tolist()}
    about = {
        "asset": {"version": "2.0", "generator": "portrayal"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "head"}],
        "materials": [{"pbrMetallicRoughness": {"metallicFactor": 0, "roughnessFactor": 1}}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "COLOR_0": 1}, "indices": 2, "material": 0}]}],
        "buffers": [{"byteLength": start}],
        "bufferViews": views,
        "accessors": accessors,
    }
    text = json.dumps(about, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = [(b"JSON", text), (b"BIN\0", b"".join(array.tobytes() for *_, array in arrays))]
    body = b"".join(len(data).to_bytes(4, "little") + name + data for name, data in chunks)
    return b"glTF" + (2).to_bytes(4, "little") + (12 + len(body)).to_bytes(4, "little") + body


def linear_light(colours: NDArray[np.float32]) -> NDArray[np.float32]:
    """sRGB in [0, 1] to shares of light (IEC 61966-2-1)."""
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
