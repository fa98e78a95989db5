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

"""One scene: draw it, let the traffic run, capture what every agent sees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import SE3, Boxes3D, CameraModel
from cooptrack_core.simulation.actors import STEP_S, Actor
from cooptrack_core.simulation.agents import Agent, pole_spots, roadside_agent, vehicle_agent
from cooptrack_core.simulation.camera import Picture, standing_view, take_picture
from cooptrack_core.simulation.layout import Layout, make_layout
from cooptrack_core.simulation.lidar import Cloud, scan, standing_echoes
from cooptrack_core.simulation.light import Light, make_light
from cooptrack_core.simulation.presets import Preset
from cooptrack_core.simulation.raycast import STATIC, Geometry, Hits, Layer
from cooptrack_core.simulation.ring import roadside_ring, vehicle_ring, visible_objects
from cooptrack_core.simulation.scenery import make_scenery, sensor_pole
from cooptrack_core.simulation.shapes import Mesh, join
from cooptrack_core.simulation.textures import Texture, paint_ground
from cooptrack_core.simulation.traffic import Traffic

_EGO_SPEED = 7.0  # what the ego makes in the warm-up, m/s, roughly
_EPOCH_US = 1_626_155_123_000_000  # some day in July 2021, as in the real data


@dataclass(frozen=True, eq=False)
class RoadUser:
    """A road user at one instant, site frame.

    Attributes:
        track_id: Unique in the scene.
        type: Type word of the dataset.
        center: (3,) middle of the box, metres.
        size: (3,) length, width, height.
        yaw: Heading, rad.
        speed: m/s.
    """

    track_id: int
    type: str
    center: NDArray[np.float64]
    size: NDArray[np.float64]
    yaw: float
    speed: float


@dataclass(frozen=True, eq=False)
class Capture:
    """What one agent captured at one instant.

    Attributes:
        agent: Who.
        stamp_us: When, microseconds.
        site_SE3_body: Pose of the body.
        site_SE3_agent: Pose of the agent frame.
        road_users: All road users at that instant but the one that carries the agent.
        own: The road user that carries the agent, None for a roadside unit.
        pictures: The cameras'.
        cloud: The LiDAR's.
        visible: Ids of the road users that count as visible in maps (rings only).
    """

    agent: Agent
    stamp_us: int
    site_SE3_body: SE3
    site_SE3_agent: SE3
    road_users: tuple[RoadUser, ...]
    own: RoadUser | None
    pictures: tuple[Picture, ...]
    cloud: Cloud
    visible: frozenset[int] = frozenset()

    @property
    def picture(self) -> Picture:
        """The first camera's; in the layout V2X-Seq the only one."""
        return self.pictures[0]


class SceneSimulation:
    """A scene drawn from a seed; the same seed gives the same scene and the same pictures."""

    def __init__(self, preset: Preset, seed: int, index: int) -> None:
        """Draw everything and run the traffic."""
        self.preset, self.seed, self.index = preset, seed, index
        rng = np.random.default_rng([seed, index])
        self.layout: Layout = make_layout(rng)
        self.light: Light = make_light(rng, preset.weather)
        before_line = rng.uniform(*preset.ego_start) + _EGO_SPEED * preset.warmup_s
        self.traffic = Traffic(self.layout, preset.demand, before_line, rng)
        period = 1 / preset.rate_hz
        self._warmup = round(preset.warmup_s / STEP_S)
        steps = self._warmup + int(np.ceil((preset.frames * period + 0.2) / STEP_S)) + 1
        for _ in range(steps):
            self.traffic.step()
        self.actors: list[Actor] = self.traffic.everyone()
        self.agents = self._make_agents(rng)
        poles = [
            sensor_pole(float(a.position[0]), float(a.position[1]), float(a.position[2]))
            for a in self.agents
            if a.actor is None
        ]
        scenery = make_scenery(self.layout, rng, buildings=preset.buildings)
        parts = [(STATIC, join([scenery, *poles]))]
        for actor in self.actors:
            if actor.parked:
                parts.append((actor.track_id, actor.body.poses[0].posed(*actor.pose(actor.s))))
        self._standing = Layer(parts)
        self._parked = {a.track_id for a in self.actors if a.parked}
        self._fixed: dict[str, tuple[list[Hits], Hits]] = {}
        self.ground: Texture = paint_ground(self.layout, rng, preset.camera.ground_texel)
        origin = np.array([*rng.uniform(-800, 800, 2), rng.uniform(10, 40)])
        turn = rng.uniform(-np.pi, np.pi)
        self.world_SE3_site = SE3.from_yaw(float(turn), origin)
        self._start_us = _EPOCH_US + index * 1_000_000_000 + int(rng.integers(0, 90_000))

    def _make_agents(self, rng: np.random.Generator) -> list[Agent]:
        if self.preset.layout == 'opv2v':
            return self._make_rings(rng)
        preset = self.preset
        skew = preset.max_skew_ms / 1000

        def draw() -> float:
            return float(rng.choice([-1, 1]) * rng.uniform(min(0.003, skew), skew))

        ego = vehicle_agent('vehicle', 'vehicle-side', self.traffic.ego, 0.0, preset, rng)
        agents = [ego]
        spots = self._pole_spots(rng)
        for k in range(min(preset.roadsides, len(spots))):
            name, side = ('roadside', 'infrastructure-side') if k == 0 else (f'roadside_{k}',) * 2
            agents.append(roadside_agent(name, side, spots[k], draw(), preset, rng))
        for k, actor in enumerate(self._companions()[: preset.vehicles]):
            name = f'vehicle_{k + 1}'
            agents.append(vehicle_agent(name, name, actor, draw(), preset, rng))
        return agents

    def _make_rings(self, rng: np.random.Generator) -> list[Agent]:
        preset = self.preset
        agents = [vehicle_ring(self.traffic.ego, preset, rng)]
        fewest = min(preset.ring.fewest_vehicles, preset.vehicles)
        wanted = int(rng.integers(fewest, preset.vehicles + 1))
        near = self._companions()[: 3 * preset.vehicles]  # not always the nearest to the middle
        chosen = [near[i] for i in rng.permutation(len(near))[:wanted]]
        agents += [vehicle_ring(actor, preset, rng) for actor in chosen]
        if rng.random() < preset.ring.roadside_share:
            spots = self._pole_spots(rng)[: preset.roadsides]
            agents += [roadside_ring(k, spot, preset, rng) for k, spot in enumerate(spots)]
        return agents

    def _pole_spots(self, rng: np.random.Generator) -> list[tuple[NDArray[np.float64], float]]:
        route = self.layout.routes[self.traffic.ego.route]
        side_streets = set(range(len(self.layout.arms))) - {route.arm_in, route.arm_out}
        return pole_spots(self.layout, route.arm_in, side_streets, rng)

    def _companions(self) -> list[Actor]:
        """Cars and vans beside the ego that are there all the time, those in the middle first."""
        last = self._warmup + self.preset.frames / self.preset.rate_hz / STEP_S + 1
        middle = 0.5 * (self._warmup + last)
        candidates = []
        for actor in self.actors:
            if actor.route < 0 or actor is self.traffic.ego or actor.kind not in ('car', 'van'):
                continue
            if actor.state_at(self._warmup - 1) and actor.state_at(last):
                x, y, _, _ = actor.state_at(middle) or (0.0, 0.0, 0.0, 0.0)
                candidates.append((float(np.hypot(x, y)), actor.track_id, actor))
        return [actor for *_, actor in sorted(candidates, key=lambda c: c[:2])]

    def frames(self, numbers: Iterable[int] | None = None) -> Iterator[list[Capture]]:
        """All agents' captures, frame by frame (default: of all); the ego comes first."""
        for frame in range(self.preset.frames) if numbers is None else numbers:
            yield [self._capture(agent, frame, number) for number, agent in enumerate(self.agents)]

    def road_users(self, step: float) -> list[RoadUser]:
        """Everybody at a fractional step."""
        users = []
        for actor in self.actors:
            state = actor.state_at(step)
            if state is not None:
                x, y, yaw, speed = state
                size = actor.body.size
                at = np.array([x, y, size[2] / 2])
                users.append(RoadUser(actor.track_id, actor.body.type, at, size, yaw, speed))
        return users

    def _capture(self, agent: Agent, frame: int, number: int) -> Capture:
        rng = np.random.default_rng([self.seed, self.index, frame, number])
        jitter = rng.uniform(-0.002, 0.002) if self.preset.max_skew_ms else 0.0
        offset_us = round((frame / self.preset.rate_hz + agent.skew_s + jitter) * 1e6)
        step = self._warmup + offset_us * 1e-6 / STEP_S
        geometry = self._geometry(step, agent)
        body, pose = agent.site_SE3_body(step), agent.site_SE3_agent(step)
        if body is None or pose is None:
            raise RuntimeError(f'{agent.agent_id} is not on the road at step {step}')
        users = [
            u for u in self.road_users(step)
            if agent.actor is None or u.track_id != agent.actor.track_id
        ]  # fmt: skip
        ring = self.preset.layout == 'opv2v'
        moving = [u for u in users if u.track_id not in self._parked]
        views, echoes = self._standing_hits(agent, geometry, pose)
        pictures = []
        for camera, lens, mount, view in zip(
            agent.cameras, agent.lenses, agent.agent_SE3_cameras, views, strict=True
        ):
            picture = take_picture(
                geometry, self.ground, self.light, lens, pose @ mount, rng,
                noise=self.preset.camera.noise, near_moving=_may_hit(camera, pose, moving),
                standing=view, edge_rays=self.preset.ring.edge_rays if ring else 2,
            )  # fmt: skip
            pictures.append(picture)
        cloud = scan(
            geometry, agent.pattern, agent.lidar_origin, pose, self.preset.lidar.range, rng, echoes
        )
        own = None
        if agent.actor is not None:
            everybody = self.road_users(step)
            own = next(u for u in everybody if u.track_id == agent.actor.track_id)
        stamp = self._start_us + offset_us
        visible = visible_objects(geometry, agent, pose) if ring else frozenset[int]()
        return Capture(
            agent, stamp, body, pose, tuple(users), own, tuple(pictures), cloud, visible
        )

    def _standing_hits(
        self, agent: Agent, geometry: Geometry, pose: SE3
    ) -> tuple[Sequence[Hits | None], Hits | None]:
        """What a roadside unit's cameras and LiDAR see of the standing world: always the same."""
        if agent.actor is not None:
            return [None] * len(agent.cameras), None
        if agent.agent_id not in self._fixed:
            self._fixed[agent.agent_id] = (
                [
                    standing_view(geometry, lens, pose @ mount)
                    for lens, mount in zip(agent.lenses, agent.agent_SE3_cameras, strict=True)
                ],
                standing_echoes(geometry, agent.pattern, agent.lidar_origin, pose),
            )
        return self._fixed[agent.agent_id]

    def _geometry(self, step: float, agent: Agent) -> Geometry:
        """All surfaces at an instant, without the vehicle that carries the agent."""
        parts: list[tuple[int, Mesh]] = []
        for actor in self.actors:
            state = actor.state_at(step)
            if state is None or actor is agent.actor or actor.parked:
                continue
            x, y, yaw, _ = state
            poses = actor.body.poses
            k = int(step - actor.first)
            s = actor.record[min(max(k, 0), len(actor.record) - 1)][0]
            mesh = poses[int(s / actor.body.stride * len(poses)) % len(poses)]
            parts.append((actor.track_id, mesh.posed(x, y, yaw)))
        return Geometry(self._standing, Layer(parts))


def _may_hit(camera: CameraModel, pose: SE3, moving: Sequence[RoadUser]) -> NDArray[np.bool_]:
    """(h * w,) pixels that may show a moving road user: generous rectangles around them."""
    w, h = camera.width, camera.height
    mask = np.zeros((h, w), bool)
    # Mirrors and handlebars stick out of the boxes.
    boxes = boxes_of(moving, margin=0.35).transformed(pose.inverse())
    for corners in boxes.corners():
        pixels, depth = camera.project(corners)
        if depth.max() < 0.0:
            continue
        if depth.min() < 0.2:
            mask[:] = True
            break
        u0, v0 = np.clip(np.floor(pixels.min(0)) - 1, 0, (w, h)).astype(int)
        u1, v1 = np.clip(np.ceil(pixels.max(0)) + 2, 0, (w, h)).astype(int)
        mask[v0:v1, u0:u1] = True
    return mask.ravel()


def boxes_of(users: Sequence[RoadUser], margin: float = 0.0) -> Boxes3D:
    """Boxes of road users in the site frame, grown by ``margin`` metres on every side."""
    n = len(users)
    velocities = [[u.speed * np.cos(u.yaw), u.speed * np.sin(u.yaw)] for u in users]
    return Boxes3D(
        np.array([u.center for u in users]).reshape(n, 3),
        np.array([u.size for u in users]).reshape(n, 3) + 2 * margin,
        np.array([u.yaw for u in users]),
        np.array(velocities).reshape(n, 2),
    )
