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

"""Conversions room: which agent contributes to which track, as lines."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import SE3
from cooptrack_core.perception import Association
from cooptrack_core.structures import Role, Source, TrackedObjects
from cooptrack_ros.conversions.geometry import header
from cooptrack_ros.conversions.markers import COLOURS, ROLE_COLOURS, new_marker
from cooptrack_ros.conversions.message_types import MessageTypes

_LINE_LIST = 5  # visualization_msgs/Marker
_ADD, _DELETE = 0, 2

Points = NDArray[np.float64]


def link_markers(
    types: MessageTypes,
    agents: Mapping[str, tuple[Role, SE3]],
    tracks: TrackedObjects,
    associations: Sequence[Association],
    ego_id: str,
    *,
    frame_id: str = 'map',
    lifetime_ns: int = 0,
) -> Any:
    """Make the MarkerArray of what the agents contribute.

    Layer ``link``: a thin line, in the colour of its role, from each remote agent to each track
    that rests on its instances. Layer ``association``: a line from where the remote agent saw an
    object to where the ego saw the one that it was matched with; a long one is a wrong match or a
    wrong pose. What an agent does not contribute any more is deleted.

    Args:
        types: Where message classes come from.
        agents: Role and pose in ``frame_id`` by agent id.
        tracks: What was fused; its world is ``frame_id``.
        associations: Matched pairs, in the frame of the tracks.
        ego_id: The agent that fuses.
        frame_id: Frame of the lines.
        lifetime_ns: As ``MarkerBuilder``.
    """
    world_SE3_agent = tracks.world_SE3_agent
    centers = world_SE3_agent.transform_points(tracks.boxes.centers)
    markers = []
    for agent_id, (role, pose) in sorted(agents.items()):
        if agent_id == ego_id:
            continue
        rests = [i for i, names in enumerate(tracks.remote_agents) if agent_id in names]
        links = [np.stack([pose.translation, centers[i]]) for i in rests]
        pairs = [
            world_SE3_agent.transform_points(np.stack([a.remote_position, a.ego_position]))
            for a in associations
            if a.agent_id == agent_id
        ]
        fused = COLOURS[int(Source.FUSED)]
        for layer, lines, colour, width in (
            ('link', links, (*ROLE_COLOURS[role], 0.5), 0.1),
            ('association', pairs, (*fused, 1.0), 0.3),
        ):
            markers.append(
                new_marker(
                    types,
                    header(types, tracks.stamp_ns, frame_id),
                    layer,
                    # The same agent has the same id, whoever comes or goes.
                    zlib.crc32(agent_id.encode()) & 0x7FFFFFFF,
                    _LINE_LIST,
                    action=_ADD if lines else _DELETE,
                    colour=colour,
                    scale=np.array([width, 0.0, 0.0]),
                    lifetime_ns=lifetime_ns,
                    points=np.concatenate(lines) if lines else None,
                )
            )
    return types.new('visualization_msgs/msg/MarkerArray', markers=markers)
