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
"""Objects of one agent as another one has them: in its frame, at its time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry import Boxes3D
from cooptrack_core.structures import AgentFrame, Source, TrackedObjects
from cooptrack_core.tracking.permanence import InView

# x_min, x_max, y_min, y_max in the ego's agent frame, metres; as ``CooperationConfig``.
EGO_FOOTPRINT = (-3.0, 3.0, -1.5, 1.5)
_NEAREST = 0.5  # metres before a camera


def seen_by_ego(objects: TrackedObjects, ego: AgentFrame) -> TrackedObjects:
    """Objects of another agent in the ego's frame, moved to its time by their velocity."""
    ego_SE3_other = ego.world_SE3_agent.inverse() @ objects.world_SE3_agent
    seconds = (ego.stamp_ns - objects.stamp_ns) / 1e9
    boxes = moved(objects.boxes, seconds).transformed(ego_SE3_other)
    return replace(
        objects,
        sequence_id=ego.sequence_id,
        frame_id=ego.frame_id,
        stamp_ns=ego.stamp_ns,
        world_SE3_agent=ego.world_SE3_agent,
        boxes=boxes,
        sources=np.full(len(objects), int(Source.REMOTE), dtype=np.int64),
    )


def without_ego(objects: TrackedObjects, footprint: tuple[float, ...]) -> TrackedObjects:
    """Objects, in the ego's frame, without the ego itself, whose place it knows.

    Args:
        objects: What another agent sees.
        footprint: x_min, x_max, y_min, y_max of the ego in its own agent frame, metres.
    """
    x, y = objects.boxes.centers[:, 0], objects.boxes.centers[:, 1]
    x_min, x_max, y_min, y_max = footprint
    return objects.select(~((x_min <= x) & (x <= x_max) & (y_min <= y) & (y <= y_max)))


def in_view(frame: AgentFrame) -> InView:
    """Tell which points of the agent frame an image of this frame shows, if nothing is before."""

    def shown(points: NDArray[np.float64]) -> NDArray[np.bool_]:
        seen = np.zeros(len(points), dtype=bool)
        for image in frame.images:
            pixels, depth = image.camera.project(points)
            u, v = pixels[:, 0], pixels[:, 1]
            inside = (u >= 0) & (u < image.camera.width) & (v >= 0) & (v < image.camera.height)
            seen |= inside & (depth > _NEAREST)
        return seen

    return shown


def moved(boxes: Boxes3D, seconds: float) -> Boxes3D:
    """Boxes after ``seconds`` of constant velocity; unknown velocities stay put."""
    step = np.nan_to_num(boxes.velocities) * seconds
    centers = boxes.centers + np.concatenate([step, np.zeros((len(boxes), 1))], axis=1)
    return Boxes3D(centers, boxes.sizes, boxes.yaws, boxes.velocities)
