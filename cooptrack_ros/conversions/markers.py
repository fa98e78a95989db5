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


"""Conversions room: tracks and agents as markers that RViz and Foxglove draw.

Hue tells what a track rests on, so that a viewer sees at a glance what cooperation added. The
colours are those of Okabe and Ito, which colour-blind people tell apart.
"""

from __future__ import annotations

import heapq
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import SE3, Boxes3D
from cooptrack_core.geometry.boxes import BOX_EDGES
from cooptrack_core.structures import SURE_SCORE, Role, Source, TrackedObjects
from cooptrack_ros.conversions.geometry import (
    header,
    ns_to_stamp,
    point,
    pose_to_message,
    quaternion,
    vector,
    yaw_quaternion,
)
from cooptrack_ros.conversions.message_types import MessageTypes
from cooptrack_ros.conversions.tracks import class_name, tracks_in

Colour = tuple[float, float, float]

COLOURS: Mapping[int, Colour] = {
    int(Source.UNKNOWN): (0.60, 0.60, 0.60),
    int(Source.EGO): (0.34, 0.71, 0.91),
    int(Source.REMOTE): (0.90, 0.62, 0.00),
    int(Source.FUSED): (0.00, 0.62, 0.45),
    int(Source.REMEMBERED): (0.80, 0.47, 0.65),
}
ROLE_COLOURS: Mapping[Role, Colour] = {
    Role.VEHICLE: (0.34, 0.71, 0.91),
    Role.ROADSIDE: (0.90, 0.62, 0.00),
}
_BODY_ALPHA = 0.35
_FAINT = (0.1, 0.5, 0.04)  # of what is not sure: body, edges, width of these
_SLOWEST_ARROW = 0.5  # m/s; below it the direction is noise

# visualization_msgs/Marker
_ARROW, _CUBE, _SPHERE, _LINE_STRIP, _LINE_LIST, _TEXT = 0, 1, 2, 4, 5, 9
_ADD, _DELETE, _DELETE_ALL = 0, 2, 3

Points = NDArray[np.float64]

_FIXED: weakref.WeakKeyDictionary[MessageTypes, dict[int, dict[str, Any]]] = (
    weakref.WeakKeyDictionary()
)


class MarkerBuilder:
    """Turns tracks into MarkerArrays and remembers what is on the screen.

    Tracks below ``SURE_SCORE`` are drawn faintly, without label and arrow.
    Ids are int32, given to a track when it appears and used again after it went. Markers of
    tracks that are gone are deleted one by one; the first array (and the first after ``reset``)
    begins with DELETEALL.
    """

    def __init__(
        self,
        types: MessageTypes,
        *,
        frame_id: str = 'map',
        prefix: str = 'track',
        lifetime_ns: int = 0,
        trail_length: int = 20,
        colour: Colour | None = None,
        labels: bool = True,
    ) -> None:
        """Start with an empty screen.

        Args:
            types: Where message classes come from.
            frame_id: Frame the markers are given in.
            prefix: First part of the marker namespaces, for example ``gt``.
            lifetime_ns: After this a viewer drops a marker by itself; 0 = never. Three expected
                periods are a safety net when the publisher dies.
            trail_length: Positions kept per track; 0 draws no trails.
            colour: One colour for all tracks instead of colours by source.
            labels: Write id, class and score above each box.
        """
        self.types = types
        self.frame_id = frame_id
        self.prefix = prefix
        self.lifetime_ns = lifetime_ns
        self.trail_length = trail_length
        self.colour = colour
        self.labels = labels
        self._forget()

    def update(self, tracks: TrackedObjects, map_SE3_world: SE3) -> Any:
        """Make the MarkerArray that shows these tracks and removes those that are gone."""
        boxes = tracks_in(map_SE3_world, tracks)
        self._assign_ids([int(i) for i in tracks.track_ids])
        self._header = header(self.types, tracks.stamp_ns, self.frame_id)
        corners = boxes.corners()
        markers: list[Any] = []
        for i in range(len(tracks)):
            markers += self._track(tracks, boxes, corners[i], i)
        return self._finish(markers, tracks.stamp_ns)

    def reset(self, stamp_ns: int) -> Any:
        """Make a MarkerArray that empties the screen; ids start anew."""
        self._forget()
        return self._finish([], stamp_ns)

    def _forget(self) -> None:
        self._ids: dict[int, int] = {}
        self._free: list[int] = []
        self._trails: dict[int, deque[Any]] = {}
        self._shown: set[tuple[str, int]] = set()
        self._fresh = True

    def _assign_ids(self, track_ids: list[int]) -> None:
        for gone in self._ids.keys() - set(track_ids):
            heapq.heappush(self._free, self._ids.pop(gone))
            self._trails.pop(gone, None)
        for track_id in track_ids:
            if track_id not in self._ids:
                self._ids[track_id] = heapq.heappop(self._free) if self._free else len(self._ids)

    def _track(self, tracks: TrackedObjects, boxes: Boxes3D, corners: Points, i: int) -> list[Any]:
        track_id = int(tracks.track_ids[i])
        number = self._ids[track_id]
        colour = self.colour or COLOURS.get(int(tracks.sources[i]), COLOURS[0])
        center, size, velocity = boxes.centers[i], boxes.sizes[i], boxes.velocities[i]
        where = point(self.types, center)
        turned = self.types.new(
            'geometry_msgs/msg/Pose',
            position=where,
            orientation=yaw_quaternion(self.types, float(boxes.yaws[i])),
        )
        # Each corner is made once and stands three times in the list.
        ends = points_to_message(self.types, corners)
        edges = [ends[end] for edge in BOX_EDGES for end in edge]
        sure = bool(tracks.scores[i] >= SURE_SCORE)
        body, edge, width = (_BODY_ALPHA, 1.0, 0.08) if sure else _FAINT
        out = [
            self._marker('box', number, _CUBE, colour, body, size, pose=turned),
            self._marker('edges', number, _LINE_LIST, colour, edge, width, points=edges),
        ]
        if self.labels and sure:
            text = f'{track_id} {class_name(int(tracks.labels[i]))} {tracks.scores[i]:.2f}'
            if tracks.remote_agents[i]:
                text += '\n' + ' '.join(tracks.remote_agents[i])
            pose = self.types.new(
                'geometry_msgs/msg/Pose',
                position=point(self.types, center + np.array([0.0, 0.0, size[2] / 2 + 0.8])),
                orientation=quaternion(self.types),
            )
            out.append(
                self._marker(
                    'label', number, _TEXT, colour, 1.0, (0.0, 0.0, 0.9), pose=pose, text=text
                )
            )
        if sure and np.isfinite(velocity).all() and np.linalg.norm(velocity) > _SLOWEST_ARROW:
            # The arrow ends where the object will be in one second.
            tip = point(self.types, center + np.array([*velocity, 0.0]))
            out.append(
                self._marker(
                    'velocity', number, _ARROW, colour, 1.0, (0.15, 0.35, 0.5), points=[where, tip]
                )
            )
        if self.trail_length:
            trail = self._trails.setdefault(track_id, deque(maxlen=self.trail_length))
            trail.append(where)
            if len(trail) > 1:
                line = list(trail)
                out.append(
                    self._marker('trail', number, _LINE_STRIP, colour, 0.6, 0.12, points=line)
                )
        return out

    def _marker(
        self,
        layer: str,
        number: int,
        kind: int,
        colour: Colour,
        alpha: float,
        scale: Any,
        *,
        pose: Any = None,
        points: Sequence[Any] | None = None,
        text: str = '',
    ) -> Any:
        sizes = np.asarray(scale, dtype=np.float64)
        # A line has only a width, which is scale.x.
        return new_marker(
            self.types,
            self._header,
            f'{self.prefix}_{layer}',
            number,
            kind,
            colour=(*colour, alpha),
            scale=sizes if sizes.ndim else np.array([float(sizes), 0.0, 0.0]),
            lifetime_ns=self.lifetime_ns,
            pose=pose,
            points=points,
            text=text,
        )

    def _finish(self, markers: list[Any], stamp_ns: int) -> Any:
        shown = {(m.ns, m.id) for m in markers}
        frame = header(self.types, stamp_ns, self.frame_id)
        first = []
        if self._fresh:
            first = [new_marker(self.types, frame, '', 0, _CUBE, action=_DELETE_ALL)]
        gone = [
            new_marker(self.types, frame, ns, number, _CUBE, action=_DELETE)
            for ns, number in sorted(self._shown - shown)
        ]
        self._shown, self._fresh = shown, False
        return self.types.new(
            'visualization_msgs/msg/MarkerArray', markers=[*first, *gone, *markers]
        )


def agent_markers(
    types: MessageTypes,
    agents: Mapping[str, tuple[Role, SE3]],
    stamp_ns: int,
    *,
    frame_id: str = 'map',
    lifetime_ns: int = 0,
) -> Any:
    """Make the MarkerArray of the agents: a sphere and the name of each.

    Args:
        types: Where message classes come from.
        agents: Role and pose in ``frame_id`` by agent id.
        stamp_ns: Time of the poses.
        frame_id: Frame of the poses.
        lifetime_ns: As ``MarkerBuilder``.
    """
    markers = []
    for number, (agent_id, (role, pose)) in enumerate(sorted(agents.items())):
        colour = ROLE_COLOURS[role]
        above = SE3(pose.rotation, pose.translation + np.array([0.0, 0.0, 2.5]))
        for ns, kind, scale, where, text in (
            ('agent', _SPHERE, np.full(3, 1.2), pose, ''),
            ('agent_label', _TEXT, np.array([0.0, 0.0, 1.2]), above, agent_id),
        ):
            markers.append(
                new_marker(
                    types, header(types, stamp_ns, frame_id), ns, number, kind,
                    colour=(*colour, 1.0), scale=scale, lifetime_ns=lifetime_ns,
                    pose=pose_to_message(types, where), text=text,
                )
            )  # fmt: skip
    return types.new('visualization_msgs/msg/MarkerArray', markers=markers)


def new_marker(
    types: MessageTypes,
    frame: Any,
    ns: str,
    number: int,
    kind: int,
    *,
    action: int = _ADD,
    colour: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0),
    scale: Points | None = None,
    lifetime_ns: int = 0,
    pose: Any = None,
    points: Points | Sequence[Any] | None = None,
    text: str = '',
) -> Any:
    """Make a Marker.

    Args:
        types: Where message classes come from.
        frame: Its header.
        ns: Its layer.
        number: Its id in the layer.
        kind: A type constant of the message.
        action: An action constant of the message.
        colour: Red, green, blue, alpha, in [0, 1].
        scale: (3,) metres; what it means depends on the kind.
        lifetime_ns: After this a viewer drops it; 0 = never.
        pose: geometry_msgs/Pose; default: that of the frame.
        points: (n, 3) metres, of lines and arrows; or geometry_msgs/Points.
        text: What is written.
    """
    red, green, blue, alpha = (float(c) for c in colour)
    fixed = _fixed_parts(types, lifetime_ns)
    return types.new(
        'visualization_msgs/msg/Marker',
        header=frame,
        ns=ns,
        id=number,
        type=kind,
        action=action,
        pose=pose if pose is not None else fixed['pose'],
        scale=vector(types, scale if scale is not None else np.zeros(3)),
        color=types.new('std_msgs/msg/ColorRGBA', r=red, g=green, b=blue, a=alpha),
        lifetime=fixed['lifetime'],
        frame_locked=False,
        points=points_to_message(types, points) if points is not None else [],
        colors=[],
        texture_resource='',
        texture=fixed['texture'],
        uv_coordinates=[],
        text=text,
        mesh_resource='',
        mesh_file=fixed['mesh_file'],
        mesh_use_embedded_materials=False,
    )


def points_to_message(types: MessageTypes, points: Points | Sequence[Any]) -> list[Any]:
    """Make geometry_msgs/Points of (n, 3) metres; what is a message already stays."""
    if isinstance(points, np.ndarray):
        kind = 'geometry_msgs/msg/Point'
        return [types.new(kind, x=x, y=y, z=z) for x, y, z in points.tolist()]
    return list(points)


def _fixed_parts(types: MessageTypes, lifetime_ns: int) -> dict[str, Any]:
    """Parts that are the same in all markers; nobody changes them, so they are made once."""
    known = _FIXED.setdefault(types, {})
    if lifetime_ns not in known:
        stamp = ns_to_stamp(types, lifetime_ns)
        nothing = types.sequence(np.zeros(0, dtype=np.uint8))
        known[lifetime_ns] = {
            'pose': pose_to_message(types, SE3.identity()),
            'lifetime': types.new(
                'builtin_interfaces/msg/Duration', sec=stamp.sec, nanosec=stamp.nanosec
            ),
            'texture': types.new(
                'sensor_msgs/msg/CompressedImage',
                header=header(types, 0, ''),
                format='',
                data=nothing,
            ),
            'mesh_file': types.new('visualization_msgs/msg/MeshFile', filename='', data=nothing),
        }
    return known[lifetime_ns]
