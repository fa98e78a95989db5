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


"""V2X room: a radio link model with latency, jitter, loss, duplication and a rate limit."""

from __future__ import annotations

import heapq
import zlib
from dataclasses import dataclass, field

import numpy as np

_NS_PER_MS = 1_000_000


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
    """Counts of a link: sent + duplicated = delivered + lost + in_flight, always."""

    sent: int = 0
    duplicated: int = 0
    delivered: int = 0
    lost: int = 0
    in_flight: int = 0
    bytes_sent: int = 0
    bytes_delivered: int = 0


@dataclass
class LinkModel:
    """A one-way link. The same settings, seed and sends give the same deliveries.

    Latency of a message = queueing behind the rate limit + a normal draw (mean ``latency_ms``,
    deviation ``jitter_ms``, cut at zero), so jitter reorders. Every send draws the same number of
    random values whatever the settings: changing the loss does not change the delays.

    Attributes:
        latency_ms: Mean delay.
        jitter_ms: Standard deviation of the delay.
        loss: Probability in [0, 1] that a message never arrives.
        seed: Seed of the draws.
        duplication: Probability in [0, 1] that a message arrives twice.
        bytes_per_second: Rate limit, or None.
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
    stats: LinkStats = field(default_factory=LinkStats, init=False)

    def __post_init__(self) -> None:
        """Check the settings and empty the link."""
        for name in ('latency_ms', 'jitter_ms'):
            if not 0 <= getattr(self, name) < float('inf'):
                raise ValueError(f'{name} must be finite and not negative')
        for name in ('loss', 'duplication'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'{name} must lie in [0, 1]')
        if self.bytes_per_second is not None and not self.bytes_per_second > 0:
            raise ValueError('bytes_per_second must be positive or None')
        self._random = np.random.default_rng([self.seed, zlib.crc32(self.name.encode())])
        self._queue: list[tuple[int, int, Delivery]] = []
        self._count = 0
        self._free_ns = -(2**63)

    def send(self, data: bytes, t_ns: int) -> None:
        """Hand a message to the link at time ``t_ns``."""
        chance_loss, chance_duplicate = self._random.random(2)
        delays = np.maximum(self._random.normal(self.latency_ms, self.jitter_ms, 2), 0.0)
        self.stats.sent += 1
        self.stats.bytes_sent += len(data)
        start_ns = t_ns
        if self.bytes_per_second is not None:
            start_ns = max(t_ns, self._free_ns) + round(len(data) / self.bytes_per_second * 1e9)
            self._free_ns = start_ns
        if chance_loss < self.loss:
            self.stats.lost += 1
            return
        copies = 2 if chance_duplicate < self.duplication else 1
        self.stats.duplicated += copies - 1
        for delay in delays[:copies]:
            arrival_ns = start_ns + round(float(delay) * _NS_PER_MS)
            self._count += 1
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
            out.append(delivery)
        return out

    def next_arrival_ns(self) -> int | None:
        """Return when the next message arrives, or None when nothing is under way."""
        return self._queue[0][0] if self._queue else None
