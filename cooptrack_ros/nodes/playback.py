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

from collections.abc import Sequence
from dataclasses import dataclass

# ROS time before the first and after the last event of a lap: subscribers see the clock jump
# before the first messages of the new lap, and the last frame gets its wait.
PAUSE_NS = 600_000_000


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
    """Runs through stamps at a rate, once or again and again."""

    def __init__(self, stamps_ns: Sequence[int], rate: float, loop: bool) -> None:
        """Stand before the first stamp.

        Args:
            stamps_ns: Times of the events, sorted, at least one.
            rate: 1 = as recorded.
            loop: Start anew at the end.
        """
        if not stamps_ns or rate <= 0:
            raise ValueError('at least one event and a rate above 0 are needed')
        self._stamps = stamps_ns
        self._rate = rate
        self._loop = loop
        self._next = 0
        self._lap_began_s: float | None = None

    def tick(self, steady_s: float) -> Tick:
        """Tell what is due at a moment of a steady clock, s."""
        begin_ns = self._stamps[0] - PAUSE_NS
        new_lap = self._lap_began_s is None
        if self._lap_began_s is None:
            self._lap_began_s = steady_s
        now_ns = begin_ns + round((steady_s - self._lap_began_s) * self._rate * 1e9)
        over = now_ns >= self._stamps[-1] + PAUSE_NS
        if over and self._loop and self._next == len(self._stamps):
            self._lap_began_s, self._next = steady_s, 0
            return Tick(begin_ns, range(0), True, False)
        first = self._next
        while self._next < len(self._stamps) and self._stamps[self._next] <= now_ns:
            self._next += 1
        return Tick(now_ns, range(first, self._next), new_lap, over and not self._loop)
