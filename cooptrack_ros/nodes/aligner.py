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

"""Nodes room: images of one agent's cameras put together as they come."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# A stamp this much older than the last one of its camera is a jump back in time (a bag that
# loops); less is a mistake of the driver.
JUMP_BACK_NS = 1_000_000_000
_KEPT = 8


@dataclass(frozen=True, eq=False)
class Sighting:
    """An image that came in, not decoded yet.

    Attributes:
        camera: Name of the camera on its agent.
        topic: Where it came from, for error texts.
        stamp_ns: Capture time.
        message: sensor_msgs/Image or CompressedImage.
    """

    camera: str
    topic: str
    stamp_ns: int
    message: Any


class FrameAligner:
    """Groups images around those of the first camera.

    A group is complete when every other camera has an image captured at or after the first
    camera's, for then the nearest one is known; or when ``poll`` finds that it waited long
    enough. Cameras without an image near enough are left out of the group and counted.
    """

    def __init__(
        self, cameras: tuple[str, ...], tolerance_ns: int, on_jump: Callable[[], None]
    ) -> None:
        """Start without images.

        Args:
            cameras: The first one sets the time of a group.
            tolerance_ns: How far apart images of a group may be.
            on_jump: Called when time jumped back, before the image is taken.
        """
        self.cameras = cameras
        self.tolerance_ns = tolerance_ns
        self.counts: Counter[str] = Counter()
        self._on_jump = on_jump
        self.reset()

    def reset(self) -> None:
        """Forget all images and stamps."""
        self._last: dict[str, int] = {}
        self._recent: dict[str, deque[Sighting]] = {c: deque(maxlen=_KEPT) for c in self.cameras}

    def push(self, image: Sighting) -> list[tuple[Sighting, ...]]:
        """Take an image; return the groups that are complete now."""
        last = self._last.get(image.camera)
        if last is not None and image.stamp_ns <= last:
            if image.stamp_ns > last - JUMP_BACK_NS:
                self.counts['stamp_backwards'] += 1
                return []
            self.reset()
            self._on_jump()
        self._last[image.camera] = image.stamp_ns
        if len(self.cameras) == 1:
            return [(image,)]
        self._recent[image.camera].append(image)
        return self._take(None)

    def poll(self, now_ns: int) -> list[tuple[Sighting, ...]]:
        """Return the groups that waited for other cameras long enough."""
        return self._take(now_ns)

    def _take(self, now_ns: int | None) -> list[tuple[Sighting, ...]]:
        first, *others = self.cameras
        out = []
        anchors = self._recent[first]
        while anchors:
            anchor = anchors[0]
            complete = all(self._last.get(c, -1) >= anchor.stamp_ns for c in others)
            late = now_ns is not None and now_ns > anchor.stamp_ns + 2 * self.tolerance_ns
            if not complete and not late and len(anchors) < _KEPT:
                break
            anchors.popleft()
            out.append((anchor, *filter(None, (self._near(c, anchor.stamp_ns) for c in others))))
        return out

    def _near(self, camera: str, stamp_ns: int) -> Sighting | None:
        recent = self._recent[camera]
        best = min(recent, key=lambda i: abs(i.stamp_ns - stamp_ns), default=None)
        if best is None or abs(best.stamp_ns - stamp_ns) > self.tolerance_ns:
            self.counts['camera_missing'] += 1
            return None
        while recent and recent[0].stamp_ns <= best.stamp_ns:
            recent.popleft()
        return best
