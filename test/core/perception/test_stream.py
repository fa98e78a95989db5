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

"""The radio between the agents when a recording is replayed."""

from __future__ import annotations

from fakes import MS, FakeAgent, frame
from hypothesis import given, settings
from hypothesis import strategies as st

from cooptrack_core.perception.stream import EgoMoment, RadioStream, StreamOptions
from cooptrack_core.structures import AgentFrame
from cooptrack_core.v2x.inbox import InboxSettings, MessageInbox
from cooptrack_core.v2x.selection import Selection


def stream(options: StreamOptions | None = None, max_age_ms: int = 500) -> RadioStream:
    settings_ = InboxSettings(max_age_ns=max_age_ms * MS)
    inbox = MessageInbox('model', 'vehicle', settings_)
    return RadioStream('vehicle', lambda f: FakeAgent(f.agent_id), inbox, options)  # type: ignore[arg-type,return-value]


def replay(
    frames: list[AgentFrame], options: StreamOptions | None = None
) -> tuple[list[EgoMoment], RadioStream]:
    replayed = stream(options)
    return list(replayed.replay(frames)), replayed


def stamps(moment: EgoMoment) -> list[tuple[str, int]]:
    return [(m.agent_id, m.stamp_ns // MS) for m in moment.messages]


def test_the_ego_waits_for_a_message_captured_just_after_its_own_frame() -> None:
    frames = [frame('vehicle', 0), frame('roadside', 30), frame('vehicle', 100)]
    moments, _ = replay(frames, StreamOptions(repeat=False))
    assert stamps(moments[0]) == [('roadside', 30)]
    assert stamps(moments[1]) == []


def test_a_message_captured_after_the_wait_belongs_to_the_next_moment() -> None:
    moments, _ = replay([frame('vehicle', 0), frame('roadside', 60), frame('vehicle', 100)])
    assert stamps(moments[0]) == []
    assert stamps(moments[1]) == [('roadside', 60)]


def test_latency_delays_a_message_to_the_moment_it_arrives() -> None:
    frames = [
        frame('roadside', 0),
        frame('vehicle', 1),
        frame('vehicle', 101),
        frame('vehicle', 201),
    ]
    moments, _ = replay(frames, StreamOptions(latency_ms=120))
    assert [stamps(m) for m in moments] == [[], [('roadside', 0)], [('roadside', 0)]]
    moments, _ = replay(frames, StreamOptions(latency_ms=120, repeat=False))
    assert [stamps(m) for m in moments] == [[], [('roadside', 0)], []]


def test_the_last_message_is_fused_again_until_it_is_too_old() -> None:
    frames = [frame('roadside', 0)] + [frame('vehicle', t) for t in range(0, 800, 100)]
    moments, _ = replay(frames)
    assert [len(m.messages) for m in moments] == [1, 1, 1, 1, 1, 1, 0, 0]


def test_several_agents_are_handed_over_in_the_order_of_their_ids() -> None:
    frames = [frame(name, 0) for name in ('roadside_2', 'vehicle', 'roadside', 'roadside_10')]
    moments, _ = replay(frames)
    assert [name for name, _ in stamps(moments[0])] == ['roadside', 'roadside_10', 'roadside_2']


def test_a_recording_that_starts_again_resets_every_memory_and_fuses_again() -> None:
    once = [frame('roadside', 5000), frame('vehicle', 5001), frame('roadside', 6500)]
    moments, replayed = replay([*once, *once])
    agent = replayed.agents['roadside']
    assert isinstance(agent, FakeAgent)
    assert agent.resets == 1
    assert replayed.time_jumps == 1
    assert [stamps(m) for m in moments] == [[('roadside', 5000)]] * 2


def test_another_scene_resets_every_memory() -> None:
    moments, replayed = replay(
        [
            frame('roadside', 0),
            frame('vehicle', 1),
            frame('roadside', 2, sequence_id='b'),
            frame('vehicle', 3, sequence_id='b'),
        ]
    )
    assert [stamps(m) for m in moments] == [[('roadside', 0)], [('roadside', 2)]]
    assert replayed.time_jumps == 0


def test_an_agent_that_leaves_and_comes_back_is_heard_again() -> None:
    frames = []
    for t in range(0, 3000, 100):
        frames.append(frame('vehicle', t))
        if not 500 <= t < 2500:
            frames.append(frame('roadside', t + 10))
    moments, _ = replay(frames, StreamOptions(repeat=False))
    heard = [bool(m.messages) for m in moments]
    assert heard == [True] * 5 + [False] * 20 + [True] * 5


@settings(deadline=None, max_examples=15)
@given(
    loss=st.floats(0, 1),
    latency=st.floats(0, 300),
    jitter=st.floats(0, 100),
    seed=st.integers(0, 5),
    repeat=st.booleans(),
)
def test_every_ego_frame_gives_one_moment_and_every_message_is_accounted_for(
    loss: float, latency: float, jitter: float, seed: int, repeat: bool
) -> None:
    frames = sorted(
        [frame('vehicle', t) for t in range(0, 2000, 100)]
        + [frame('roadside', t + 13) for t in range(0, 2000, 100)],
        key=lambda f: f.stamp_ns,
    )
    options = StreamOptions(
        latency_ms=latency, jitter_ms=jitter, loss=loss, seed=seed, repeat=repeat
    )
    moments, replayed = replay(frames, options)
    assert [m.frame.stamp_ns for m in moments] == [t * MS for t in range(0, 2000, 100)]
    link = replayed.links['roadside'].stats
    assert link.sent == 20 == link.delivered + link.lost + link.in_flight
    counts = replayed.inbox.stats
    outcomes = [event.outcome for m in moments for event in m.events]
    assert outcomes.count('lost') == link.lost
    assert counts.received == link.delivered == len(outcomes) - link.lost
    assert counts.received == counts.accepted + sum(counts.rejected.values())
    for moment in moments:
        for used in moment.messages:
            # Never from beyond what the ego could have waited for, never too old.
            assert used.stamp_ns <= moment.now_ns
            assert moment.frame.stamp_ns - used.stamp_ns <= 500 * MS


def test_the_same_seed_gives_the_same_moments() -> None:
    frames = sorted(
        [frame('vehicle', t) for t in range(0, 3000, 100)]
        + [frame('roadside', t + 20) for t in range(0, 3000, 100)],
        key=lambda f: f.stamp_ns,
    )
    options = StreamOptions(latency_ms=80, jitter_ms=60, loss=0.3, seed=4)
    first, second = (replay(frames, options)[0] for _ in range(2))
    assert [stamps(m) for m in first] == [stamps(m) for m in second]
    other, _ = replay(frames, StreamOptions(latency_ms=80, jitter_ms=60, loss=0.3, seed=5))
    assert [stamps(m) for m in first] != [stamps(m) for m in other]


def test_a_sender_with_a_rate_of_its_own_sends_what_it_selects() -> None:
    frames = [
        f for t in range(0, 1000, 100) for f in (frame('roadside', t), frame('vehicle', t + 1))
    ]
    chosen = StreamOptions(selection=Selection(message_hz=2.0, most=1), repeat=False)
    moments, _ = replay(frames, chosen)
    assert [len(m.messages) for m in moments] == [1, 0, 0, 0, 0] * 2
    assert [len(message) for m in moments for message in m.messages] == [1, 1]
    assert len({m.remote_results['roadside'].message.stamp_ns for m in moments}) == 10
    assert [message.sequence for m in moments for message in m.messages] == [0, 1]
