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


"""V2X room: the receiver's gate. What peers send is checked, counted, ordered and handed out.

Rules, in the order of the checks:

1. The bytes decode (``codec``), and the message is not the receiver's own echo.
2. It is of the expected model.
3. It is not older than ``max_age`` and not further in the future than ``future_tolerance``.
4. Its session is the sender's current one, or a new one. A new session is believed when it brings
   a later capture than anything of the current session, or when the current one has been silent
   for ``max_age``. From then on the old session's stragglers are refused.
5. It was not received before (same session and sequence).
6. It is not overtaken: nothing captured later was handed out. A late message that is young enough
   and was not overtaken is used, also when it arrives after its successor.

``latest`` hands out, per sender, the newest capture that is not in the future of the question. By
default each message is handed out once: fusing the same evidence twice makes tracks overconfident;
between messages the tracker predicts. Received = accepted + rejected, per sender and in all,
whatever arrives. When the receiver's clock jumps back by more than ``max_age`` (a bag that loops),
all senders are forgotten, so that the replayed messages are new again. Memory is bounded by
``max_agents``, ``max_waiting`` and ``sequence_window``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from cooptrack_core.errors import MessageError
from cooptrack_core.structures import InstanceMessage
from cooptrack_core.v2x.checks import Limits
from cooptrack_core.v2x.codec import decode_message
from cooptrack_core.v2x.feature_code import FeatureCode
from cooptrack_core.v2x.reasons import Reason
from cooptrack_core.v2x.stats import InboxStats, PeerStats

UNKNOWN_AGENT = '(unknown)'


@dataclass(frozen=True)
class InboxSettings:
    """What the receiver takes.

    Attributes:
        max_age_ns: Oldest capture taken, relative to the receiver's clock.
        future_tolerance_ns: How far a sender's clock may run ahead.
        forget_after_ns: Silence after which a sender's state is dropped; at least max_age.
        max_agents: Most senders followed at a time.
        max_waiting: Most messages kept per sender until they are asked for.
        sequence_window: How many sequence numbers back a duplicate is recognised.
        limits: Sizes of a single message.
    """

    max_age_ns: int = 500_000_000
    future_tolerance_ns: int = 100_000_000
    forget_after_ns: int = 10_000_000_000
    max_agents: int = 64
    max_waiting: int = 16
    sequence_window: int = 1024
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Check that forgetting a sender cannot let an old message in again."""
        if self.max_age_ns <= 0 or self.future_tolerance_ns < 0:
            raise ValueError('max_age_ns must be positive, future_tolerance_ns not negative')
        if self.forget_after_ns < self.max_age_ns + self.future_tolerance_ns:
            raise ValueError('forget_after_ns must be at least max_age_ns + future_tolerance_ns')
        if min(self.max_agents, self.max_waiting, self.sequence_window) < 1:
            raise ValueError('max_agents, max_waiting and sequence_window must be at least 1')


class Message(Protocol):
    """What the gate must know of a message, whatever it carries."""

    @property
    def agent_id(self) -> str:
        """Sender."""
        ...

    @property
    def model_id(self) -> str:
        """Model of the features."""
        ...

    @property
    def session_id(self) -> int:
        """Random per start of the sender."""
        ...

    @property
    def sequence(self) -> int:
        """Number in the session."""
        ...

    @property
    def stamp_ns(self) -> int:
        """Capture time, ns, sender's clock."""
        ...


M = TypeVar('M', bound=Message)


@dataclass(frozen=True)
class Accepted(Generic[M]):
    """The message was taken."""

    message: M

    def __bool__(self) -> bool:
        """Return True."""
        return True


@dataclass(frozen=True)
class Rejected:
    """The message was dropped and counted."""

    reason: Reason
    detail: str
    agent_id: str

    def __bool__(self) -> bool:
        """Return False."""
        return False


@dataclass
class _Peer(Generic[M]):
    """What is remembered of one sender."""

    session_id: int
    heard_ns: int
    newest_ns: int
    highest_sequence: int = -1
    seen: set[int] = field(default_factory=set)
    used_ns: int | None = None
    last_used: M | None = None
    waiting: list[M] = field(default_factory=list)
    ended: deque[int] = field(default_factory=lambda: deque(maxlen=8))


class Inbox(Generic[M]):
    """Checks, counts and orders the messages of all peers of one receiver."""

    def __init__(
        self,
        expected_model_id: str | None,
        own_agent_id: str,
        settings: InboxSettings | None,
        decode: Callable[[bytes | memoryview], M],
    ) -> None:
        """Open an empty inbox.

        Args:
            expected_model_id: The only model whose features mean something here; None takes any
                (for recorders and viewers, not for fusion).
            own_agent_id: The receiver, whose echo is dropped.
            settings: What is taken.
            decode: Reads and checks the bytes on the air; raises MessageError alone.
        """
        self.expected_model_id = expected_model_id
        self.own_agent_id = own_agent_id
        self.settings = settings or InboxSettings()
        self._decode = decode
        self._peers: dict[str, _Peer[M]] = {}
        self._counters: dict[str, PeerStats] = {}
        self._clock_ns = -(2**63)

    def receive(
        self, data: bytes | memoryview, now_ns: int, *, channel_agent_id: str | None = None
    ) -> Accepted[M] | Rejected:
        """Take the bytes of one message.

        Args:
            data: The bytes on the air.
            now_ns: Time of arrival, receiver's clock.
            channel_agent_id: The only sender that may use this channel, when channels are per
                sender.

        Returns:
            What became of it; nothing is raised for a bad message.
        """
        try:
            message = self._decode(data)
        except MessageError as error:
            return self.refuse(error, len(data), channel_agent_id)
        return self.offer(message, now_ns, len(data), channel_agent_id=channel_agent_id)

    def refuse(self, error: MessageError, size: int, agent_id: str | None = None) -> Rejected:
        """Count a message that could not be decoded (by ``receive`` or by another decoder)."""
        counters = self._count_received(agent_id or UNKNOWN_AGENT, size)
        return self._reject(counters, Reason(error.reason), error.detail, agent_id)

    def offer(
        self,
        message: M,
        now_ns: int,
        size: int,
        *,
        channel_agent_id: str | None = None,
    ) -> Accepted[M] | Rejected:
        """Take a message that was decoded already; ``size`` is its bytes on the air."""
        agent_id = message.agent_id
        if channel_agent_id is not None and channel_agent_id != agent_id:
            # Counted where it came in: a sender must not spoil the figures of another.
            counters = self._count_received(channel_agent_id, size)
            return self._reject(counters, Reason.WRONG_TOPIC, f'claims {agent_id}', agent_id)
        counters = self._count_received(agent_id, size)
        self._follow_clock(now_ns)
        problem = self._check(message, now_ns)
        if problem is not None:
            return self._reject(counters, *problem, agent_id)
        self._store(message, now_ns, counters)
        counters.accepted += 1
        counters.last_stamp_ns = message.stamp_ns
        counters.last_age_ns = now_ns - message.stamp_ns
        counters.total_age_ns += counters.last_age_ns
        return Accepted(message)

    def latest(
        self, now_ns: int, *, new_only: bool = True, captured_until_ns: int | None = None
    ) -> tuple[M, ...]:
        """Hand out the newest usable message of each sender, sorted by agent id.

        Args:
            now_ns: Time for which they are wanted, receiver's clock (for fusion: the ego's
                capture time). Captures later than this plus the tolerance keep waiting.
            new_only: Hand each message out once; otherwise the last one is repeated while young.
            captured_until_ns: Captures later than this keep waiting instead, for a receiver that
                works behind real time.
        """
        self._follow_clock(now_ns)
        horizon = now_ns + self.settings.future_tolerance_ns
        if captured_until_ns is not None:
            horizon = captured_until_ns
        oldest = now_ns - self.settings.max_age_ns
        out = []
        for agent_id, peer in sorted(self._peers.items()):
            counters = self._counters_of(agent_id)
            usable = [m for m in peer.waiting if m.stamp_ns <= horizon]
            peer.waiting = [m for m in peer.waiting if m.stamp_ns > horizon]
            if usable:
                best = max(usable, key=lambda m: (m.stamp_ns, m.sequence))
                if best.stamp_ns >= oldest:
                    peer.used_ns, peer.last_used = best.stamp_ns, best
                    counters.used += 1
                    counters.overtaken += len(usable) - 1
                    out.append(best)
                    continue
                counters.expired += len(usable)
            repeat = peer.last_used
            if not new_only and repeat is not None and oldest <= repeat.stamp_ns <= horizon:
                out.append(repeat)
        return tuple(out)

    def reset(self) -> None:
        """Forget all senders and waiting messages (time jumped, new scene); counters stay."""
        for agent_id, peer in self._peers.items():
            self._counters_of(agent_id).expired += len(peer.waiting)
        self._peers.clear()
        self._clock_ns = -(2**63)

    @property
    def agents(self) -> tuple[str, ...]:
        """Senders followed now, sorted."""
        return tuple(sorted(self._peers))

    @property
    def stats(self) -> InboxStats:
        """Counts so far; a snapshot."""
        return InboxStats({name: peer.copy() for name, peer in sorted(self._counters.items())})

    def _check(self, message: M, now_ns: int) -> tuple[Reason, str] | None:
        settings = self.settings
        if message.agent_id == self.own_agent_id:
            return Reason.OWN_ECHO, ''
        if self.expected_model_id is not None and message.model_id != self.expected_model_id:
            return Reason.MODEL, f'model {message.model_id}, here {self.expected_model_id}'
        age_ns = now_ns - message.stamp_ns
        if age_ns > settings.max_age_ns:
            return Reason.TOO_OLD, f'{age_ns / 1e9:.3f} s old'
        if age_ns < -settings.future_tolerance_ns:
            return Reason.FROM_FUTURE, f'{-age_ns / 1e9:.3f} s ahead'
        peer = self._peers.get(message.agent_id)
        if peer is None:
            self._forget_silent(now_ns)
            if len(self._peers) >= settings.max_agents:
                return Reason.TOO_MANY_AGENTS, f'{len(self._peers)} senders'
            return None
        if message.session_id != peer.session_id:
            silent = now_ns - peer.heard_ns > settings.max_age_ns
            if message.session_id in peer.ended:
                return Reason.OLD_SESSION, f'session {message.session_id} has ended'
            if message.stamp_ns <= peer.newest_ns and not silent:
                return Reason.OLD_SESSION, 'captured before the current session'
            return None
        # Below the window a duplicate can no longer be told from a straggler; both are dropped.
        below = message.sequence <= peer.highest_sequence - settings.sequence_window
        if below or message.sequence in peer.seen:
            return Reason.DUPLICATE, f'sequence {message.sequence}'
        if peer.used_ns is not None and message.stamp_ns <= peer.used_ns:
            return Reason.SUPERSEDED, f'{(peer.used_ns - message.stamp_ns) / 1e9:.3f} s behind'
        return None

    def _store(self, message: M, now_ns: int, counters: PeerStats) -> None:
        peer = self._peers.get(message.agent_id)
        if peer is None or peer.session_id != message.session_id:
            ended: deque[int] = deque(maxlen=8)
            waiting: list[M] = []
            if peer is not None:
                ended = peer.ended
                ended.append(peer.session_id)
                waiting = peer.waiting
                counters.restarts += 1
            peer = _Peer(message.session_id, now_ns, message.stamp_ns, ended=ended)
            peer.waiting = waiting
            self._peers[message.agent_id] = peer
        if peer.highest_sequence >= 0:
            # A gap counts as lost until the missing message arrives after all.
            gap = message.sequence - peer.highest_sequence
            counters.lost = max(0, counters.lost + (gap - 1 if gap > 0 else -1))
        peer.heard_ns = now_ns
        peer.newest_ns = max(peer.newest_ns, message.stamp_ns)
        peer.highest_sequence = max(peer.highest_sequence, message.sequence)
        peer.seen.add(message.sequence)
        if len(peer.seen) > 2 * self.settings.sequence_window:
            oldest = peer.highest_sequence - self.settings.sequence_window
            peer.seen = {s for s in peer.seen if s > oldest}
        peer.waiting.append(message)
        if len(peer.waiting) > self.settings.max_waiting:
            peer.waiting.remove(min(peer.waiting, key=lambda m: (m.stamp_ns, m.sequence)))
            counters.overtaken += 1

    def _follow_clock(self, now_ns: int) -> None:
        if now_ns < self._clock_ns - self.settings.max_age_ns:
            self.reset()
            self._clock_ns = now_ns
        self._clock_ns = max(self._clock_ns, now_ns)

    def _forget_silent(self, now_ns: int) -> None:
        limit = now_ns - self.settings.forget_after_ns
        for agent_id in [a for a, peer in self._peers.items() if peer.heard_ns < limit]:
            self._counters_of(agent_id).expired += len(self._peers[agent_id].waiting)
            del self._peers[agent_id]

    def _count_received(self, agent_id: str, size: int) -> PeerStats:
        counters = self._counters_of(agent_id)
        counters.received += 1
        counters.bytes_received += size
        return counters

    def _counters_of(self, agent_id: str) -> PeerStats:
        # Names are the sender's to choose: beyond a number of them they share one row.
        if agent_id not in self._counters and len(self._counters) > 4 * self.settings.max_agents:
            agent_id = UNKNOWN_AGENT
        return self._counters.setdefault(agent_id, PeerStats())

    @staticmethod
    def _reject(
        counters: PeerStats, reason: Reason, detail: str, agent_id: str | None
    ) -> Rejected:
        counters.rejected[reason] = counters.rejected.get(reason, 0) + 1
        return Rejected(reason, detail, agent_id or UNKNOWN_AGENT)


class MessageInbox(Inbox[InstanceMessage]):
    """The inbox of instance messages."""

    def __init__(
        self,
        expected_model_id: str | None,
        own_agent_id: str,
        settings: InboxSettings | None = None,
        code: FeatureCode | None = None,
    ) -> None:
        """Open an empty inbox.

        Args:
            expected_model_id: As ``Inbox``.
            own_agent_id: As ``Inbox``.
            settings: What is taken.
            code: Of the expected model; without it compact messages are refused.
        """
        super().__init__(
            expected_model_id,
            own_agent_id,
            settings,
            lambda data: decode_message(data, self.settings.limits, self.code),
        )
        self.code = code
