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


"""The receiver's gate: every kind of message is counted once, and only good ones are used."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from v2x_messages import MODEL, make_message

from cooptrack_core.errors import MessageError
from cooptrack_core.structures import InstanceMessage
from cooptrack_core.v2x import (
    InboxSettings,
    LinkModel,
    MessageInbox,
    Reason,
    Rejected,
    encode_message,
)

MS = 1_000_000
T0 = 1_700_000_000_000_000_000


def message(sequence: int = 0, at_ms: float = 0.0, **changes: object) -> InstanceMessage:
    fields = {'sequence': sequence, 'stamp_ns': T0 + round(at_ms * MS), 'session_id': 1}
    return make_message(2, 4, **{**fields, **changes})


def data(sequence: int = 0, at_ms: float = 0.0, **changes: object) -> bytes:
    return encode_message(message(sequence, at_ms, **changes), 'int8')


@pytest.fixture
def inbox() -> MessageInbox:
    return MessageInbox(MODEL, 'vehicle', InboxSettings(max_age_ns=300 * MS))


def reason(result: object) -> Reason:
    assert isinstance(result, Rejected)
    return result.reason


def now(ms: float) -> int:
    return T0 + round(ms * MS)


def test_a_good_message_is_accepted_and_handed_out_once(inbox):
    assert inbox.receive(data(), now(20))
    assert [m.agent_id for m in inbox.latest(now(20))] == ['roadside_1']
    assert inbox.latest(now(30)) == ()
    assert [m.sequence for m in inbox.latest(now(30), new_only=False)] == [0]
    assert inbox.latest(now(400), new_only=False) == ()  # by now it is too old


def test_each_bad_message_has_its_counted_reason(inbox):
    good = data()
    cases = [
        (good[:50], 'truncated'),
        (good + b'x', 'oversized'),
        (b'?' * 300, 'not_a_message'),
        (good[:-1] + bytes([good[-1] ^ 1]), 'checksum'),
        (data(model_id='another'), 'model'),
        (data(agent_id='vehicle'), 'own_echo'),
        (data(at_ms=-400), 'too_old'),
        (data(at_ms=500), 'from_future'),
    ]
    for raw, expected in cases:
        assert reason(inbox.receive(raw, now(0))) == expected
    assert inbox.receive(good, now(10))
    assert reason(inbox.receive(good, now(20))) == Reason.DUPLICATE
    stats = inbox.stats
    assert stats.rejected == {expected: 1 for _, expected in cases} | {'duplicate': 1}
    assert stats.received == 10
    assert stats.accepted == 1
    assert stats.bytes_received == sum(len(raw) for raw, _ in cases) + 2 * len(good)


def test_a_nan_inside_is_counted_by_its_reason(inbox):
    from test_codec import with_field

    raw = encode_message(message(), 'fp32')
    assert reason(inbox.receive(with_field(raw, 185, '<f', np.nan), now(0))) == Reason.NOT_FINITE


def test_a_message_on_another_agents_channel_is_refused(inbox):
    result = inbox.receive(data(), now(0), channel_agent_id='roadside_2')
    assert reason(result) == Reason.WRONG_TOPIC
    assert inbox.stats.peers['roadside_2'].rejected == {Reason.WRONG_TOPIC: 1}
    assert inbox.receive(data(), now(0), channel_agent_id='roadside_1')


def test_what_another_decoder_refused_is_counted_too(inbox):
    inbox.refuse(MessageError(Reason.MALFORMED, 'shape'), 99, 'roadside_1')
    assert inbox.stats.peers['roadside_1'].rejected == {Reason.MALFORMED: 1}
    assert inbox.stats.bytes_received == 99


def test_a_late_message_is_used_while_it_is_young_enough(inbox):
    assert inbox.receive(data(), now(299))
    assert len(inbox.latest(now(299))) == 1
    assert reason(inbox.receive(data(1, 0), now(301))) == Reason.TOO_OLD


def test_reordered_messages_are_taken_until_a_later_capture_was_used(inbox):
    assert inbox.receive(data(2, 200), now(210))
    assert inbox.receive(data(1, 100), now(220))  # late, not overtaken yet
    assert [m.sequence for m in inbox.latest(now(220))] == [2]
    assert reason(inbox.receive(data(0, 0), now(230))) == Reason.SUPERSEDED
    peer = inbox.stats.peers['roadside_1']
    assert (peer.accepted, peer.used, peer.overtaken) == (2, 1, 1)


def test_a_capture_after_the_asked_time_waits(inbox):
    assert inbox.receive(data(0, 0), now(500 - 300))
    assert inbox.receive(data(1, 300), now(310))
    assert [m.sequence for m in inbox.latest(now(150))] == [0]
    assert [m.sequence for m in inbox.latest(now(310))] == [1]


def test_a_restarted_sender_is_believed_and_its_old_session_is_not(inbox):
    assert inbox.receive(data(900, 0, session_id=1), now(5))
    assert inbox.receive(data(0, 100, session_id=2), now(105))
    assert reason(inbox.receive(data(901, 90, session_id=1), now(110))) == Reason.OLD_SESSION
    assert reason(inbox.receive(data(902, 190, session_id=1), now(195))) == Reason.OLD_SESSION
    assert inbox.receive(data(1, 200, session_id=2), now(205))
    assert inbox.stats.peers['roadside_1'].restarts == 1


def test_a_straggler_of_a_session_never_met_does_not_end_the_live_one(inbox):
    assert inbox.receive(data(5, 100, session_id=2), now(105))
    assert reason(inbox.receive(data(77, 50, session_id=1), now(110))) == Reason.OLD_SESSION
    assert inbox.receive(data(6, 200, session_id=2), now(205))


def test_a_sender_restarted_with_its_clock_behind_is_believed_after_a_silence(inbox):
    assert inbox.receive(data(0, 50, session_id=1), now(0))
    assert reason(inbox.receive(data(0, 40, session_id=2), now(100))) == Reason.OLD_SESSION
    assert inbox.receive(data(1, 45, session_id=2), now(320))


def test_an_agent_that_leaves_and_comes_back_is_used_again(inbox):
    for step in range(5):
        assert inbox.receive(data(step, step * 100), now(step * 100 + 10))
        assert len(inbox.latest(now(step * 100 + 10))) == 1
    assert inbox.latest(now(2000)) == ()
    for step in range(50, 53):
        assert inbox.receive(data(step, step * 100), now(step * 100 + 10))
        assert len(inbox.latest(now(step * 100 + 10))) == 1
    peer = inbox.stats.peers['roadside_1']
    assert (peer.accepted, peer.lost, peer.restarts) == (8, 45, 0)


def test_messages_come_out_sorted_by_agent_whatever_the_order_of_arrival(inbox):
    for name in ('roadside_2', 'vehicle_3', 'roadside_1', 'a'):
        assert inbox.receive(data(agent_id=name), now(0))
    assert [m.agent_id for m in inbox.latest(now(0))] == [
        'a', 'roadside_1', 'roadside_2', 'vehicle_3',
    ]  # fmt: skip
    assert inbox.agents == ('a', 'roadside_1', 'roadside_2', 'vehicle_3')


def test_memory_stays_bounded_under_a_flood_of_names_and_sequences():
    small = InboxSettings(max_agents=4, max_waiting=3, sequence_window=10)
    inbox = MessageInbox(MODEL, 'vehicle', small)
    for i in range(100):
        inbox.receive(data(agent_id=f'fake_{i}'), now(0))
        inbox.receive(data(i, i / 10, agent_id='fake_0'), now(i / 10))
    assert len(inbox.agents) == 4
    assert len(inbox.stats.peers) <= 4 * 4 + 2
    peer = inbox._peers['fake_0']
    assert len(peer.waiting) == 3
    assert len(peer.seen) <= 21
    stats = inbox.stats
    assert stats.received == 200 == stats.accepted + sum(stats.rejected.values())
    assert stats.rejected['too_many_agents'] == 96
    # Names that fell silent make room.
    assert inbox.receive(data(agent_id='real', at_ms=60_000), now(60_000))


def test_a_replay_from_before_the_window_is_a_duplicate():
    inbox = MessageInbox(MODEL, 'vehicle', InboxSettings(sequence_window=10))
    for i in range(40):
        assert inbox.receive(data(i, i), now(i))
    assert reason(inbox.receive(data(3, 3), now(41))) == Reason.DUPLICATE


def test_a_bag_that_loops_is_new_again(inbox):
    for _ in range(2):
        for step in range(10):
            assert inbox.receive(data(step, step * 100), now(step * 100 + 10))
            assert len(inbox.latest(now(step * 100 + 10))) == 1
    assert inbox.stats.accepted == 20


def test_reset_forgets_senders_and_keeps_counters(inbox):
    assert inbox.receive(data(), now(0))
    inbox.reset()
    assert inbox.latest(now(0)) == ()
    assert inbox.stats.peers['roadside_1'].expired == 1
    assert inbox.receive(data(), now(0))
    assert inbox.stats.accepted == 2


def test_the_statistics_read_like_a_sentence(inbox):
    inbox.receive(data(), now(20))
    inbox.receive(data(), now(30))
    text = str(inbox.stats)
    assert 'roadside_1: received 2, accepted 1, rejected 1 (duplicate 1)' in text
    assert 'mean age 20 ms' in text


def test_settings_that_would_let_old_messages_in_again_are_refused():
    with pytest.raises(ValueError, match='forget_after_ns'):
        InboxSettings(max_age_ns=10, forget_after_ns=10)
    with pytest.raises(ValueError, match='max_age_ns'):
        InboxSettings(max_age_ns=0)


@given(
    seed=st.integers(0, 1000), loss=st.floats(0, 0.5), latency=st.floats(0, 400),
    jitter=st.floats(0, 200), duplication=st.floats(0, 0.5),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_nothing_is_lost_silently_over_any_link(seed, loss, latency, jitter, duplication):
    random = np.random.default_rng(seed)
    link = LinkModel(latency, jitter, loss, seed, duplication)
    inbox = MessageInbox(MODEL, 'vehicle', InboxSettings(max_age_ns=300 * MS))
    handed, arrived, session, sequence = [], 0, 1, 0
    for step in range(60):
        t = now(step * 100)
        if random.random() < 0.03:
            session, sequence = session + 1, 0
        raw = data(sequence, step * 100, session_id=session)
        if random.random() < 0.1:
            raw = raw[: random.integers(0, len(raw))]
        sequence += 1
        link.send(raw, t)
        for delivery in link.receive(t + 50 * MS):
            arrived += 1
            inbox.receive(delivery.data, delivery.arrival_ns)
        handed += inbox.latest(t + 50 * MS)
    stats, peer = inbox.stats, inbox.stats.peers.get('roadside_1')
    assert stats.received == arrived == stats.accepted + sum(stats.rejected.values())
    assert arrived == link.stats.delivered
    assert link.stats.sent + link.stats.duplicated == (
        link.stats.delivered + link.stats.lost + link.stats.in_flight
    )
    # Handed out: each at most once, never backwards in time.
    stamps = [m.stamp_ns for m in handed]
    assert stamps == sorted(set(stamps))
    if peer is not None:
        waiting = sum(len(p.waiting) for p in inbox._peers.values())
        assert peer.accepted == peer.used + peer.overtaken + peer.expired + waiting
