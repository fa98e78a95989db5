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


"""V2X room: a radio link model.

Latency, jitter, loss, duplication, reordering, a rate limit and a bounded queue; all may change
while messages are under way.
"""

from __future__ import annotations

import heapq
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_NS_PER_MS = 1_000_000
_LONG_AGO_NS = -(2**63)


@dataclass(frozen=True)
class Delivery:
    """One message that arrived.

    Attributes:
        data: The bytes as sent.
        sent_ns: When it was handed to the link, ns.
        arrival_ns: When it came out, ns.
    """

    data: bytes
    sent_ns: int
    arrival_ns: int


@dataclass
class LinkStats:
    """Counts of a link: sent + duplicated = delivered + lost + in_flight, always.

    Attributes:
        sent: Messages handed to the link.
        duplicated: Copies that the link made.
        delivered: Messages and copies that came out.
        lost: Messages and copies that never will; those that found the queue full and those that
            ``clear`` threw away are among them.
        in_flight: Messages and copies under way.
        bytes_sent: Bytes of ``sent``.
        bytes_delivered: Bytes of ``delivered``.
        overflowed: Of the lost, those that found the queue full.
        cleared: Of the lost, those thrown away by ``clear``.
        total_delay_ns: Sum of the delays of the delivered, for the mean.
    """

    sent: int = 0
    duplicated: int = 0
    delivered: int = 0
    lost: int = 0
    in_flight: int = 0
    bytes_sent: int = 0
    bytes_delivered: int = 0
    overflowed: int = 0
    cleared: int = 0
    total_delay_ns: int = 0

    @property
    def mean_delay_s(self) -> float:
        """Mean delay of the delivered, s; NaN without any."""
        return self.total_delay_ns / self.delivered / 1e9 if self.delivered else float('nan')


@dataclass
class LinkModel:
    """A one-way link. The same settings, seed and sends give the same deliveries.

    Latency of a message = queueing behind the rate limit + a normal draw (mean ``latency_ms``,
    deviation ``jitter_ms``, cut at zero), so jitter reorders. Every send draws the same number of
    random values whatever the settings: changing the loss does not change the delays.
    ``reordering`` is the probability that a message may overtake: where it may not, it waits for
    its predecessors; 1 lets jitter reorder freely, 0 keeps the order of sending.

    Attributes:
        latency_ms: Mean delay.
        jitter_ms: Standard deviation of the delay.
        loss: Probability in [0, 1] that a message never arrives.
        seed: Seed of the draws.
        duplication: Probability in [0, 1] that a message arrives twice.
        bytes_per_second: Rate limit, or None.
        reordering: Probability in [0, 1] that a message may overtake earlier ones.
        max_in_flight: Most messages under way, or None; more are lost.
        max_bytes_in_flight: Most bytes under way, or None; more are lost.
        name: Mixed into the seed, so that links of one experiment differ.
        stats: Counts so far.

    Raises:
        ValueError: A setting is negative or no probability.
    """

    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    seed: int = 0
    duplication: float = 0.0
    bytes_per_second: float | None = None
    name: str = ''
    reordering: float = 1.0
    max_in_flight: int | None = None
    max_bytes_in_flight: int | None = None
    stats: LinkStats = field(default_factory=LinkStats, init=False)

    def __post_init__(self) -> None:
        """Check the settings and empty the link."""
        self._check()
        seeds = [self.seed, zlib.crc32(self.name.encode())]
        self._random = np.random.default_rng(seeds)
        # Of its own, so that links without control of the order draw as they always did.
        self._order_random = np.random.default_rng([*seeds, 1])
        self._queue: list[tuple[int, int, Delivery]] = []
        self._count = 0
        self._bytes_in_flight = 0
        self._free_ns = self._latest_ns = _LONG_AGO_NS

    def change(self, **settings: Any) -> None:
        """Take other settings from the next message on; what is under way arrives as planned.

        Args:
            settings: Names and values of attributes; what is not given stays. ``seed`` and
                ``name`` belong to the link for good.

        Raises:
            ValueError: A setting is unknown or impossible; nothing is changed then.
        """
        unknown = set(settings) - set(CHANGEABLE)
        if unknown:
            raise ValueError(f'{min(unknown)} cannot be changed; these can: {list(CHANGEABLE)}')
        before = {name: getattr(self, name) for name in settings}
        for name, value in settings.items():
            setattr(self, name, value)
        try:
            self._check()
        except ValueError:
            for name, value in before.items():
                setattr(self, name, value)
            raise
        if 'bytes_per_second' in settings:
            # The queue in front of the old rate is gone with it.
            self._free_ns = _LONG_AGO_NS

    def clear(self) -> int:
        """Throw away what is under way (time jumped); it counts as lost. Returns how many."""
        thrown = len(self._queue)
        self._queue.clear()
        self._bytes_in_flight = 0
        self._free_ns = self._latest_ns = _LONG_AGO_NS
        self.stats.in_flight -= thrown
        self.stats.lost += thrown
        self.stats.cleared += thrown
        return thrown

    def _check(self) -> None:
        for name in ('latency_ms', 'jitter_ms'):
            if not 0 <= getattr(self, name) < float('inf'):
                raise ValueError(f'{name} must be finite and not negative')
        for name in ('loss', 'duplication', 'reordering'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name} must lie in [0, 1]')
        if self.bytes_per_second is not None and not self.bytes_per_second > 0:
            raise ValueError('bytes_per_second must be positive or None')
        for name in ('max_in_flight', 'max_bytes_in_flight'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f'{name} must be at least 1, or None')

    def send(self, data: bytes, t_ns: int) -> None:
        """Hand a message to the link at time ``t_ns``."""
        chance_loss, chance_duplicate = self._random.random(2)
        may_overtake = self._order_random.random(2) < self.reordering
        delays = np.maximum(self._random.normal(self.latency_ms, self.jitter_ms, 2), 0.0)
        self.stats.sent += 1
        self.stats.bytes_sent += len(data)
        if self._full(len(data)):
            # The queue in front of the radio: what finds it full does not cost rate either.
            self.stats.lost += 1
            self.stats.overflowed += 1
            return
        start_ns = t_ns
        if self.bytes_per_second is not None:
            start_ns = max(t_ns, self._free_ns) + round(len(data) / self.bytes_per_second * 1e9)
            self._free_ns = start_ns
        if chance_loss < self.loss:
            self.stats.lost += 1
            return
        copies = 2 if chance_duplicate < self.duplication else 1
        self.stats.duplicated += copies - 1
        for delay, overtakes in zip(delays[:copies], may_overtake, strict=False):
            if self._full(len(data)):
                self.stats.lost += 1
                self.stats.overflowed += 1
                continue
            arrival_ns = start_ns + round(float(delay) * _NS_PER_MS)
            if not overtakes:
                arrival_ns = max(arrival_ns, self._latest_ns)
            self._latest_ns = max(self._latest_ns, arrival_ns)
            self._count += 1
            self._bytes_in_flight += len(data)
            delivery = Delivery(data, t_ns, arrival_ns)
            heapq.heappush(self._queue, (arrival_ns, self._count, delivery))
            self.stats.in_flight += 1

    def receive(self, until_ns: int) -> list[Delivery]:
        """Take what arrives up to and including ``until_ns``, in order of arrival."""
        out = []
        while self._queue and self._queue[0][0] <= until_ns:
            delivery = heapq.heappop(self._queue)[2]
            self.stats.in_flight -= 1
            self.stats.delivered += 1
            self.stats.bytes_delivered += len(delivery.data)
            self.stats.total_delay_ns += delivery.arrival_ns - delivery.sent_ns
            self._bytes_in_flight -= len(delivery.data)
            out.append(delivery)
        return out

    def next_arrival_ns(self) -> int | None:
        """Return when the next message arrives, or None when nothing is under way."""
        return self._queue[0][0] if self._queue else None

    def _full(self, size: int) -> bool:
        many, much = self.max_in_flight, self.max_bytes_in_flight
        return (many is not None and len(self._queue) >= many) or (
            much is not None and self._bytes_in_flight + size > much
        )


# Settings of a link that may change while it runs.
CHANGEABLE = (
    'latency_ms', 'jitter_ms', 'loss', 'duplication', 'bytes_per_second', 'reordering',
    'max_in_flight', 'max_bytes_in_flight',
)  # fmt: skip
