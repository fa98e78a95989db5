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
from cooptrack_core.perception.air import Air, RadioEvent
from cooptrack_core.perception.disturbance import Disturbance
from cooptrack_core.perception.map_stream import MapMoment, MapRadio
from cooptrack_core.structures import AgentFrame, InstanceMessage
from cooptrack_core.v2x.codec import Wire, encode_message
from cooptrack_core.v2x.inbox import InboxSettings, MessageInbox
from cooptrack_core.v2x.link import LinkModel
from cooptrack_core.v2x.selection import Outbox, Selection

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
        repeat: Fuse the newest message of a sender again, moved over its greater age, while
            nothing newer arrives and it is young enough, instead of once.
        max_age_ms: Oldest capture the ego takes, as ``InboxSettings``.
        future_tolerance_ms: How far ahead of the ego's clock a capture may be stamped.
        compensate: Messages are moved over their age to the ego's time. False fuses them as if
            they were captured at the ego's time.
        disturbance: What is wrong with the remote agents.
        selection: What senders leave out; they know the ego's pose and view as it was at its
            newest frame (its own awareness messages, whose bytes are not counted).
    """

    dtype: Wire = 'int8'
    wait_ms: float = 50.0
    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    seed: int = 0
    repeat: bool = True
    max_age_ms: float = _SAFE.max_age_ns / _NS_PER_MS
    future_tolerance_ms: float = _SAFE.future_tolerance_ns / _NS_PER_MS
    compensate: bool = True
    disturbance: Disturbance = field(default_factory=Disturbance)
    selection: Selection = field(default_factory=Selection)

    def link(self, name: str) -> LinkModel:
        """The link of a sender."""
        return LinkModel(self.latency_ms, self.jitter_ms, self.loss, self.seed, name=name)

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
        maps: What the ego has of the others' maps; None where maps are not sent.
    """

    frame: AgentFrame
    now_ns: int
    messages: tuple[InstanceMessage, ...]
    events: tuple[RadioEvent, ...]
    remote_frames: dict[str, AgentFrame]
    remote_results: dict[str, AgentResult]
    maps: MapMoment | None = None


class RadioStream:
    """Replays frames of several agents; see the module.

    Args:
        ego_id: The agent that fuses.
        make_agent: Builds the perception of a remote agent at its first frame; None when no
            instances are exchanged, only maps.
        inbox: The ego's inbox.
        options: Settings of the radio.
        on_message: Called with all instances a remote agent sends, also what is lost later.
        maps: Where maps are sent too; of the disturbances it feels blind cameras alone.
    """

    def __init__(
        self,
        ego_id: str,
        make_agent: Callable[[AgentFrame], AgentPerception] | None,
        inbox: MessageInbox,
        options: StreamOptions | None = None,
        on_message: Callable[[AgentResult], None] | None = None,
        maps: MapRadio | None = None,
    ) -> None:
        """Start without any agent; see the class."""
        self.ego_id = ego_id
        self.inbox = inbox
        self.options = options or StreamOptions()
        self.maps = maps
        self.agents: dict[str, AgentPerception] = {}
        self.time_jumps = 0
        self._make_agent = make_agent
        self._on_message = on_message
        self._pending: list[AgentFrame] = []
        self._recent: list[tuple[AgentFrame, AgentResult | None]] = []
        self._air = Air(inbox, self.options.link, len)
        self._outboxes: dict[str, Outbox] = {}
        self._ego_frame: AgentFrame | None = None
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
            self._ego_frame = frame
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
        self._air.reset()
        if self.maps is not None:
            self.maps.reset()
        self._pending.clear()
        self._recent.clear()
        for outbox in self._outboxes.values():
            outbox.reset()
        self._ego_frame = None
        self._newest_ns = None

    @property
    def links(self) -> dict[str, LinkModel]:
        """The link of each agent that has sent instances."""
        return self._air.links

    def _sense(self, frame: AgentFrame) -> None:
        """Let a remote agent perceive and send."""
        frame = self.options.disturbance.frame(frame)
        if self.maps is not None:
            self.maps.sense(frame)
        result = None if self._make_agent is None else self._send(frame, self._make_agent)
        self._recent.append((frame, result))

    def _send(
        self, frame: AgentFrame, make_agent: Callable[[AgentFrame], AgentPerception]
    ) -> AgentResult:
        """Perceive instances and give to the radio what is selected."""
        agent = self.agents.get(frame.agent_id)
        if agent is None:
            agent = self.agents[frame.agent_id] = make_agent(frame)
        result = agent.process(frame)
        outbox = self._outboxes.setdefault(frame.agent_id, Outbox(self.options.selection))
        message = outbox.take(result.message, self._ego_frame)
        if message is None:
            return result
        message = self.options.disturbance.sent(message)
        if message is not result.message:
            result = replace(result, message=message)
        if self._on_message is not None:
            self._on_message(result)
        compact = self.options.dtype == 'compact'
        code = agent.model.code if compact else None
        if compact and code is None:
            raise InputError(
                'these weights hold no feature code',
                path=agent.model.path,
                field='--dtype',
                remedy='use int8, or make them with "cooptrack halve --code-data"',
            )
        self._air.send(
            frame.agent_id, encode_message(message, self.options.dtype, code), frame.stamp_ns
        )
        return result

    def _moment(self, frame: AgentFrame) -> EgoMoment:
        now_ns = frame.stamp_ns + round(self.options.wait_ms * _NS_PER_MS)
        events = self._air.receive(now_ns)
        maps = None if self.maps is None else self.maps.moment(frame.stamp_ns, now_ns)
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
            events,
            {agent_id: found[0] for agent_id, found in newest.items()},
            {agent_id: found[1] for agent_id, found in newest.items() if found[1] is not None},
            maps,
        )

    def _fusible(self, stamp_ns: int) -> tuple[InstanceMessage, ...]:
        """Messages for an ego frame of that time, as the fusion shall see them."""
        options = self.options
        messages = self.inbox.latest(stamp_ns, new_only=not options.repeat)
        messages = tuple(options.disturbance.received(message) for message in messages)
        if options.compensate:
            return messages
        return tuple(replace(message, stamp_ns=stamp_ns) for message in messages)
