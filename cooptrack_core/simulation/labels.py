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

"""Labels and visibility of one moment: who was seen by which sensor, and where."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import SE3, CameraModel
from cooptrack_core.simulation.presets import LabelConfig
from cooptrack_core.simulation.scene import Capture, RoadUser, boxes_of

Array = NDArray[np.float64]
_REACH = 120.0
_SIDES = (('veh', 'vehicle', 'vehicle-side'), ('inf', 'roadside', 'infrastructure-side'))
# A body fills about this share of the outline of its box.
_FILLING = 0.75


@dataclass(frozen=True, eq=False)
class Sighting:
    """What one agent's sensors got of one road user.

    Attributes:
        pixels: Camera pixels that show it.
        outline: Pixels of the projected box inside the picture: what it could show.
        lidar_hits: LiDAR returns from it.
        box2d: (4,) x_min, y_min, x_max, y_max of the projected box in the picture; zeros outside.
        truncated: Whether the projected box leaves the picture.
    """

    pixels: int
    outline: float
    lidar_hits: int
    box2d: Array
    truncated: bool

    @property
    def occlusion(self) -> int:
        """0 visible, 1 and 2 partly, 3 not in the picture (reference section 6.1)."""
        if self.pixels == 0:
            return 3
        share = self.pixels / max(_FILLING * self.outline, 1.0)
        return 0 if share >= 0.75 else 1 if share >= 0.4 else 2

    def enough(self, config: LabelConfig) -> bool:
        """Whether the agent labels the object."""
        return self.pixels >= config.min_pixels or self.lidar_hits >= config.min_lidar_hits


def sightings(capture: Capture) -> dict[int, Sighting]:
    """What the agent got of every road user, by track id."""
    top = max((u.track_id for u in capture.road_users), default=0) + 1
    seen = capture.picture.objects[capture.picture.objects > 0]
    pixels = np.bincount(seen, minlength=top)
    hits = np.bincount(capture.cloud.objects, minlength=top)
    corners = boxes_of(capture.road_users).transformed(capture.site_SE3_agent.inverse()).corners()
    result = {}
    for user, box in zip(capture.road_users, corners, strict=True):
        outline, box2d, truncated = _outline(capture.agent.camera, box)
        k = user.track_id
        result[k] = Sighting(int(pixels[k]), outline, int(hits[k]), box2d, truncated)
    return result


def _outline(camera: CameraModel, corners: Array) -> tuple[float, Array, bool]:
    edges = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4),
             (0, 4), (1, 5), (2, 6), (3, 7))  # fmt: skip
    depth = camera.project(corners)[1]
    nothing = 0.0, np.zeros(4), False
    if depth.max() < 0.3:
        return nothing
    points = corners
    if depth.min() < 0.3:  # follow the edges up to the near plane
        share = np.linspace(0, 1, 9)[:, None]
        points = np.concatenate([corners[a] * (1 - share) + corners[b] * share for a, b in edges])
    pixels, depth = camera.project(points)
    pixels = np.clip(pixels[depth >= 0.25], -1e5, 1e5).astype(np.float32)
    if len(pixels) < 3:
        return nothing
    hull = cv2.convexHull(pixels)
    w, h = camera.width, camera.height
    frame = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32) - np.float32(0.5)
    area, inside = cv2.intersectConvexConvex(hull, frame)
    if area < 1.0 or inside is None:
        return nothing
    flat = inside.reshape(-1, 2)
    low, high = flat.min(0), flat.max(0)
    whole = hull.reshape(-1, 2)
    truncated = bool((whole.min(0) < low - 1).any() or (whole.max(0) > high + 1).any())
    return float(area), np.array([*low, *high], np.float64), truncated


def label(
    user: RoadUser, agent_SE3_site: SE3, sighting: Sighting | None, token: str
) -> dict[str, Any]:
    """One label object in the words of the dataset; ``sighting`` None if no camera matters."""
    box = boxes_of([user]).transformed(agent_SE3_site)
    x, y, z = (round(float(v), 4) for v in box.centers[0])
    length, width, height = (round(float(v), 4) for v in user.size)
    yaw = float(box.yaws[0])
    b = sighting.box2d if sighting else np.zeros(4)
    bearing = (yaw - np.arctan2(y, x) + np.pi) % (2 * np.pi) - np.pi
    return {
        'token': token,
        'type': user.type,
        'track_id': f'{user.track_id:06d}',
        'truncated_state': int(sighting.truncated) if sighting else 0,
        'occluded_state': sighting.occlusion if sighting else 3,
        'alpha': round(float(bearing), 5),
        '2d_box': {
            'xmin': round(float(b[0]), 2), 'ymin': round(float(b[1]), 2),
            'xmax': round(float(b[2]), 2), 'ymax': round(float(b[3]), 2),
        },
        '3d_dimensions': {'h': height, 'w': width, 'l': length},
        '3d_location': {'x': x, 'y': y, 'z': z},
        'rotation': round(yaw, 6),
    }  # fmt: skip


def token_of(*parts: object) -> str:
    """A token that looks like a UUID and follows from its parts alone."""
    digest = hashlib.sha256('/'.join(map(str, parts)).encode()).hexdigest()
    return f'{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}'


def side_labels(
    capture: Capture, seen: Mapping[int, Sighting], config: LabelConfig, sequence: str, frame: str
) -> list[dict[str, Any]]:
    """Labels of one side: every object its sensors hit, all around."""
    agent_SE3_site = capture.site_SE3_agent.inverse()
    return [
        label(u, agent_SE3_site, seen[u.track_id],
              token_of(sequence, capture.agent.directory, frame, u.track_id))
        for u in capture.road_users
        if seen[u.track_id].enough(config)
    ]  # fmt: skip


def cooperative_labels(
    captures: Sequence[Capture],
    seen: Sequence[Mapping[int, Sighting]],
    config: LabelConfig,
    sequence: str,
    frames: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Union of all sides in the ego's LiDAR frame at its time; the ego's own box if seen."""
    ego = captures[0]
    agent_SE3_site = ego.site_SE3_agent.inverse()
    own = [ego.own] if ego.own is not None else []
    stamps = {c.agent.agent_id: c.stamp_us for c in captures}
    rows = []
    for user in [*ego.road_users, *own]:
        k = user.track_id
        by = [
            c.agent.agent_id
            for c, s in zip(captures, seen, strict=True)
            if k in s and s[k].enough(config)
        ]
        if not by:
            continue
        token = token_of(sequence, 'cooperative', frames['vehicle'], k)
        row = label(user, agent_SE3_site, seen[0].get(k), token)
        names = {'vehicle': 'veh', 'roadside': 'inf'}
        row['from_side'] = names.get(by[0], by[0]) if len(by) == 1 else 'coop'
        for short, agent_id, side in _SIDES:
            saw = agent_id in by
            row[f'{short}_pointcloud_timestamp'] = str(stamps[agent_id])
            row[f'{short}_frame_id'] = frames[agent_id]
            row[f'{short}_track_id'] = row['track_id'] if saw else '-1'
            row[f'{short}_token'] = token_of(sequence, side, frames[agent_id], k) if saw else ''
        rows.append(row)
    return rows


def visibility(
    captures: Sequence[Capture], seen: Sequence[Mapping[int, Sighting]]
) -> list[dict[str, Any]]:
    """Pixels and LiDAR hits of every road user within 120 m of the ego, by agent."""
    ego = captures[0]
    own = [ego.own] if ego.own is not None else []
    rows = []
    for user in [*ego.road_users, *own]:
        distance = float(np.linalg.norm(user.center[:2] - ego.site_SE3_agent.translation[:2]))
        if distance > _REACH:
            continue
        agents = {}
        for capture, sight in zip(captures, seen, strict=True):
            if user.track_id in sight:
                s = sight[user.track_id]
                agents[capture.agent.agent_id] = {
                    'pixels': s.pixels,
                    'outline_pixels': round(s.outline),
                    'lidar_hits': s.lidar_hits,
                }
        rows.append(
            {
                'track_id': user.track_id,
                'type': user.type,
                'distance': round(distance, 2),
                'speed': round(user.speed, 3),
                'is_ego': user is ego.own,
                'agents': agents,
            }
        )
    return rows
