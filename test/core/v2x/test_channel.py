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


"""A channel: a link per agent and topic, settings for all and for some, bounded memory."""

from __future__ import annotations

import pytest

from cooptrack_core.v2x.channel import Channel, ChannelSettings

MS = 1_000_000
FAR = 2**62


def send_all(channel, agents=('a', 'b'), count=200, topic='instance_features'):
    for i in range(count):
        for agent in agents:
            channel.send(agent, topic, i.to_bytes(4, 'big'), i * 100 * MS)


def test_the_same_seed_gives_the_same_deliveries_and_links_differ_from_each_other():
    def run(seed):
        channel = Channel(ChannelSettings(100.0, 30.0, 0.2, bandwidth_mbit_s=1.0), seed=seed)
        send_all(channel)
        return channel.due(FAR)

    first = run(1)
    assert first == run(1)
    assert first != run(2)
    by_agent = [[d for a, _, d in first if a == agent] for agent in 'ab']
    assert by_agent[0] != by_agent[1]
    assert [d.arrival_ns for _, _, d in first] == sorted(d.arrival_ns for _, _, d in first)


def test_an_agent_can_have_settings_of_its_own_and_gives_them_back():
    channel = Channel(ChannelSettings(latency_ms=10.0))
    channel.change(own={'a': {'loss': 1.0}})
    send_all(channel, count=5)
    assert {a for a, _, _ in channel.due(FAR)} == {'b'}
    channel.change(ChannelSettings(latency_ms=20.0))
    assert channel.settings('a') == ChannelSettings(latency_ms=20.0, loss=1.0)
    channel.change(own={})
    send_all(channel, count=1)
    assert {(a, d.arrival_ns) for a, _, d in channel.due(FAR)} == {('a', 20 * MS), ('b', 20 * MS)}


def test_topics_of_an_agent_have_links_of_their_own_and_their_number_is_bounded():
    channel = Channel(max_links=2)
    assert channel.send('a', 'one', b'1', 0)
    assert channel.send('a', 'two', b'2', 0)
    assert not channel.send('b', 'one', b'3', 0)
    assert [(t, d.data) for _, t, d in channel.due(0)] == [('one', b'1'), ('two', b'2')]


@pytest.mark.parametrize(
    'own', [{'a': {'loss': 1.5}}, {'a': {'nonsense': 1.0}}, {'a': {'bandwidth_mbit_s': -1.0}}]
)
def test_a_wrong_setting_changes_nothing(own):
    channel = Channel()
    send_all(channel, count=1)
    with pytest.raises(ValueError, match=r'loss|nonsense|bandwidth_mbit_s'):
        channel.change(ChannelSettings(latency_ms=50.0), own)
    assert channel.settings('a') == ChannelSettings()
    assert channel.links['a', 'instance_features'].latency_ms == 0.0


def test_bandwidth_is_in_megabits():
    channel = Channel(ChannelSettings(bandwidth_mbit_s=8.0))
    for _ in range(3):
        channel.send('a', 't', bytes(100_000), 0)
    assert [d.arrival_ns // MS for _, _, d in channel.due(FAR)] == [100, 200, 300]


def test_queues_are_bounded_and_a_jump_of_time_empties_them_as_lost():
    channel = Channel(ChannelSettings(latency_ms=1e6), max_in_flight=10)
    send_all(channel, count=50)
    assert channel.clear() == 20
    for link in channel.links.values():
        s = link.stats
        assert (s.sent, s.overflowed, s.cleared, s.in_flight) == (50, 40, 10, 0)
        assert s.sent + s.duplicated == s.delivered + s.lost + s.in_flight
    assert channel.due(FAR) == []
