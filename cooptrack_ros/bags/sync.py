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


"""Bags room: images of several cameras and agents put together and in order of time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cooptrack_ros.bags import names


@dataclass(frozen=True, eq=False)
class RawImage:
    """An image as it lies in the bag."""

    camera: names.CameraTopic
    stamp_ns: int
    frame_id: str
    message: Any
    info: Any  # the CameraInfo that held when it came


class ImageSync:
    """Groups the images of each agent, then sorts the groups; holds a few images at a time."""

    def __init__(
        self,
        cameras: Mapping[str, tuple[str, ...]],
        *,
        tolerance_ns: int,
        reorder_ns: int,
        jump_ns: int,
        leave_out: Callable[[str, str], None],
    ) -> None:
        """Set the rules.

        Args:
            cameras: Names of the cameras by agent id; the first one sets the time of a group.
            tolerance_ns: Images of one agent this close together belong together.
            reorder_ns: How late an image may come, compared with its stamp.
            jump_ns: Stamps this much older than the newest mean that time jumped back.
            leave_out: Told what is left out: reason, detail.
        """
        self.cameras = cameras
        self.tolerance_ns = tolerance_ns
        self.reorder_ns = reorder_ns
        self.jump_ns = jump_ns
        self.leave_out = leave_out

    def groups(self, images: Iterable[RawImage]) -> Iterator[tuple[RawImage, ...]]:
        """Group the images of each agent around those of its first camera."""
        waiting: dict[str, list[RawImage]] = {agent_id: [] for agent_id in self.cameras}
        for image in images:
            agent_id = image.camera.agent_id
            if len(self.cameras[agent_id]) == 1:
                yield (image,)
                continue
            queue = waiting[agent_id]
            if queue and image.stamp_ns < queue[-1].stamp_ns - self.jump_ns:
                yield from self._take(agent_id, queue, None)
            queue.append(image)
            yield from self._take(agent_id, queue, image.stamp_ns - 2 * self.tolerance_ns)
        for agent_id, queue in waiting.items():
            yield from self._take(agent_id, queue, None)

    def _take(
        self, agent_id: str, queue: list[RawImage], before_ns: int | None
    ) -> Iterator[tuple[RawImage, ...]]:
        """Take the complete groups out of a queue: those that begin before a time (None: all).

        The first camera sets the time of a group; where it has no image, the earliest one does.
        """
        order, close = self.cameras[agent_id], self.tolerance_ns
        while queue:
            start_ns = min(image.stamp_ns for image in queue)
            if before_ns is not None and start_ns >= before_ns:
                return
            group: list[RawImage] = []
            for name in order:
                middle_ns = group[0].stamp_ns if group else start_ns
                near = min(
                    (i for i in queue if i.camera.camera == name),
                    key=lambda i: abs(i.stamp_ns - middle_ns),
                    default=None,
                )
                if near is not None and abs(near.stamp_ns - middle_ns) <= close:
                    group.append(near)
                else:
                    self.leave_out('camera_missing', f'{agent_id}: no image of {name} in time')
            rest = [image for image in queue if image not in group]
            # What is older than the group can belong to no later one.
            queue[:] = [image for image in rest if image.stamp_ns > group[0].stamp_ns]
            for _ in range(len(rest) - len(queue)):
                self.leave_out('camera_unpaired', f'{agent_id}: an image belongs to no frame')
            yield tuple(group)

    def in_order(self, groups: Iterator[tuple[RawImage, ...]]) -> Iterator[tuple[RawImage, ...]]:
        """Sort by stamp; a group waits until no earlier one can come any more."""
        heap: list[tuple[int, str, int, tuple[RawImage, ...]]] = []
        newest = None
        for count, group in enumerate(groups):
            stamp_ns = group[0].stamp_ns
            if newest is not None and stamp_ns < newest - self.jump_ns:
                while heap:
                    yield heapq.heappop(heap)[3]
                newest = None
            newest = stamp_ns if newest is None else max(newest, stamp_ns)
            heapq.heappush(heap, (stamp_ns, group[0].camera.agent_id, count, group))
            while heap and heap[0][0] < newest - self.reorder_ns:
                yield heapq.heappop(heap)[3]
        while heap:
            yield heapq.heappop(heap)[3]
