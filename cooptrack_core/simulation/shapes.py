# Copyright 2026 cooptrack_ros contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""Meshes of quads with a look, and the few solids everything is composed of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]

# What a surface is made of; decides the texture (see textures.py). FACADE + k is facade style k.
PLAIN, GROUND, FOLIAGE, FACADE = 0, 1, 2, 3


@dataclass(frozen=True, eq=False)
class Mesh:
    """n flat quads (a triangle repeats its last corner).

    Attributes:
        quads: (n, 4, 3) corners, metres.
        colours: (n, 3) linear reflectance in [0, 1], RGB.
        gloss: (n,) share of mirrored sky in [0, 1].
        kinds: (n,) uint8, PLAIN, GROUND, FOLIAGE or FACADE + style.
        glow: (n,) emitted light when lamps are on, relative to a white surface in the sun.
    """

    quads: Floats
    colours: Floats
    gloss: Floats
    kinds: NDArray[np.uint8]
    glow: Floats

    def __len__(self) -> int:
        """Return the number of quads."""
        return len(self.quads)

    def posed(self, x: float, y: float, yaw: float, z: float = 0.0) -> Mesh:
        """Turn about z by ``yaw`` (rad), then move to (x, y, z)."""
        c, s = np.cos(yaw), np.sin(yaw)
        rotation = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]], dtype=np.float32)
        return replace(self, quads=self.quads @ rotation + np.array([x, y, z], np.float32))


def make_mesh(
    quads: ArrayLike,
    colour: ArrayLike,
    *,
    gloss: float = 0.0,
    kind: int = PLAIN,
    glow: float = 0.0,
) -> Mesh:
    """Give all quads (n, 4, 3) one look."""
    q = np.asarray(quads, dtype=np.float32).reshape(-1, 4, 3)
    n = len(q)
    return Mesh(
        q,
        np.broadcast_to(np.asarray(colour, np.float32), (n, 3)).copy(),
        np.full(n, gloss, np.float32),
        np.full(n, kind, np.uint8),
        np.full(n, glow, np.float32),
    )


def join(parts: Sequence[Mesh]) -> Mesh:
    """Put meshes together; at least one."""
    return Mesh(
        np.concatenate([p.quads for p in parts]),
        np.concatenate([p.colours for p in parts]),
        np.concatenate([p.gloss for p in parts]),
        np.concatenate([p.kinds for p in parts]),
        np.concatenate([p.glow for p in parts]),
    )


_BOX_FACES = (
    (0, 1, 2, 3), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7),
)  # fmt: skip


def prism(bottom: ArrayLike, top: ArrayLike) -> Floats:
    """Six quads between a bottom (4, 3) and a top (4, 3) face."""
    corners = np.concatenate([np.asarray(bottom, np.float32), np.asarray(top, np.float32)])
    return np.asarray(corners[np.array(_BOX_FACES)])


def box(center: ArrayLike, size: ArrayLike, *, yaw: float = 0.0) -> Floats:
    """Six quads of an upright box, ``size`` along its own x, y, z."""
    h = np.asarray(size, np.float64) / 2
    base = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * h[:2]
    c, s = np.cos(yaw), np.sin(yaw)
    base = base @ np.array([[c, s], [-s, c]])
    at = np.asarray(center, np.float64)
    low = np.column_stack([base, np.full(4, -h[2])]) + at
    high = np.column_stack([base, np.full(4, h[2])]) + at
    return prism(low, high)


def _across(way: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two unit vectors across a direction and each other (spelt out: np.cross is slow)."""
    dx, dy, dz = (way / np.sqrt(way @ way)).tolist()
    u = (dy, -dx, 0.0) if abs(dz) < 0.9 else (0.0, dz, -dy)
    size = (u[0] ** 2 + u[1] ** 2 + u[2] ** 2) ** 0.5
    ux, uy, uz = u[0] / size, u[1] / size, u[2] / size
    v = (dy * uz - dz * uy, dz * ux - dx * uz, dx * uy - dy * ux)
    return np.array([ux, uy, uz]), np.array(v)


def rod(start: ArrayLike, end: ArrayLike, thickness: float) -> Floats:
    """A square bar between two points."""
    a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
    side, up = (axis * (thickness / 2) for axis in _across(b - a))
    ring = np.array([side + up, -side + up, -side - up, side - up])
    return prism(a + ring, b + ring)


def cylinder(start: ArrayLike, end: ArrayLike, radius: float, sides: int = 10) -> Floats:
    """The shell and both discs of a cylinder between two points; ``sides`` is even."""
    a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
    u, v = _across(b - a)
    angle = 2 * np.pi * np.arange(sides) / sides
    ring = radius * (np.cos(angle)[:, None] * u + np.sin(angle)[:, None] * v)
    following = np.roll(ring, -1, axis=0)
    shell = np.stack([a + ring, a + following, b + following, b + ring], 1)
    return np.concatenate([shell, disc(a, ring), disc(b, ring)]).astype(np.float32)


def disc(center: ArrayLike, ring: ArrayLike) -> Floats:
    """Fill a ring of offsets (2k, 3) around ``center`` with k quads."""
    c, r = np.asarray(center, np.float64), np.asarray(ring, np.float64)
    middle = np.broadcast_to(c, (len(r) // 2, 3))
    quads = np.stack([middle, c + r[0::2], c + r[1::2], c + np.roll(r, -2, axis=0)[0::2]], 1)
    return np.asarray(quads, np.float32)


def loft(stations: Sequence[tuple[float, float, float, float, float]]) -> dict[str, Floats]:
    """Skin a row of upright cross-sections along x.

    Args:
        stations: (x, z_low, z_high, half_width_low, half_width_high) each, in metres, two or
            more, x rising.

    Returns:
        Quads (k, 4, 3) by place: ``top``, ``bottom``, ``sides`` (k = stations - 1, sides twice
        that) and ``back``, ``front`` (one each).
    """
    rings = np.array(
        [[[x, wl, zl], [x, -wl, zl], [x, -wh, zh], [x, wh, zh]] for x, zl, zh, wl, wh in stations],
        dtype=np.float32,
    )
    a, b = rings[:-1], rings[1:]

    def strip(i: int, j: int) -> Floats:
        return np.stack([a[:, i], a[:, j], b[:, j], b[:, i]], 1)

    return {
        'top': strip(2, 3),
        'bottom': strip(0, 1),
        'sides': np.concatenate([strip(1, 2), strip(3, 0)]),
        'back': rings[:1],
        'front': rings[-1:],
    }
