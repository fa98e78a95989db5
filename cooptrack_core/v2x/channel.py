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

"""V2X room: the links of all agents, whose settings change while messages are under way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from cooptrack_core.v2x.link import Delivery, LinkModel

_BYTES_PER_MBIT = 125_000.0


@dataclass(frozen=True)
class ChannelSettings:
    """What a link does to messages.

    Attributes:
        latency_ms: Mean delay, ms.
        jitter_ms: Standard deviation of the delay, ms.
        loss: Probability in [0, 1] that a message never arrives.
        duplication: Probability in [0, 1] that a message arrives twice.
        reordering: Probability in [0, 1] that a message may overtake earlier ones.
        bandwidth_mbit_s: Rate limit, Mbit/s; 0 = none.

    Raises:
        ValueError: A value is impossible.
    """

    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 1.0
    bandwidth_mbit_s: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0 <= self.bandwidth_mbit_s < float('inf'):
            raise ValueError('bandwidth_mbit_s must be finite and not negative')
        LinkModel(**self.of_link())  # type: ignore[arg-type]

    def of_link(self) -> dict[str, float | None]:
        """The same as settings of a LinkModel."""
        out: dict[str, float | None] = asdict(self)
        del out['bandwidth_mbit_s']
        limited = self.bandwidth_mbit_s > 0
        out['bytes_per_second'] = self.bandwidth_mbit_s * _BYTES_PER_MBIT if limited else None
        return out


class Channel:
    """One link per agent and topic, opened when it is first used.

    Attributes:
        links: By agent id and topic.
    """

    def __init__(
        self,
        settings: ChannelSettings | None = None,
        *,
        seed: int = 0,
        max_links: int = 64,
        max_in_flight: int = 1000,
        max_bytes_in_flight: int = 64 * 1024 * 1024,
    ) -> None:
        """Open no link yet.

        Args:
            settings: Of all links; perfect ones by default.
            seed: The same seed, settings and sends give the same deliveries.
            max_links: Most links; agents come and go, and memory is to stay bounded.
            max_in_flight: Most messages under way per link.
            max_bytes_in_flight: Most bytes under way per link.
        """
        self.links: dict[tuple[str, str], LinkModel] = {}
        self._base = settings or ChannelSettings()
        self._own: dict[str, dict[str, float]] = {}
        self._seed, self._max_links = seed, max_links
        self._bounds = {'max_in_flight': max_in_flight, 'max_bytes_in_flight': max_bytes_in_flight}

    def change(
        self,
        settings: ChannelSettings | None = None,
        own: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        """Take other settings from the next message on; what is under way arrives as planned.

        Args:
            settings: Of all links; None = as before.
            own: By agent id what differs for its links, by name; None = as before.

        Raises:
            ValueError: A value is impossible; nothing is changed then.
        """
        base = settings or self._base
        chosen = self._own if own is None else {name: dict(one) for name, one in own.items()}
        try:
            made = {name: replace(base, **one) for name, one in chosen.items()}
        except TypeError as error:
            raise ValueError(str(error)) from error
        self._base, self._own = base, chosen
        for (agent_id, _), link in self.links.items():
            link.change(**made.get(agent_id, base).of_link())

    def settings(self, agent_id: str) -> ChannelSettings:
        """What holds for the links of an agent."""
        return replace(self._base, **self._own.get(agent_id, {}))

    def open(self, agent_id: str, topic: str) -> LinkModel | None:
        """Return the link of an agent and topic; None when there are as many as there may be."""
        link = self.links.get((agent_id, topic))
        if link is None and len(self.links) < self._max_links:
            link = LinkModel(
                seed=self._seed,
                name=f'{agent_id}/{topic}',
                **self.settings(agent_id).of_link(),  # type: ignore[arg-type]
                **self._bounds,
            )
            self.links[agent_id, topic] = link
        return link

    def send(self, agent_id: str, topic: str, data: bytes, now_ns: int) -> bool:
        """Hand a message to its link; False when there is no link for it."""
        link = self.open(agent_id, topic)
        if link is not None:
            link.send(data, now_ns)
        return link is not None

    def due(self, now_ns: int) -> list[tuple[str, str, Delivery]]:
        """Take what arrives until ``now_ns``, of all links in order of arrival."""
        out = [
            (agent_id, topic, delivery)
            for (agent_id, topic), link in self.links.items()
            for delivery in link.receive(now_ns)
        ]
        return sorted(out, key=lambda item: item[2].arrival_ns)

    def clear(self) -> int:
        """Throw away what is under way (time jumped); it counts as lost. Returns how many."""
        return sum(link.clear() for link in self.links.values())
