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

"""Frames of all agents in, moments of the ego out, with the radio in between.

This is what replays a dataset or a bag: remote frames become messages, which are really encoded,
sent through the link model, decoded and checked; an ego frame becomes an :class:`EgoMoment` that
holds the messages the ego may fuse. Live nodes have a real radio and use the inbox directly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from cooptrack_core.errors import InputError
from cooptrack_core.perception.agent import AgentPerception, AgentResult
from cooptrack_core.perception.disturbance import Disturbance
from cooptrack_core.structures import AgentFrame, InstanceMessage
from cooptrack_core.v2x.codec import Wire, encode_message
from cooptrack_core.v2x.inbox import Accepted, InboxSettings, MessageInbox
from cooptrack_core.v2x.link import LinkModel

_NS_PER_MS = 1_000_000
# A stamp this much older than the newest one is a jump back in time (a bag that loops), not the
# skew between two agents' clocks.
_JUMP_BACK_NS = 1_000 * _NS_PER_MS
_SAFE = InboxSettings()


@dataclass(frozen=True)
class StreamOptions:
    """Settings of the radio between the agents.

    Attributes:
        dtype: Form of the messages on the air.
        wait_ms: How long the ego waits after its own frame for messages captured around it.
        latency_ms: Mean latency of a message.
        jitter_ms: Standard deviation of the latency.
        loss: Share of messages lost, 0 to 1.
        seed: Seed of the link model.
        repeat: Fuse the newest message of a sender again while nothing newer arrives and it is
            young enough, instead of once.
        max_age_ms: Oldest capture the ego takes, as ``InboxSettings``.
        future_tolerance_ms: How far ahead of the ego's clock a capture may be stamped.
        compensate: Messages are moved over their age to the ego's time. False fuses them as if
            they were captured at the ego's time.
        disturbance: What is wrong with the remote agents.
    """

    dtype: Wire = 'int8'
    wait_ms: float = 50.0
    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    seed: int = 0
    repeat: bool = False
    max_age_ms: float = _SAFE.max_age_ns / _NS_PER_MS
    future_tolerance_ms: float = _SAFE.future_tolerance_ns / _NS_PER_MS
    compensate: bool = True
    disturbance: Disturbance = field(default_factory=Disturbance)

    def inbox_settings(self) -> InboxSettings:
        """What the ego's inbox takes.

        Raises:
            ValueError: The ages are impossible.
        """
        age_ns = round(self.max_age_ms * _NS_PER_MS)
        ahead_ns = round(self.future_tolerance_ms * _NS_PER_MS)
        return InboxSettings(
            max_age_ns=age_ns,
            future_tolerance_ns=ahead_ns,
            forget_after_ns=max(_SAFE.forget_after_ns, age_ns + ahead_ns),
        )


@dataclass(frozen=True, eq=False)
class RadioEvent:
    """One message that reached the ego, or was lost on the way.

    Attributes:
        agent_id: Who sent it.
        size: Bytes on the air.
        sent_ns: When it was sent.
        arrival_ns: When it arrived; None when it was lost.
        outcome: ``accepted``, ``lost``, or the reason of the rejection.
        instances: How many instances it holds; 0 when it was not accepted.
    """

    agent_id: str
    size: int
    sent_ns: int
    arrival_ns: int | None
    outcome: str
    instances: int


@dataclass(frozen=True, eq=False)
class EgoMoment:
    """All that the ego has when it processes one of its frames.

    Attributes:
        frame: The ego frame.
        now_ns: Time of processing: frame time plus the wait.
        messages: Per remote agent the newest message that is young enough, by agent id; without
            compensation stamped as the frame.
        events: What the radio brought since the previous moment.
        remote_frames: Newest frame of each remote agent. For pictures and baselines only.
        remote_results: What each remote agent made of it. For baselines only: nothing but
            ``messages`` may influence the ego's tracks. Tracks in it have the right pose and
            time whatever the disturbance.
    """

    frame: AgentFrame
    now_ns: int
    messages: tuple[InstanceMessage, ...]
    events: tuple[RadioEvent, ...]
    remote_frames: dict[str, AgentFrame]
    remote_results: dict[str, AgentResult]


class RadioStream:
    """Replays frames of several agents; see the module.

    Args:
        ego_id: The agent that fuses.
        make_agent: Builds the perception of a remote agent at its first frame.
        inbox: The ego's inbox.
        options: Settings of the radio.
        on_message: Called with everything a remote agent sends, also what is lost later.
    """

    def __init__(
        self,
        ego_id: str,
        make_agent: Callable[[AgentFrame], AgentPerception],
        inbox: MessageInbox,
        options: StreamOptions | None = None,
        on_message: Callable[[AgentResult], None] | None = None,
    ) -> None:
        """Start without any agent; see the class."""
        self.ego_id = ego_id
        self.inbox = inbox
        self.options = options or StreamOptions()
        self.links: dict[str, LinkModel] = {}
        self.agents: dict[str, AgentPerception] = {}
        self.time_jumps = 0
        self._make_agent = make_agent
        self._on_message = on_message
        self._pending: list[AgentFrame] = []
        self._recent: list[tuple[AgentFrame, AgentResult]] = []
        self._lost: list[RadioEvent] = []
        self._newest_ns: int | None = None
        self._sequence_id: str | None = None

    def replay(self, frames: Iterable[AgentFrame]) -> Iterator[EgoMoment]:
        """Push all frames, then flush."""
        for frame in frames:
            yield from self.push(frame)
        yield from self.flush()

    def push(self, frame: AgentFrame) -> Iterator[EgoMoment]:
        """Take the next frame of any agent, in order of time; yield the moments now complete."""
        jumped = self._newest_ns is not None and frame.stamp_ns < self._newest_ns - _JUMP_BACK_NS
        changed = self._sequence_id is not None and frame.sequence_id != self._sequence_id
        if jumped or changed:
            yield from self.flush()
            self.reset()
            self.time_jumps += jumped
        self._sequence_id = frame.sequence_id
        self._newest_ns = max(frame.stamp_ns, self._newest_ns or frame.stamp_ns)
        wait_ns = round(self.options.wait_ms * _NS_PER_MS)
        while self._pending and self._pending[0].stamp_ns + wait_ns < frame.stamp_ns:
            yield self._moment(self._pending.pop(0))
        if frame.agent_id == self.ego_id:
            self._pending.append(frame)
        else:
            self._sense(frame)

    def flush(self) -> Iterator[EgoMoment]:
        """Yield the moments still waiting for messages; call at the end."""
        while self._pending:
            yield self._moment(self._pending.pop(0))

    def reset(self) -> None:
        """Forget everything that belongs to the past: time jumped or the scene changed."""
        for agent in self.agents.values():
            agent.reset()
        self.inbox.reset()
        self.links.clear()
        self._pending.clear()
        self._recent.clear()
        self._lost.clear()
        self._newest_ns = None

    def _sense(self, frame: AgentFrame) -> None:
        """Let a remote agent perceive and send."""
        agent = self.agents.get(frame.agent_id)
        if agent is None:
            agent = self.agents[frame.agent_id] = self._make_agent(frame)
        frame = self.options.disturbance.frame(frame)
        result = agent.process(frame)
        message = self.options.disturbance.sent(result.message)
        if message is not result.message:
            result = replace(result, message=message)
        self._recent.append((frame, result))
        if self._on_message is not None:
            self._on_message(result)
        link = self.links.get(frame.agent_id)
        if link is None:
            o = self.options
            link = LinkModel(o.latency_ms, o.jitter_ms, o.loss, o.seed, name=frame.agent_id)
            self.links[frame.agent_id] = link
        compact = self.options.dtype == 'compact'
        code = agent.model.code if compact else None
        if compact and code is None:
            raise InputError(
                'these weights hold no feature code',
                path=agent.model.path,
                field='--dtype',
                remedy='use int8, or make them with "cooptrack halve --code-data"',
            )
        data = encode_message(message, self.options.dtype, code)
        lost_before = link.stats.lost
        link.send(data, frame.stamp_ns)
        if link.stats.lost > lost_before:
            self._lost.append(
                RadioEvent(frame.agent_id, len(data), frame.stamp_ns, None, 'lost', 0)
            )

    def _moment(self, frame: AgentFrame) -> EgoMoment:
        now_ns = frame.stamp_ns + round(self.options.wait_ms * _NS_PER_MS)
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
                    len(verdict.message) if isinstance(verdict, Accepted) else 0,
                )
            )
        # Frames sensed after this moment belong to a later one.
        visible = [item for item in self._recent if item[0].stamp_ns <= now_ns]
        newest = {f.agent_id: (f, r) for f, r in visible}
        self._recent = [
            item
            for item in self._recent
            if item[0].stamp_ns > now_ns or newest[item[0].agent_id][0] is item[0]
        ]
        return EgoMoment(
            frame,
            now_ns,
            self._fusible(frame.stamp_ns),
            tuple(events),
            {agent_id: pair[0] for agent_id, pair in newest.items()},
            {agent_id: pair[1] for agent_id, pair in newest.items()},
        )

    def _fusible(self, stamp_ns: int) -> tuple[InstanceMessage, ...]:
        """Messages for an ego frame of that time, as the fusion shall see them."""
        options = self.options
        messages = self.inbox.latest(stamp_ns, new_only=not options.repeat)
        messages = tuple(options.disturbance.received(message) for message in messages)
        if options.compensate:
            return messages
        return tuple(replace(message, stamp_ns=stamp_ns) for message in messages)
