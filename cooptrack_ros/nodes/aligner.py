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
# A camera that lags the others by this much is not waited for.
SILENT_NS = 500_000_000
# Unless cameras are slow: as long as one and a half of their latest period, up to this one.
_LONGEST_PERIOD_NS = 2_000_000_000
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
    """Groups images around those of one camera, the anchor.

    The anchor is the first camera of the list that is alive. A camera is silent when it lags the
    newest stamp by more than ``SILENT_NS``, of slow cameras by one and a half periods; then the
    next one of the list takes over, nobody waits for the silent one, and it is taken back with its
    next image. A group is complete when every other living camera has an image captured at or
    after the anchor's, for then the nearest one is known; or when ``poll`` finds that it waited
    long enough. Cameras without an image near enough are left out of the group and counted. Stamps
    of groups grow, and no image is used twice.

    When the stamps of a camera jump back, a new lap of a recording begins and all is forgotten.
    Images of the lap before that come in late are told by their stamps and dropped.
    """

    def __init__(
        self, cameras: tuple[str, ...], tolerance_ns: int, on_jump: Callable[[], None]
    ) -> None:
        """Start without images.

        Args:
            cameras: The first one that is alive sets the time of a group.
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
        self._began_ns: int | None = None
        self._grouped_ns: int | None = None
        self._period_ns = 0
        # Stamps at which the lap before ended, of cameras not seen in this one; late images seen.
        self._ended: dict[str, int] = {}
        self._stragglers = 0

    def silent(self) -> tuple[str, ...]:
        """Cameras that nobody waits for."""
        return tuple(c for c in self.cameras if not self._alive(c))

    def push(self, image: Sighting) -> list[tuple[Sighting, ...]]:
        """Take an image; return the groups that are complete now."""
        last = self._last.get(image.camera)
        if last is not None and image.stamp_ns <= last:
            if image.stamp_ns > last - JUMP_BACK_NS:
                self.counts['stamp_backwards'] += 1
                return []
            ended = dict(self._last)
            self.reset()
            self._on_jump()
            del ended[image.camera]
            self._ended = ended
        elif self._of_the_lap_before(image):
            self.counts['stamp_of_the_lap_before'] += 1
            self._stragglers += 1
            return []
        self._ended.pop(image.camera, None)
        if last is not None and last < image.stamp_ns:
            self._period_ns = min(image.stamp_ns - last, _LONGEST_PERIOD_NS)
        self._last[image.camera] = image.stamp_ns
        if self._began_ns is None:
            self._began_ns = image.stamp_ns
        if len(self.cameras) == 1:
            return [(image,)]
        self._recent[image.camera].append(image)
        return self._take(None)

    def poll(self, now_ns: int) -> list[tuple[Sighting, ...]]:
        """Return the groups that waited for other cameras long enough."""
        return self._take(now_ns)

    def _of_the_lap_before(self, image: Sighting) -> bool:
        ended = self._ended.get(image.camera)
        newest = max(self._last.values(), default=None)
        # The last condition: a camera that really is that far ahead must not be shut out for good.
        return (
            ended is not None
            and newest is not None
            and image.stamp_ns > max(ended, newest + JUMP_BACK_NS)
            and self._stragglers < _KEPT * len(self.cameras)
        )

    def _alive(self, camera: str) -> bool:
        if self._began_ns is None:
            return True
        newest = max(self._last.values(), default=self._began_ns)
        patience = max(SILENT_NS, self._period_ns * 3 // 2)
        return self._last.get(camera, self._began_ns) >= newest - patience

    def _take(self, now_ns: int | None) -> list[tuple[Sighting, ...]]:
        out = []
        while (group := self._next(now_ns)) is not None:
            out.append(group)
        return out

    def _next(self, now_ns: int | None) -> tuple[Sighting, ...] | None:
        alive = [c for c in self.cameras if self._alive(c)]
        first, others = alive[0], [c for c in self.cameras if c != alive[0]]
        anchors = self._recent[first]
        # After a change of anchor: what lies before the last group would lead back in time.
        while anchors and self._grouped_ns is not None and anchors[0].stamp_ns <= self._grouped_ns:
            anchors.popleft()
            self.counts['passed_over'] += 1
        if not anchors:
            return None
        anchor = anchors[0]
        complete = all(self._last.get(c, -1) >= anchor.stamp_ns for c in alive[1:])
        late = now_ns is not None and now_ns > anchor.stamp_ns + 2 * self.tolerance_ns
        if not complete and not late and len(anchors) < _KEPT:
            return None
        anchors.popleft()
        self._grouped_ns = anchor.stamp_ns
        return (anchor, *filter(None, (self._near(c, anchor.stamp_ns) for c in others)))

    def _near(self, camera: str, stamp_ns: int) -> Sighting | None:
        recent = self._recent[camera]
        best = min(recent, key=lambda i: abs(i.stamp_ns - stamp_ns), default=None)
        if best is None or abs(best.stamp_ns - stamp_ns) > self.tolerance_ns:
            self.counts['camera_missing'] += 1
            return None
        while recent and recent[0].stamp_ns <= best.stamp_ns:
            recent.popleft()
        return best
