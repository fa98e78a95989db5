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

"""Nodes room: which event of a recording is due when. Time is given, so it is testable."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

# ROS time before the first and after the last event of a lap: subscribers see the clock jump
# before the first messages of the new lap, and the last frame gets its wait.
PAUSE_NS = 600_000_000
# A step ends so long before the next one.
_BEFORE_NS = 1_000_000


@dataclass(frozen=True)
class Tick:
    """What is to be done now.

    Attributes:
        now_ns: Time of /clock.
        due: Indices of the events to publish, in order.
        new_lap: Whether a lap begins: announce everything anew.
        ended: Whether all is played.
    """

    now_ns: int
    due: range
    new_lap: bool
    ended: bool


class Playback:
    """Runs through stamps at a rate, once or again and again; may be paused and stepped.

    Attributes:
        rate: Speed; 1 = as recorded. May be set at any time.
    """

    def __init__(
        self,
        stamps_ns: Sequence[int],
        rate: float,
        loop: bool,
        *,
        paused: bool = False,
        steps_ns: Sequence[int] = (),
    ) -> None:
        """Stand before the first stamp.

        Args:
            stamps_ns: Times of the events, sorted, at least one.
            rate: 1 = as recorded.
            loop: Start anew at the end.
            paused: Whether time stands still at first.
            steps_ns: Sorted times; a step plays on over one of them, to just before the next.
        """
        if not stamps_ns or rate <= 0:
            raise ValueError('at least one event and a rate above 0 are needed')
        self.rate = rate
        self._stamps, self._steps = stamps_ns, steps_ns or stamps_ns
        self._loop = loop
        self._next = 0
        self._begin_ns = stamps_ns[0] - PAUSE_NS
        self._end_ns = stamps_ns[-1] + PAUSE_NS
        self._now_ns = float(self._begin_ns)
        # Time stops there; None = nowhere.
        self._stop_ns: float | None = self._now_ns if paused else None
        self._last_s: float | None = None

    @property
    def paused(self) -> bool:
        """Whether time stands still, or will when the step that is played is over."""
        return self._stop_ns is not None

    def pause(self) -> None:
        """Stand still from now on."""
        self._stop_ns = self._now_ns

    def resume(self) -> None:
        """Go on."""
        self._stop_ns = None

    def step(self) -> None:
        """Play on over the next step and stand still before the one behind it, or at the end."""
        from_ns = self._now_ns if self._stop_ns is None else self._stop_ns
        behind = bisect.bisect_right(self._steps, from_ns) + 1
        over = behind >= len(self._steps)
        self._stop_ns = float(self._end_ns if over else self._steps[behind] - _BEFORE_NS)

    def tick(self, steady_s: float) -> Tick:
        """Tell what is due at a moment of a steady clock, s."""
        new_lap = self._last_s is None
        passed_s = 0.0 if self._last_s is None else steady_s - self._last_s
        self._last_s = steady_s
        now_ns = self._now_ns + passed_s * self.rate * 1e9
        if self._stop_ns is not None:
            now_ns = max(self._now_ns, min(now_ns, self._stop_ns))
        over = now_ns >= self._end_ns
        if over and self._loop and self._next == len(self._stamps):
            self._now_ns, self._next = float(self._begin_ns), 0
            if self._stop_ns is not None:
                self._stop_ns = self._now_ns
            return Tick(self._begin_ns, range(0), True, False)
        self._now_ns = now_ns
        first = self._next
        while self._next < len(self._stamps) and self._stamps[self._next] <= now_ns:
            self._next += 1
        return Tick(round(now_ns), range(first, self._next), new_lap, over and not self._loop)
