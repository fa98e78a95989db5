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

"""Nodes room: messages of the peers on their way from the radio to the fusion.

The rule is that of ``cooptrack_core.perception.stream``: an ego frame waits up to ``wait`` after
its own capture and uses, per sender, the newest message captured no later than that. The wait
ends early when every sender has brought a capture at or after the frame's: what it sends next
belongs to a later frame, as agents capture less often than ``wait``.

Nothing that a peer sends may stall or end the receiver. Serialised messages pass, in this order:
the budget of the sender's channel, a walk through their lengths, the reader of the middleware,
the checks of the decoder, those of the inbox. Whatever fails is counted under its reason.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic

from cooptrack_core.errors import MessageError
from cooptrack_core.structures import BevFeature, InstanceMessage
from cooptrack_core.v2x import (
    Accepted,
    InboxSettings,
    InboxStats,
    MapInbox,
    MessageInbox,
    Reason,
    Rejected,
)
from cooptrack_core.v2x.budget import RateLimits, SenderBudget
from cooptrack_core.v2x.clocks import ClockEstimate, PeerClocks
from cooptrack_core.v2x.inbox import Inbox, M
from cooptrack_ros.conversions import (
    bev_from_message,
    bev_size,
    features_from_message,
    features_size,
    stamp_to_ns,
)
from cooptrack_ros.conversions.cdr import CdrChecker
from cooptrack_ros.nodes.latency import Arrival

_POLL_S = 0.005
# Dropped for their stamps alone: they tell most of all about the sender's clock.
_OF_WRONG_CLOCKS = (Reason.TOO_OLD, Reason.FROM_FUTURE)


class Gate(Generic[M]):
    """An inbox between the thread that receives and the thread that fuses."""

    def __init__(
        self,
        inbox: Inbox[M],
        wait_ns: int,
        world_frame: str,
        *,
        read: Callable[[Any], M],
        size_of: Callable[[Any], int],
        limits: RateLimits | None = None,
        checker: CdrChecker | None = None,
        deserialize: Callable[[bytes], Any] | None = None,
    ) -> None:
        """Start without messages.

        Args:
            inbox: Checks and counts.
            wait_ns: Longest wait after the capture of the ego frame.
            world_frame: Frame in which the poses of the senders must be given.
            read: Makes what the inbox takes of a ROS message; raises MessageError.
            size_of: Bytes of a ROS message on the air.
            limits: What each sender may send.
            checker: Walks through serialised messages; needed by ``receive_serialized``.
            deserialize: The middleware's reader; needed by ``receive_serialized``.
        """
        self.wait_ns = wait_ns
        self._inbox = inbox
        self._world_frame = world_frame
        self._read, self._size_of = read, size_of
        self._checker, self._deserialize = checker, deserialize
        most = inbox.settings.max_agents
        self._budget = SenderBudget(limits, most)
        self._clocks = PeerClocks(max_agents=most)
        self._newest: dict[str, int] = {}
        self._arrivals: dict[str, deque[Arrival]] = {}
        self._condition = threading.Condition()

    def change(
        self,
        *,
        wait_ns: int | None = None,
        settings: InboxSettings | None = None,
        limits: RateLimits | None = None,
    ) -> None:
        """Take other settings while running; what is not given stays."""
        with self._condition:
            self.wait_ns = self.wait_ns if wait_ns is None else wait_ns
            self._inbox.settings = settings or self._inbox.settings
            if limits is not None and limits != self._budget.limits:
                self._budget.change(limits)
            self._condition.notify_all()

    def receive_serialized(
        self, data: bytes, channel_agent_id: str, now_ns: int, steady_s: float
    ) -> Accepted[M] | Rejected:
        """Take a serialised ROS message; nothing is raised for a bad one.

        Args:
            data: What came.
            channel_agent_id: The agent whose topic it came on.
            now_ns: Time of arrival.
            steady_s: The same by a steady clock, s: floods are those of real time.
        """
        problem: MessageError | None = None
        message: Any = None
        with self._condition:
            why = self._budget.refusal(channel_agent_id, len(data), steady_s)
        try:
            if why is not None:
                raise MessageError(Reason.RATE_LIMITED, why)
            if self._checker is None or self._deserialize is None:
                raise TypeError('serialised messages need a checker and a reader')
            self._checker.check(data)
            message = self._deserialize(data)
        except MessageError as error:
            problem = error
        except Exception as error:  # middlewares raise what they like
            problem = MessageError(Reason.MALFORMED, f'{type(error).__name__}: {error}')
        if problem is not None:
            with self._condition:
                return self._inbox.refuse(problem, len(data), channel_agent_id)
        return self.receive(message, channel_agent_id, now_ns, size=len(data))

    def receive(
        self, message: Any, channel_agent_id: str, now_ns: int, *, size: int | None = None
    ) -> Accepted[M] | Rejected:
        """Take a ROS message; nothing is raised for a bad one.

        Args:
            message: What came.
            channel_agent_id: The agent whose topic it came on.
            now_ns: Time of arrival.
            size: Its bytes, for the counters, when they are known.
        """
        problem: MessageError | None = None
        published_ns: int | None = None
        decoded: M | None = None
        try:
            size = self._size_of(message) if size is None else size
            decoded = self._read(message)
            published_ns = stamp_to_ns(message.publish_stamp) or None
            if message.world_frame_id != self._world_frame:
                problem = MessageError(
                    Reason.MALFORMED,
                    f"its pose is in '{message.world_frame_id}', here in '{self._world_frame}'",
                )
        except MessageError as error:
            problem = error
        except (ValueError, TypeError, OverflowError, AttributeError) as error:
            # The decoder names all it knows; what it does not know must not end the node either.
            problem = MessageError(Reason.MALFORMED, f'{type(error).__name__}: {error}')
        with self._condition:
            if problem is not None or decoded is None:
                return self._inbox.refuse(
                    problem or MessageError(Reason.MALFORMED), size or 0, channel_agent_id
                )
            verdict = self._inbox.offer(
                decoded, now_ns, size or 0, channel_agent_id=channel_agent_id
            )
            if isinstance(verdict, Accepted) or verdict.reason in _OF_WRONG_CLOCKS:
                self._clocks.observe(decoded.agent_id, decoded.stamp_ns, now_ns, published_ns)
            if isinstance(verdict, Accepted):
                newest = self._newest.get(decoded.agent_id, decoded.stamp_ns)
                self._newest[decoded.agent_id] = max(newest, decoded.stamp_ns)
                arrival = Arrival(decoded.agent_id, decoded.stamp_ns, published_ns, now_ns)
                most = self._inbox.settings.max_waiting
                self._arrivals.setdefault(decoded.agent_id, deque(maxlen=most)).append(arrival)
                self._condition.notify_all()
            return verdict

    def wait(self, stamp_ns: int, now_ns: Callable[[], int], given_up: Callable[[], bool]) -> None:
        """Wait for the messages around an ego frame.

        Args:
            stamp_ns: Capture time of the frame.
            now_ns: The clock, which may stand still or jump.
            given_up: Whether the wait is of no use any more.
        """
        with self._condition:
            while not given_up() and now_ns() < stamp_ns + self.wait_ns:
                followed = self._inbox.agents
                if followed and all(self._newest.get(a, -1) >= stamp_ns for a in followed):
                    return
                self._condition.wait(_POLL_S)

    def messages(self, stamp_ns: int) -> tuple[M, ...]:
        """Hand out the newest young message of each sender for an ego frame.

        While nothing newer comes, a message is handed out again as long as it is young.

        Args:
            stamp_ns: Capture time of the frame.
        """
        with self._condition:
            return self._inbox.latest(
                stamp_ns, new_only=False, captured_until_ns=stamp_ns + self.wait_ns
            )

    def arrivals(self, messages: Iterable[M]) -> list[Arrival]:
        """When the messages that were handed out had come."""
        wanted = {(m.agent_id, m.stamp_ns) for m in messages}
        with self._condition:
            kept = [a for came in self._arrivals.values() for a in came]
        return [a for a in kept if (a.agent_id, a.capture_ns) in wanted]

    def reset(self) -> None:
        """Forget all senders; counters stay."""
        with self._condition:
            self._newest.clear()
            self._arrivals.clear()
            self._clocks.reset()
            self._inbox.reset()

    @property
    def stats(self) -> InboxStats:
        """Counts so far."""
        with self._condition:
            return self._inbox.stats

    def clocks(self, now_ns: int) -> dict[str, ClockEstimate]:
        """What is known of the senders' clocks, by agent id."""
        with self._condition:
            return self._clocks.estimates(now_ns)


class FusionGate(Gate[InstanceMessage]):
    """The gate of cooptrack_msgs/InstanceFeatures."""

    def __init__(
        self, inbox: MessageInbox, wait_ns: int, world_frame: str, **options: Any
    ) -> None:
        """Start without messages; ``options`` are those of ``Gate`` that have a default."""
        super().__init__(
            inbox,
            wait_ns,
            world_frame,
            read=lambda message: features_from_message(message, inbox.settings.limits),
            size_of=features_size,
            **options,
        )


class MapGate(Gate[BevFeature]):
    """The gate of cooptrack_msgs/BevFeature."""

    def __init__(self, inbox: MapInbox, wait_ns: int, world_frame: str, **options: Any) -> None:
        """Start without messages; ``options`` are those of ``Gate`` that have a default."""
        super().__init__(
            inbox,
            wait_ns,
            world_frame,
            read=lambda message: bev_from_message(message, inbox.limits),
            size_of=bev_size,
            **options,
        )
