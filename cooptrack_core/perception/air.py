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

"""The simulated radio of one kind of message: links in, the ego's inbox at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

from cooptrack_core.v2x.inbox import Accepted, Inbox, M
from cooptrack_core.v2x.link import LinkModel


@dataclass(frozen=True, eq=False)
class RadioEvent:
    """One message that reached the ego, or was lost on the way.

    Attributes:
        agent_id: Who sent it.
        size: Bytes on the air.
        sent_ns: When it was sent.
        arrival_ns: When it arrived; None when it was lost.
        outcome: ``accepted``, ``lost``, or the reason of the rejection.
        instances: How many instances it holds; 0 when it was not accepted, and for maps.
    """

    agent_id: str
    size: int
    sent_ns: int
    arrival_ns: int | None
    outcome: str
    instances: int


class Air(Generic[M]):
    """One link per sender, all ending in the same inbox.

    Args:
        inbox: The ego's.
        make_link: Link of a sender, by its agent id.
        count: Instances in a message.
    """

    def __init__(
        self,
        inbox: Inbox[M],
        make_link: Callable[[str], LinkModel],
        count: Callable[[M], int],
    ) -> None:
        """Start without any link; see the class."""
        self.inbox = inbox
        self.links: dict[str, LinkModel] = {}
        self._make_link = make_link
        self._count = count
        self._lost: list[RadioEvent] = []

    def send(self, agent_id: str, data: bytes, sent_ns: int) -> None:
        """Give a message to the sender's link."""
        link = self.links.get(agent_id)
        if link is None:
            link = self.links[agent_id] = self._make_link(agent_id)
        lost_before = link.stats.lost
        link.send(data, sent_ns)
        if link.stats.lost > lost_before:
            self._lost.append(RadioEvent(agent_id, len(data), sent_ns, None, 'lost', 0))

    def receive(self, now_ns: int) -> tuple[RadioEvent, ...]:
        """Let the inbox have what has arrived; what came, or was lost, since the last call."""
        arrivals = [
            (delivery, agent_id)
            for agent_id, link in self.links.items()
            for delivery in link.receive(now_ns)
        ]
        arrivals.sort(key=lambda item: (item[0].arrival_ns, item[1]))
        events = [event for event in self._lost if event.sent_ns <= now_ns]
        self._lost = [event for event in self._lost if event.sent_ns > now_ns]
        for delivery, agent_id in arrivals:
            verdict = self.inbox.receive(delivery.data, now_ns)
            events.append(
                RadioEvent(
                    agent_id,
                    len(delivery.data),
                    delivery.sent_ns,
                    delivery.arrival_ns,
                    'accepted' if isinstance(verdict, Accepted) else str(verdict.reason),
                    self._count(verdict.message) if isinstance(verdict, Accepted) else 0,
                )
            )
        return tuple(events)

    def reset(self) -> None:
        """Forget what is under way and what was received."""
        self.inbox.reset()
        self.links.clear()
        self._lost.clear()
