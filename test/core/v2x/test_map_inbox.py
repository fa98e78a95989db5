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

"""The gate for BEV features: what is taken, what is dropped and why, and what is handed out."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from v2x_messages import MODEL, make_feature, make_message

from cooptrack_core.geometry import MapGrid
from cooptrack_core.v2x import BevLimits, InboxSettings, MapInbox, encode_bev, encode_message

MS = 1_000_000
T0 = 1_000_000 * MS
LIMITS = BevLimits(grid=MapGrid(4, 5, 3.125), channels=3)


def inbox(**changes) -> MapInbox:
    return MapInbox(MODEL, 'ego', InboxSettings(**changes), LIMITS)


def sent(agent='a', sequence=0, stamp_ms=0, **changes) -> bytes:
    fields = {'agent_id': agent, 'sequence': sequence, 'stamp_ns': T0 + stamp_ms * MS}
    return encode_bev(make_feature(**{**fields, **changes}))


def test_the_newest_young_map_of_each_agent_is_handed_out():
    box = inbox()
    for agent, sequence, stamp in (('b', 0, 0), ('a', 0, 0), ('a', 2, 200), ('a', 1, 100)):
        assert box.receive(sent(agent, sequence, stamp), T0 + 200 * MS)
    found = box.latest(T0 + 210 * MS, new_only=False)
    assert [(f.agent_id, f.stamp_ns - T0) for f in found] == [('a', 200 * MS), ('b', 0)]
    # The maps take part again while they are young; b's is too old by now.
    again = box.latest(T0 + 600 * MS, new_only=False)
    assert [f.agent_id for f in again] == ['a']
    assert box.latest(T0 + 600 * MS) == ()


def test_every_rejection_has_a_counted_reason():
    box = inbox()
    for data, now_ms, reason in (
        (sent(), 0, None),
        (sent(), 0, 'duplicate'),
        (sent('b', model_id='other'), 0, 'model'),
        (sent('ego'), 0, 'own_echo'),
        (sent('a', 1, -10, session_id=9), 0, 'old_session'),
        (sent('b', rows=5), 0, 'grid'),
        (sent('b', grid=MapGrid(4, 5, 2.0)), 0, 'grid'),
        (sent('b', channels=4), 0, 'channels'),
        (sent('b')[:-1], 0, 'truncated'),
        (encode_message(make_message()), 0, 'not_a_message'),
        (sent('b', stamp_ms=-499), 2, 'too_old'),
        (sent('b', stamp_ms=103), 2, 'from_future'),
    ):
        verdict = box.receive(data, T0 + now_ms * MS)
        assert (None if verdict else verdict.reason) == reason
    stats = box.stats
    assert (stats.received, stats.accepted) == (12, 1)
    assert sum(stats.rejected.values()) == 11 and stats.rejected['grid'] == 2


def test_what_is_wrong_with_one_agent_does_not_keep_the_others_out():
    box = inbox()
    box.receive(sent('a', rows=5), T0)
    box.receive(b'junk', T0)
    assert box.receive(sent('b'), T0)
    assert [f.agent_id for f in box.latest(T0)] == ['b']


@given(
    st.lists(
        st.tuples(
            st.sampled_from('abc'), st.integers(0, 5), st.integers(-900, 300), st.booleans()
        ),
        max_size=25,
    )
)
@settings(max_examples=50, deadline=None)
def test_received_is_always_accepted_plus_rejected_and_nothing_old_comes_out(events):
    box = inbox()
    for agent, sequence, stamp, damaged in events:
        data = sent(agent, sequence, stamp)
        box.receive(data[:-3] if damaged else data, T0)
    stats = box.stats
    assert stats.received == len(events)
    assert stats.accepted + sum(stats.rejected.values()) == stats.received
    found = box.latest(T0, new_only=False)
    assert [f.agent_id for f in found] == sorted({f.agent_id for f in found})
    assert all(-500 * MS <= f.stamp_ns - T0 <= 100 * MS for f in found)
