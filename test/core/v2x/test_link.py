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

import numpy as np
import pytest

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
