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

"""Agents with a ring of four cameras, as in OPV2V (reference cobevt.md, section 8.2).

The body frame of a vehicle is the pose of the vehicle: below its middle, on the road. The agent
frame is its LiDAR. A roadside unit has one frame, that of its LiDAR on the pole.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import SE3, CameraModel
from cooptrack_core.simulation.actors import Actor
from cooptrack_core.simulation.agents import OPTICAL, Agent, rotation
from cooptrack_core.simulation.camera import Lens
from cooptrack_core.simulation.lidar import directions_grid, site_rays, spinning_pattern
from cooptrack_core.simulation.presets import Preset
from cooptrack_core.simulation.raycast import NOTHING, Geometry
from cooptrack_core.simulation.shapes import Floats
from cooptrack_core.structures import Role

Array = NDArray[np.float64]
Rng = np.random.Generator

# camera0 to camera3: name, metres forward, left and above the vehicle's pose, heading in degrees.
RING = (
    ('front', 2.5, 0.0, 1.0, 0.0),
    ('right', 0.0, -0.3, 1.8, -100.0),
    ('left', 0.0, 0.3, 1.8, 100.0),
    ('back', -2.0, 0.0, 1.5, 180.0),
)
_LIDAR = (-0.5, 0.0, 1.9)
_ON_POLE = 0.3  # metres from the pole to its cameras

# What counts as visible: scanners where the cameras are (reference section 8.3).
VISIBLE_ABOVE = 5  # hits on a vehicle
_SCAN_REACH = 50.0


def vehicle_ring(actor: Actor, preset: Preset, rng: Rng) -> Agent:
    """Put a ring of cameras and a LiDAR on a vehicle; its id is that of the road user."""
    body_SE3_agent = SE3(np.eye(3), np.array(_LIDAR))
    mounts = [
        body_SE3_agent.inverse() @ SE3(_look(heading, 0.0), np.array([x, y, z]))
        for _, x, y, z, heading in RING
    ]
    cameras, lenses = _cameras(preset, mounts)
    return Agent(
        str(actor.track_id), Role.VEHICLE, str(actor.track_id), actor, np.zeros(3), cameras,
        lenses, body_SE3_agent, SE3.identity(), spinning_pattern(preset.lidar), np.zeros(3), 0.0,
        np.abs(rng.normal(0, 0.0015, 2)), body_height=0.0,
    )  # fmt: skip


def roadside_ring(number: int, spot: tuple[Array, float], preset: Preset, rng: Rng) -> Agent:
    """Put a ring of cameras and a LiDAR on a pole; the units are called -1, -2 and so on.

    Args:
        number: From 0.
        spot: Foot of the pole (2,) and azimuth of the first camera.
        preset: Sizes.
        rng: Height.
    """
    foot, azimuth = spot
    at = np.array([foot[0], foot[1], rng.uniform(*preset.ring.roadside_height)])
    pose = SE3(rotation(azimuth, 0.0, 0.0), at)
    pitch = np.radians(preset.ring.roadside_pitch_deg)
    mounts = []
    for *_, heading in RING:
        turn = np.radians(heading)
        aside = _ON_POLE * np.array([np.cos(turn), np.sin(turn), 0.0])
        mounts.append(SE3(_look(heading, float(pitch)), aside))
    cameras, lenses = _cameras(preset, mounts)
    name = str(-1 - number)
    return Agent(
        name, Role.ROADSIDE, name, None, at, cameras, lenses, SE3.identity(), pose,
        spinning_pattern(preset.lidar), np.zeros(3), 0.0, np.zeros(2),
    )  # fmt: skip


def _look(heading_deg: float, pitch: float) -> Array:
    return np.asarray(rotation(np.radians(heading_deg), pitch, 0.0) @ OPTICAL)


def _cameras(
    preset: Preset, mounts: list[SE3]
) -> tuple[tuple[CameraModel, ...], tuple[Lens, ...]]:
    w, h = preset.camera.width, preset.camera.height
    f = w / 2 / np.tan(np.radians(preset.ring.fov_deg) / 2)
    # CARLA puts the principal point at half the size.
    k = np.array([[f, 0, w / 2], [0, f, h / 2], [0, 0, 1]])
    lens = Lens(w, h, k)
    cameras = tuple(
        CameraModel(name, w, h, k, mount.inverse().matrix)
        for (name, *_), mount in zip(RING, mounts, strict=True)
    )
    return cameras, (lens,) * len(RING)


_SCANNER: Floats = directions_grid(
    np.radians(np.linspace(-30.0, 10.0, 32)), np.linspace(-np.pi, np.pi, 390, endpoint=False)
)


def visible_objects(geometry: Geometry, agent: Agent, site_SE3_agent: SE3) -> frozenset[int]:
    """Road users that count as visible to an agent: one of its scanners has more than 5 hits.

    The scanners stand where the cameras are, turn all around (32 rings of 390 points from -30 to
    +10 degrees) and reach 50 m.
    """
    seen: set[int] = set()
    for mount in agent.agent_SE3_cameras:
        start, rays = site_rays(_SCANNER, mount.translation, site_SE3_agent)
        quads, distance = geometry.cast(start, rays)
        objects = geometry.objects[quads[(quads != NOTHING) & (distance < _SCAN_REACH)]]
        counts = np.bincount(objects[objects > 0])
        seen.update(np.flatnonzero(counts > VISIBLE_ABOVE).tolist())
    return frozenset(seen)
