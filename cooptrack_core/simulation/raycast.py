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

NOTHING = -1
STATIC = 0  # object id of all that is no road user


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


class Geometry:
    """All quads of one instant, ready for rays.

    Attributes:
        mesh: All quads; the last one is a stand-in for "no hit", so that index -1 works.
        normals: (q, 3) unit normals, either orientation.
        objects: (q,) int32 object id per quad; STATIC, or NOTHING for the stand-in.
    """

    def __init__(self, parts: Sequence[tuple[int, Mesh]]) -> None:
        """Build the scene from (object id, mesh) pairs."""
        require_engine()
        stand_in = Mesh(
            np.zeros((1, 4, 3), np.float32), np.zeros((1, 3), np.float32),
            np.zeros(1, np.float32), np.zeros(1, np.uint8), np.zeros(1, np.float32),
        )  # fmt: skip
        self.mesh = join([*(mesh for _, mesh in parts), stand_in])
        ids = [np.full(len(mesh), object_id, np.int32) for object_id, mesh in parts]
        self.objects = np.concatenate([*ids, np.array([NOTHING], np.int32)])
        quads = self.mesh.quads
        normals = np.cross(quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1])
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        self.normals: Floats = (normals / np.maximum(length, 1e-12)).astype(np.float32)
        triangles = quads[:-1][:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3, 3)
        self._scene: Any = EmbreeScene()
        self._triangles: Any = TriangleMesh(self._scene, np.ascontiguousarray(triangles))

    def cast(self, origins: Floats, directions: Floats) -> tuple[NDArray[np.int32], Floats]:
        """First hits.

        Args:
            origins: (n, 3) or (3,) metres, site frame.
            directions: (n, 3), any length.

        Returns:
            Quad index (n,), -1 for none, and distance (n,) in lengths of the direction.
        """
        o = np.ascontiguousarray(np.broadcast_to(origins, directions.shape), np.float32)
        hit = self._scene.run(o, np.ascontiguousarray(directions, np.float32), output=1)
        prim = hit['primID'].astype(np.int32)
        return np.where(prim < 0, NOTHING, prim >> 1).astype(np.int32), hit['tfar']

    def blocked(self, origins: Floats, direction: Floats) -> NDArray[np.bool_]:
        """Whether anything lies on the way from origins (n, 3) along one direction (3,)."""
        d = np.ascontiguousarray(np.broadcast_to(direction, origins.shape), np.float32)
        o = np.ascontiguousarray(origins, np.float32)
        if len(o) == 0:
            return np.zeros(0, bool)
        return np.asarray(self._scene.run(o, d, query='OCCLUDED') >= 0)
