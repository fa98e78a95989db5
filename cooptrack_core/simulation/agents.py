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

"""The agents of a scene: where their sensors sit and how they move.

The agent frame is the LiDAR frame of a vehicle and the virtual-LiDAR frame of a roadside unit:
x forward (roadside: along the camera's azimuth), y left, z up, origin about 1.8 m above the road.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import SE3, CameraModel, wrap_angle
from cooptrack_core.simulation.actors import STEP_S, Actor
from cooptrack_core.simulation.camera import Lens
from cooptrack_core.simulation.layout import Layout, road_clearance
from cooptrack_core.simulation.lidar import roadside_pattern, spinning_pattern
from cooptrack_core.simulation.presets import Preset
from cooptrack_core.simulation.shapes import Floats
from cooptrack_core.structures import Role

Array = NDArray[np.float64]
Rng = np.random.Generator

ORIGIN_HEIGHT = 1.8
_BODY_HEIGHT = 0.6
# Two arms at most this far apart fit into one view, rad.
_SHARED_VIEW = np.radians(80.0)

# Optical axes (x right, y down, z forward) in a frame with x forward, y left, z up.
OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


@dataclass(frozen=True, eq=False)
class Agent:
    """One agent with one camera or more and a LiDAR.

    Attributes:
        agent_id: ``vehicle``, ``roadside``, then ``roadside_1``, ``vehicle_1`` …
        role: Vehicle or roadside.
        directory: Its side of the dataset.
        actor: The road user that carries it; None for a roadside unit.
        position: (3,) of a roadside unit's camera, site frame; zeros for a vehicle.
        cameras: Calibrations.
        lenses: The cameras' rays.
        body_SE3_agent: LiDAR to body (novatel); identity for a roadside unit.
        fixed_pose: site_SE3_agent of a roadside unit.
        pattern: (n, 3) LiDAR directions, agent frame.
        lidar_origin: (3,) agent frame.
        skew_s: Its captures are this much later than the nominal time.
        sway: (2,) amplitude of pitch and roll of the body, rad.
        body_height: Of the origin of a vehicle's body frame above the road, metres.
    """

    agent_id: str
    role: Role
    directory: str
    actor: Actor | None
    position: Array
    cameras: tuple[CameraModel, ...]
    lenses: tuple[Lens, ...]
    body_SE3_agent: SE3
    fixed_pose: SE3
    pattern: Floats
    lidar_origin: Array
    skew_s: float
    sway: Array
    body_height: float = _BODY_HEIGHT

    @property
    def camera(self) -> CameraModel:
        """The first camera; in the layout V2X-Seq the only one."""
        return self.cameras[0]

    @property
    def agent_SE3_cameras(self) -> tuple[SE3, ...]:  # noqa: N802
        """Poses of the cameras in the agent frame."""
        return tuple(SE3.from_matrix(c.camera_T_agent).inverse() for c in self.cameras)

    def site_SE3_body(self, step: float) -> SE3 | None:  # noqa: N802
        """Pose at a fractional step; None while the vehicle is not there."""
        if self.actor is None:
            return self.fixed_pose
        now, before = self.actor.state_at(step), self.actor.state_at(step - 1.0)
        if now is None:
            return None
        x, y, yaw, v = now
        braking = 0.0 if before is None else (before[3] - v) / STEP_S
        wave = 2 * np.pi * step * STEP_S
        pitch = 0.004 * float(np.clip(braking, -3, 4)) + self.sway[0] * np.sin(1.1 * wave)
        roll = self.sway[1] * np.sin(0.7 * wave + 1.0)
        return SE3(rotation(yaw, pitch, roll), np.array([x, y, self.body_height]))

    def site_SE3_agent(self, step: float) -> SE3 | None:  # noqa: N802
        """Pose of the agent frame at a fractional step."""
        body = self.site_SE3_body(step)
        return None if body is None else body @ self.body_SE3_agent


def rotation(yaw: float, pitch: float, roll: float) -> Array:
    """Rz(yaw) Ry(pitch) Rx(roll); positive pitch looks down. rad."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    rz = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    ry = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    rx = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return np.asarray(rz @ ry @ rx)


def _intrinsic(width: int, height: int, fov_deg: float, rng: Rng) -> Array:
    f = width / 2 / np.tan(np.radians(fov_deg) / 2)
    # The principal point of a real camera is a little off; the same in parts at any size.
    cx = width * (0.5 + rng.uniform(-0.01, 0.01)) - 0.5
    cy = height * (0.5 + rng.uniform(-0.015, 0.015)) - 0.5
    return np.array([[f, 0, cx], [0, f, cy], [0, 0, 1]])


def _camera(
    preset: Preset, fov: tuple[float, float], agent_SE3_camera: SE3, rng: Rng
) -> CameraModel:
    config = preset.camera
    k = _intrinsic(config.width, config.height, rng.uniform(*fov), rng)
    extrinsic = np.eye(4)
    inverse = agent_SE3_camera.inverse()
    extrinsic[:3, :3], extrinsic[:3, 3] = inverse.rotation, inverse.translation
    return CameraModel('front', config.width, config.height, k, extrinsic)


def _lens(camera: CameraModel) -> Lens:
    return Lens(camera.width, camera.height, camera.intrinsic)


def vehicle_agent(
    agent_id: str, directory: str, actor: Actor, skew_s: float, preset: Preset, rng: Rng
) -> Agent:
    """Put sensors on a vehicle: LiDAR on the roof, camera behind the windscreen."""
    tilt = rotation(rng.normal(0, 0.004), rng.normal(0, 0.003), rng.normal(0, 0.003))
    roof = np.array([rng.uniform(-0.1, 0.3), 0.0, ORIGIN_HEIGHT - _BODY_HEIGHT])
    body_SE3_agent = SE3(tilt, roof)
    at = np.array([rng.uniform(1.0, 1.4), rng.uniform(-0.2, 0.2), rng.uniform(1.5, 1.7)])
    at[2] -= _BODY_HEIGHT
    look = rotation(rng.normal(0, 0.008), np.radians(rng.uniform(0.0, 2.0)), rng.normal(0, 0.003))
    agent_SE3_camera = body_SE3_agent.inverse() @ SE3(look @ OPTICAL, at)
    camera = _camera(preset, preset.camera.vehicle_fov_deg, agent_SE3_camera, rng)
    return Agent(
        agent_id, Role.VEHICLE, directory, actor, np.zeros(3), (camera,),
        (_lens(camera),), body_SE3_agent, SE3.identity(),
        spinning_pattern(preset.lidar), np.array([0.0, 0.0, 0.15]), skew_s,
        np.abs(rng.normal(0, 0.0015, 2)),
    )  # fmt: skip


def roadside_agent(
    agent_id: str,
    directory: str,
    spot: tuple[Array, float],
    skew_s: float,
    preset: Preset,
    rng: Rng,
) -> Agent:
    """Put sensors on a pole; ``spot`` is its foot (2,) and the azimuth of the view."""
    foot, azimuth = spot
    height = rng.uniform(*preset.camera.roadside_height)
    pose = SE3(rotation(azimuth, 0, 0), np.array([foot[0], foot[1], ORIGIN_HEIGHT]))
    pitch = np.radians(rng.uniform(*preset.camera.roadside_pitch_deg))
    look = rotation(rng.normal(0, 0.01), pitch, rng.normal(0, 0.006))
    up = np.array([0.0, 0.0, height - ORIGIN_HEIGHT])
    camera = _camera(preset, preset.camera.roadside_fov_deg, SE3(look @ OPTICAL, up), rng)
    return Agent(
        agent_id, Role.ROADSIDE, directory, None, np.array([foot[0], foot[1], height]),
        (camera,), (_lens(camera),), SE3.identity(), pose,
        roadside_pattern(preset.lidar), up - [0, 0, 0.25], skew_s, np.zeros(2),
    )  # fmt: skip


def pole_spots(
    layout: Layout, ego_arm: int, side_streets: set[int], rng: Rng
) -> list[tuple[Array, float]]:
    """Feet of poles at the kerbs beside the mouths, in random order, with the azimuth of view.

    Each looks over the junction, between the arm on which the ego comes and another one, most
    often one of the ``side_streets`` (indices of arms), which the ego cannot see for the
    buildings; where these lie too far apart for one view, into one of them. The views with the
    least of a corner in the way come first.
    """
    spots = []
    for k, arm in enumerate(layout.arms):
        for side in (1.0, -1.0):
            half = arm.half_in if side > 0 else arm.half_out
            foot = arm.offset(arm.mouth + rng.uniform(0.5, 6.0), side * (half + 0.55))
            if road_clearance(layout, foot[None])[0] < 0.3:
                continue
            back = layout.arms[ego_arm].offset(layout.arms[ego_arm].mouth + 12.0, 0.0) - foot
            for j, other in enumerate(layout.arms):
                if j in (k, ego_arm):
                    continue
                aim = other.offset(other.mouth + rng.uniform(3.0, 16.0), rng.normal(0, 1.5)) - foot
                view = float(np.arctan2(aim[1], aim[0]))
                apart = float(wrap_angle(np.arctan2(back[1], back[0]) - view))
                wide = k != ego_arm and abs(apart) < _SHARED_VIEW
                view += apart / 2 if wide else 0.0
                blocked = _blocked(layout, foot, view, float(np.hypot(*aim)))
                luck = rng.uniform(0.0, 1.0 if j in side_streets else 1.6)
                spots.append((not wide, blocked, luck, foot, view))
    chosen: list[tuple[Array, float]] = []
    for *_, foot, view in sorted(spots, key=lambda spot: spot[:3]):
        if all(np.hypot(*(foot - other)) > 1.0 for other, _ in chosen):
            chosen.append((foot, view))  # one unit per pole
    return chosen


def _blocked(layout: Layout, foot: Array, view: float, far: float) -> int:
    """How many of three lines of sight cross ground where a building may stand."""
    count = 0
    for turn, reach in ((0.0, far), (0.35, 16.0), (-0.35, 16.0)):
        s = np.arange(1.0, reach, 1.0)[:, None]
        line = foot + s * np.array([np.cos(view + turn), np.sin(view + turn)])
        count += bool((road_clearance(layout, line) > 0.8 * layout.sidewalk).any())
    return count
