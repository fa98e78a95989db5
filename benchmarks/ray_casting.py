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

"""The yardstick of the simulator: Embree alone, casting the rays of the same images."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from cooptrack_core.structures import AgentFrame

_TRIANGLES = 20_000


def pair_cast_ms(frames: Sequence[AgentFrame], repeats: int = 5) -> float:
    """Median time to cast one ray per pixel for one image of each agent, milliseconds.

    The world is a ground plane and random triangles, about as many as a simulated junction has;
    nothing is shaded, so this is a lower limit for any renderer on this caster.
    """
    random = np.random.default_rng(0)
    at = random.uniform(-80, 80, (_TRIANGLES, 1, 3)) * [1, 1, 0.1]
    soup = (at + random.uniform(-1, 1, (_TRIANGLES, 3, 3))).astype(np.float32)
    ground = np.array([[[-1e3, -1e3, -6], [1e3, -1e3, -6], [0, 2e3, -6]]], np.float32)
    scene = EmbreeScene()
    TriangleMesh(scene, np.concatenate([soup, ground]))
    cameras = {frame.agent_id: frame.images[0].camera for frame in frames if frame.images}
    rays = []
    for camera in cameras.values():
        u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
        k = camera.intrinsic
        x, y = (u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1]
        optical = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3)
        directions = optical @ np.linalg.inv(camera.camera_T_agent[:3, :3]).T
        rays.append(np.ascontiguousarray(directions, dtype=np.float32))
    origins = [np.zeros_like(r) for r in rays]
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for origin, direction in zip(origins, rays, strict=True):
            scene.run(origin, direction)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3
