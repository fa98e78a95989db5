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


"""The radio link model: deterministic, and true to its settings."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooptrack_core.v2x import LinkModel

MS = 1_000_000


def run(link: LinkModel, count: int = 2000, size: int = 1) -> list[tuple[int, int]]:
    for i in range(count):
        link.send(i.to_bytes(4, 'little') * size, i * 100 * MS)
    return [(int.from_bytes(d.data[:4], 'little'), d.arrival_ns) for d in link.receive(2**62)]


def test_without_settings_everything_arrives_at_once():
    link = LinkModel()
    link.send(b'a', 5)
    assert link.next_arrival_ns() == 5
    assert [d.data for d in link.receive(5)] == [b'a']
    assert link.next_arrival_ns() is None


def test_the_same_seed_gives_the_same_deliveries_and_another_does_not():
    def make(seed: int, name: str = '') -> LinkModel:
        return LinkModel(100, 30, 0.2, seed, name=name)

    assert run(make(1)) == run(make(1))
    assert run(make(1)) != run(make(2))
    assert run(make(1, 'roadside_1')) != run(make(1, 'roadside_2'))


def test_loss_changes_which_arrive_but_not_when():
    whole = dict(run(LinkModel(100, 30, 0.0, 7)))
    lossy = dict(run(LinkModel(100, 30, 0.3, 7)))
    assert 0.65 < len(lossy) / len(whole) < 0.75
    assert all(whole[i] == t for i, t in lossy.items())


def test_latency_and_jitter_have_the_stated_mean_and_deviation_and_reorder():
    arrivals = run(LinkModel(300, 100, 0.0, 3), 5000)
    delays = np.array([t - i * 100 * MS for i, t in arrivals]) / MS
    assert abs(delays.mean() - 300) < 6
    assert abs(delays.std() - 100) < 5
    assert delays.min() >= 0
    order = [i for i, _ in arrivals]
    assert order != sorted(order)
    assert [t for _, t in arrivals] == sorted(t for _, t in arrivals)


def test_nothing_arrives_before_its_time():
    link = LinkModel(50)
    link.send(b'x', 0)
    assert link.receive(50 * MS - 1) == []
    assert len(link.receive(50 * MS)) == 1


def test_a_rate_limit_queues():
    link = LinkModel(bytes_per_second=1000.0)
    for _ in range(3):
        link.send(bytes(100), 0)
    assert [d.arrival_ns for d in link.receive(2**62)] == [100 * MS, 200 * MS, 300 * MS]


def test_duplicates_and_counts_add_up():
    link = LinkModel(10, 5, 0.2, 1, duplication=0.25)
    arrivals = run(link, 1000, size=10)
    stats = link.stats
    assert stats.delivered == len(arrivals)
    assert stats.sent + stats.duplicated == stats.delivered + stats.lost + stats.in_flight
    assert stats.in_flight == 0
    assert 150 < stats.duplicated < 250
    assert stats.bytes_delivered == 40 * stats.delivered


@pytest.mark.parametrize(
    'wrong',
    [{'loss': 1.5}, {'latency_ms': -1.0}, {'jitter_ms': float('inf')}, {'bytes_per_second': 0.0}],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LinkModel(**wrong)


def test_reordering_can_be_forbidden_and_the_delays_of_free_links_stay_what_they_were():
    free = run(LinkModel(300, 100, 0.1, 3))
    kept = run(LinkModel(300, 100, 0.1, 3, reordering=0.0))
    assert [i for i, _ in kept] == sorted(i for i, _ in free)
    early = dict(free)
    assert all(t >= early[i] for i, t in kept)
    some = [i for i, _ in run(LinkModel(300, 100, 0.1, 3, reordering=0.3))]
    swaps = [sum(a > b for a, b in itertools.pairwise(order)) for order in
             ([i for i, _ in free], some)]  # fmt: skip
    assert 0 < swaps[1] < swaps[0]


def test_a_full_queue_loses_and_memory_stays_bounded():
    link = LinkModel(10_000, max_in_flight=20, max_bytes_in_flight=1000, bytes_per_second=1e6)
    for i in range(500):
        link.send(bytes(90), i)
        assert link.stats.in_flight <= 11  # 11 of 90 bytes
    assert link.stats.overflowed == link.stats.lost == 489
    link.change(max_bytes_in_flight=None)
    for i in range(500):
        link.send(bytes(90), i)
    assert link.stats.in_flight == 20
    assert len(link.receive(2**62)) == 20


changes = st.fixed_dictionaries(
    {},
    optional={
        'latency_ms': st.floats(0, 500),
        'jitter_ms': st.floats(0, 300),
        'loss': st.floats(0, 1),
        'duplication': st.floats(0, 1),
        'reordering': st.floats(0, 1),
        'bytes_per_second': st.none() | st.floats(1, 1e6),
        'max_in_flight': st.none() | st.integers(1, 20),
        'max_bytes_in_flight': st.none() | st.integers(1, 2000),
    },
)
steps = st.lists(st.tuples(changes, st.integers(0, 200), st.booleans()), max_size=40)


@given(steps)
def test_counts_add_up_whatever_changes_while_messages_are_under_way(steps):
    link, now, arrived = LinkModel(100, 50, 0.2, 5, duplication=0.2), 0, []
    for settings, size, cleared in steps:
        link.change(**settings)
        for _ in range(3):
            link.send(bytes(size), now)
            now += 50 * MS
        if cleared:
            link.clear()
        arrived += link.receive(now)
        s = link.stats
        assert s.sent + s.duplicated == s.delivered + s.lost + s.in_flight
        assert s.overflowed + s.cleared <= s.lost
        assert min(s.delivered, s.lost, s.in_flight) >= 0
        if link.max_in_flight is not None and 'max_in_flight' not in settings:
            assert s.in_flight <= 60 + link.max_in_flight
    arrived += link.receive(2**62)
    assert link.stats.in_flight == 0
    assert link.stats.delivered == len(arrived)
    assert all(d.arrival_ns >= d.sent_ns for d in arrived)


@given(steps)
def test_where_no_message_may_overtake_none_does(steps):
    link, now, sent = LinkModel(100, 50, 0.0, 5, reordering=0.0), 0, 0
    arrived = []
    for settings, _, _ in steps:
        settings = {k: v for k, v in settings.items() if k != 'reordering'}
        link.change(**settings)
        for _ in range(3):
            link.send(sent.to_bytes(4, 'big'), now)
            sent, now = sent + 1, now + 20 * MS
        arrived += link.receive(now)
    arrived += link.receive(2**62)
    order = [d.data for d in arrived]
    assert order == sorted(order)


def test_a_wrong_change_changes_nothing():
    link = LinkModel(10)
    with pytest.raises(ValueError, match='loss'):
        link.change(latency_ms=20.0, loss=2.0)
    with pytest.raises(ValueError, match='seed'):
        link.change(seed=3)
    assert (link.latency_ms, link.loss) == (10, 0.0)


def test_what_is_under_way_when_settings_change_arrives_as_planned():
    link = LinkModel(100)
    link.send(b'a', 0)
    link.change(latency_ms=10.0, loss=1.0)
    link.send(b'b', 0)
    assert [(d.data, d.arrival_ns) for d in link.receive(2**62)] == [(b'a', 100 * MS)]
    assert link.stats.mean_delay_s == 0.1
