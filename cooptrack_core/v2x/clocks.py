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

"""V2X room: how far a sender's clock is off, and how unevenly its messages arrive.

A message that was stamped ``s`` by the sender's clock and arrives at ``r`` of the receiver's shows
one number: ``d = r - s = offset + delay``, with offset = receiver's clock minus sender's clock.
From one-way traffic offset and delay cannot be told apart, by no method: a sender 30 ms behind
on a fast link looks like a sender in step on a link of 30 ms. What can be known is given here:

- An upper bound of the offset, for no message arrives before it is sent. With clocks that drift
  apart by at most ``max_drift``, each message of the past bounds the offset of now by
  ``d + max_drift * age``; the estimate is the smallest of these bounds in a sliding window. It is
  too large by the smallest delay of the window (less ``min_delay``, where one is known). A
  negative value is proof that the sender's clock runs ahead, by at least that much.
- How much the delay varies, which needs no clock in step.

With the time of sending (``publish_stamp``) the delay is that of the link. Without it the capture
time is taken, and the delay contains the sender's perception.

Late messages never move the bound. It follows at once when the offset falls. When the offset grows
by a step, or the way gets longer for good, it follows when the window has passed: until then the
two cannot be told from a congested link.

The bound is that of NTP's and PTP's clock filters (the sample of least delay is the best one),
with drift as in D. Mills, "Computer Network Time Synchronization", 2nd ed., ch. 3.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np

Reference = Literal['capture', 'publish']

_IQR_OF_NORMAL = 1.3489795  # quartile distance of a normal distribution of deviation 1


@dataclass(frozen=True)
class ClockSettings:
    """What is assumed of clocks and links.

    Attributes:
        window_ns: How long a message counts.
        max_samples: Most messages that count; bounds memory.
        max_drift: Fastest drift between two clocks, s/s; 100e-6: two crystals of 50 ppm that err
            in opposite directions.
        min_delay_ns: Smallest delay that the link can have, where known; taken off the bound.
    """

    window_ns: int = 10_000_000_000
    max_samples: int = 256
    max_drift: float = 100e-6
    min_delay_ns: int = 0

    def __post_init__(self) -> None:
        """Check the settings."""
        if self.window_ns <= 0 or self.max_samples < 1 or self.min_delay_ns < 0:
            raise ValueError('window and samples must be positive, min_delay_ns not negative')
        if not 0 <= self.max_drift < 1:
            raise ValueError('max_drift must lie in [0, 1)')


@dataclass(frozen=True)
class ClockEstimate:
    """What is known of a sender's clock and link.

    Attributes:
        offset_ns: Upper bound of receiver's clock minus sender's clock; negative: the sender's
            clock certainly runs ahead.
        jitter_ns: Deviation of the delay: quartile distance / 1.349, so that up to a quarter of
            late messages does not count. 0 with a single message.
        samples: Messages it rests on.
        reference: Which stamp of the sender is compared with the arrival.
    """

    offset_ns: int
    jitter_ns: int
    samples: int
    reference: Reference


class ClockFilter:
    """The sliding window of one sender. Integer nanoseconds: differences of stamps stay exact."""

    def __init__(self, settings: ClockSettings | None = None) -> None:
        """Start without messages."""
        self.settings = settings or ClockSettings()
        self._reference: Reference = 'capture'
        self._samples: deque[tuple[int, int]] = deque(maxlen=self.settings.max_samples)

    def observe(self, captured_ns: int, received_ns: int, published_ns: int | None = None) -> None:
        """Take the stamps of one message.

        Args:
            captured_ns: Capture time, sender's clock.
            received_ns: Arrival, receiver's clock.
            published_ns: When it was sent, sender's clock; None = unknown. One before the capture
                cannot be, and is ignored.
        """
        known = published_ns is not None and published_ns >= captured_ns
        reference: Reference = 'publish' if known else 'capture'
        if reference != self._reference:
            # The two differ by the time that perception takes; mixed they would mean nothing.
            self._samples.clear()
            self._reference = reference
        stamp_ns = published_ns if known and published_ns is not None else captured_ns
        self._samples.append((received_ns, received_ns - stamp_ns))
        self._expire(received_ns)

    def estimate(self, now_ns: int) -> ClockEstimate | None:
        """Say what is known at ``now_ns`` of the receiver's clock; None without messages."""
        self._expire(now_ns)
        if not self._samples:
            return None
        s = self.settings
        # abs: a receiver's clock that was set back a little is no reason for a tighter bound.
        offset = min(d + round(s.max_drift * abs(now_ns - at)) for at, d in self._samples)
        # Relative to the first: nanoseconds since 1970 do not fit a float exactly.
        base = self._samples[0][1]
        delays = np.array([d - base for _, d in self._samples], dtype=np.float64)
        low, high = np.percentile(delays, [25, 75])
        return ClockEstimate(
            offset_ns=offset - s.min_delay_ns,
            jitter_ns=round((float(high) - float(low)) / _IQR_OF_NORMAL),
            samples=len(self._samples),
            reference=self._reference,
        )

    def _expire(self, now_ns: int) -> None:
        oldest = now_ns - self.settings.window_ns
        while self._samples and self._samples[0][0] < oldest:
            self._samples.popleft()


class PeerClocks:
    """The clocks of all senders; the one that was silent longest makes room for a new one."""

    def __init__(self, settings: ClockSettings | None = None, max_agents: int = 64) -> None:
        """Start without senders.

        Args:
            settings: What is assumed of clocks and links.
            max_agents: Most senders followed at a time; names are the senders' to choose.
        """
        self.settings = settings or ClockSettings()
        self._max_agents = max_agents
        self._filters: dict[str, ClockFilter] = {}  # the longest silent first

    def observe(
        self, agent_id: str, captured_ns: int, received_ns: int, published_ns: int | None = None
    ) -> None:
        """Take the stamps of one message of a sender, as ``ClockFilter.observe``.

        Messages that are dropped for their age count as well: they are those of a wrong clock.
        """
        found = self._filters.pop(agent_id, None)
        if found is None:
            found = ClockFilter(self.settings)
            while len(self._filters) >= self._max_agents:
                del self._filters[next(iter(self._filters))]
        self._filters[agent_id] = found
        found.observe(captured_ns, received_ns, published_ns)

    def estimates(self, now_ns: int) -> dict[str, ClockEstimate]:
        """Say what is known of each sender that was heard inside the window, by agent id."""
        found = {name: clock.estimate(now_ns) for name, clock in sorted(self._filters.items())}
        return {name: estimate for name, estimate in found.items() if estimate is not None}

    def reset(self) -> None:
        """Forget all: the receiver's time jumped."""
        self._filters.clear()
