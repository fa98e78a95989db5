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

"""Point clouds from the same geometry and the same ray caster as the pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import SE3
from cooptrack_core.simulation.presets import LidarConfig
from cooptrack_core.simulation.raycast import NOTHING, Geometry, Hits
from cooptrack_core.simulation.shapes import Floats


@dataclass(frozen=True, eq=False)
class Cloud:
    """What a LiDAR delivers.

    Attributes:
        points: (m, 4) float32 x, y, z in the agent frame, intensity 0 to 255.
        objects: (m,) int32 object id per point; 0 static.
    """

    points: Floats
    objects: NDArray[np.int32]


def spinning_pattern(config: LidarConfig) -> Floats:
    """Unit directions (n, 3) of a LiDAR on a roof, denser around the horizon."""
    share = np.linspace(-1, 1, config.vehicle_rings)
    elevation = np.radians(-4.5 + 12.0 * share + 8.5 * share**3)
    azimuth = np.linspace(-np.pi, np.pi, config.vehicle_steps, endpoint=False)
    return directions_grid(elevation, azimuth)


def roadside_pattern(config: LidarConfig) -> Floats:
    """Unit directions (n, 3) of a LiDAR on a pole that looks forward and down."""
    elevation = np.radians(np.linspace(-32, 1.5, config.roadside_rings))
    azimuth = np.radians(np.linspace(-50, 50, config.roadside_steps))
    return directions_grid(elevation, azimuth)


def directions_grid(elevation: NDArray[np.float64], azimuth: NDArray[np.float64]) -> Floats:
    """Unit directions (e * a, 3) of all elevations (e,) and azimuths (a,), rad."""
    e, a = np.meshgrid(elevation, azimuth, indexing='ij')
    d = np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], -1)
    return d.reshape(-1, 3).astype(np.float32)


def site_rays(
    directions: Floats, origin: NDArray[np.float64], site_SE3_agent: SE3
) -> tuple[Floats, Floats]:
    """Start (3,) and directions (n, 3) in the site of rays that are given in an agent's frame."""
    turn = site_SE3_agent.rotation.T.astype(np.float32)
    start = site_SE3_agent.transform_points(origin).astype(np.float32)
    return start, np.einsum('ij,jk->ik', directions, turn)


def standing_echoes(
    geometry: Geometry, directions: Floats, origin: NDArray[np.float64], site_SE3_agent: SE3
) -> Hits:
    """What a LiDAR hits of the things that stay, per ray."""
    return geometry.standing_hits(*site_rays(directions, origin, site_SE3_agent))


def scan(
    geometry: Geometry,
    directions: Floats,
    origin: NDArray[np.float64],
    site_SE3_agent: SE3,
    reach: float,
    rng: np.random.Generator,
    standing: Hits | None = None,
) -> Cloud:
    """One turn of a LiDAR.

    Args:
        geometry: The instant.
        directions: (n, 3) unit vectors, agent frame.
        origin: (3,) of the LiDAR in the agent frame.
        site_SE3_agent: Pose of the agent.
        reach: Largest distance, metres.
        rng: Range noise (2 cm) and lost returns (weak ones more often).
        standing: ``standing_echoes`` of a LiDAR that stays where it is.
    """
    start, rays = site_rays(directions, origin, site_SE3_agent)
    quads, distance = geometry.cast(start, rays, standing=standing)
    cos = np.abs(np.einsum('ij,ij->i', geometry.normals[quads], rays))
    strength = geometry.mesh.colours[quads].mean(1) * (0.25 + 0.75 * cos)
    seen = (quads != NOTHING) & (distance < reach)
    seen &= rng.random(len(quads), dtype=np.float32) < 0.9 + 0.5 * strength
    noise = rng.normal(0, 0.02, len(quads)).astype(np.float32)
    keep = np.flatnonzero(seen)
    points = directions[keep] * (distance[keep] + noise[keep])[:, None]
    points += origin.astype(np.float32)
    intensity = np.round(np.clip(strength[keep] * 255, 0, 255))
    return Cloud(
        np.concatenate([points, intensity[:, None]], 1).astype(np.float32),
        geometry.objects[quads[keep]],
    )
