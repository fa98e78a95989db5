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

"""The one ray caster of cameras and LiDARs: Embree over all quads of an instant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.errors import InputError
from cooptrack_core.simulation.shapes import Floats, Mesh, join

try:
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene
except ImportError:  # the simulator is an extra
    TriangleMesh = EmbreeScene = None

# Quad index (n,), -1 for none, and distance (n,) in lengths of the direction.
Hits = tuple[NDArray[np.int32], Floats]

NOTHING = -1
STATIC = 0  # object id of all that is no road user


def _blank(n: int) -> Mesh:
    return Mesh(
        np.zeros((n, 4, 3), np.float32), np.zeros((n, 3), np.float32), np.zeros(n, np.float32),
        np.zeros(n, np.uint8), np.zeros(n, np.float32),
    )  # fmt: skip


NO_MESH, _STAND_IN = _blank(0), _blank(1)


def require_engine() -> None:
    """Check that the ray caster is there.

    Raises:
        InputError: It is not installed.
    """
    if EmbreeScene is None:
        raise InputError(
            'the simulator needs the ray caster embreex, which is not installed',
            remedy='pip install "cooptrack_ros[simulator]"',
        )


def _rays(origins: Floats, directions: Floats) -> tuple[Floats, Floats]:
    """Origins and directions (n, 3) as the ray caster takes them."""
    o = np.ascontiguousarray(np.broadcast_to(origins, directions.shape), np.float32)
    return o, np.ascontiguousarray(directions, np.float32)


class Layer:
    """Meshes in one Embree scene.

    Attributes:
        mesh: All quads.
        objects: (q,) int32 object id per quad.
        normals: (q, 3) unit normals, either orientation.
    """

    def __init__(self, parts: Sequence[tuple[int, Mesh]]) -> None:
        """Build the scene from (object id, mesh) pairs; none is allowed."""
        require_engine()
        self.mesh = join([NO_MESH, *(mesh for _, mesh in parts)])
        self.objects = np.repeat(
            np.array([object_id for object_id, _ in parts], np.int32),
            [len(mesh) for _, mesh in parts],
        ).astype(np.int32)
        quads = self.mesh.quads
        a, b = quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1]
        normals = np.empty_like(a)
        for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            normals[:, i] = a[:, j] * b[:, k] - a[:, k] * b[:, j]
        length = np.sqrt(np.einsum('ij,ij->i', normals, normals))
        self.normals: Floats = normals / np.maximum(length, np.float32(1e-12))[:, None]
        self._scene: Any = None
        if len(quads):
            triangles = quads[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3, 3)
            self._scene = EmbreeScene()
            # Embree refers to it without owning it.
            self._triangles: Any = TriangleMesh(self._scene, np.ascontiguousarray(triangles))

    def first_hits(self, origins: Floats, directions: Floats) -> Hits:
        """Quad (n,), -1 for none, and distance (n,) in lengths of the direction."""
        if self._scene is None or len(directions) == 0:
            n = len(directions)
            return np.full(n, NOTHING, np.int32), np.full(n, np.inf, np.float32)
        hit = self._scene.run(origins, directions, output=1)
        prim = hit['primID']
        # An arithmetic shift: -1 stays -1.
        return (prim >> 1).astype(np.int32, copy=False), hit['tfar']

    def blocked(self, origins: Floats, directions: Floats) -> NDArray[np.bool_]:
        """Whether anything lies on the way (n,)."""
        if self._scene is None or len(directions) == 0:
            return np.zeros(len(directions), bool)
        return np.asarray(self._scene.run(origins, directions, query='OCCLUDED') >= 0)


class Geometry:
    """All quads of one instant, ready for rays: what stays and what moves.

    Attributes:
        mesh: All quads; the last one is a stand-in for "no hit", so that index -1 works.
        normals: (q, 3) unit normals, either orientation.
        objects: (q,) int32 object id per quad; STATIC, or NOTHING for the stand-in.
    """

    def __init__(self, standing: Layer, moving: Layer) -> None:
        """Put two layers together; the first one can be kept for the whole scene."""
        self._standing, self._moving = standing, moving
        self.mesh = join([standing.mesh, moving.mesh, _STAND_IN])
        end = np.array([NOTHING], np.int32)
        self.objects = np.concatenate([standing.objects, moving.objects, end])
        up = np.zeros((1, 3), np.float32)
        self.normals: Floats = np.concatenate([standing.normals, moving.normals, up])

    def standing_hits(self, origins: Floats, directions: Floats) -> Hits:
        """First hits of what stays alone, to be given to ``cast`` as often as the rays return."""
        return self._standing.first_hits(*_rays(origins, directions))

    def cast(
        self,
        origins: Floats,
        directions: Floats,
        near_moving: NDArray[np.bool_] | None = None,
        standing: Hits | None = None,
    ) -> Hits:
        """First hits.

        Args:
            origins: (n, 3) or (3,) metres, site frame.
            directions: (n, 3), any length.
            near_moving: (n,) rays that may hit what moves; None: all may.
            standing: What ``standing_hits`` says about these rays, if it is known.

        Returns:
            Quad index (n,), -1 for none, and distance (n,) in lengths of the direction.
        """
        o, d = _rays(origins, directions)
        if standing is None:
            quads, distance = self._standing.first_hits(o, d)
        else:
            quads, distance = standing[0].copy(), standing[1].copy()
        some = slice(None) if near_moving is None else np.flatnonzero(near_moving)
        moving, t = self._moving.first_hits(
            np.ascontiguousarray(o[some]), np.ascontiguousarray(d[some])
        )
        nearer = (moving != NOTHING) & ((t < distance[some]) | (quads[some] == NOTHING))
        quads[some] = np.where(nearer, moving + len(self._standing.mesh), quads[some])
        distance[some] = np.where(nearer, t, distance[some])
        return quads, distance

    def blocked(self, origins: Floats, direction: Floats) -> NDArray[np.bool_]:
        """Whether anything lies on the way from origins (n, 3) along one direction (3,)."""
        d = np.ascontiguousarray(np.broadcast_to(direction, origins.shape), np.float32)
        o = np.ascontiguousarray(origins, np.float32)
        return self._standing.blocked(o, d) | self._moving.blocked(o, d)
