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

"""Settings of radio links as parameters: for all agents, for one, and given back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooptrack_core.errors import InputError
from cooptrack_core.v2x.channel import Channel, ChannelSettings
from cooptrack_ros.bags import names
from cooptrack_ros.nodes.health import OK, WARN, PerSecond
from cooptrack_ros.nodes.links import link_health, own_names, settings_of, with_own
from cooptrack_ros.nodes.parameters import SHARED, ChannelParameters

NAN = float('nan')


def test_parameters_and_links_have_the_same_settings_at_the_same_defaults():
    assert settings_of(ChannelParameters()) == ChannelSettings()
    assert tuple(name.split('.')[1] for name in own_names('roadside')) == SHARED
    assert all('NaN' in text for text in own_names('roadside').values())


def test_an_agent_takes_a_value_of_its_own_and_gives_it_back():
    own = with_own({}, {'roadside.loss': 0.5, 'roadside.latency_ms': 300.0, 'b.loss': NAN})
    assert own == {'roadside': {'loss': 0.5, 'latency_ms': 300.0}}
    assert with_own(own, {'roadside.loss': NAN}) == {'roadside': {'latency_ms': 300.0}}
    assert with_own(own, {'roadside.loss': NAN, 'roadside.latency_ms': NAN}) == {}


def test_other_parameters_are_not_looked_at():
    assert with_own({}, {'loss': 2.0, 'use_sim_time': True, 'qos_overrides./clock.depth': 5}) == {}


@pytest.mark.parametrize('value', [1.5, -0.1, 1, True, 'much', float('inf')])
def test_an_impossible_value_is_refused_with_its_name_and_changes_nothing(value):
    own = {'roadside': {'loss': 0.5}}
    with pytest.raises(InputError) as error:
        with_own(own, {'roadside.loss': value})
    assert error.value.field == 'roadside.loss'
    assert own == {'roadside': {'loss': 0.5}}


@given(st.lists(st.tuples(st.sampled_from(SHARED), st.floats(0, 1) | st.just(NAN)), max_size=20))
def test_what_counts_is_the_last_value(changes):
    own, last = {}, {}
    for name, value in changes:
        own = with_own(own, {f'a.{name}': value})
        last[name] = value
    kept = {name: value for name, value in last.items() if value == value}
    assert own == ({'a': kept} if kept else {})
    Channel().change(own=own)  # what is taken can be used


def test_the_topics_of_both_sides_belong_together():
    sent = names.sent_topic('roadside', 'instance_features')
    assert names.parse_sent_topic(sent) == ('roadside', 'instance_features')
    assert names.air_topic('roadside', 'instance_features') == names.features_topic('roadside')
    assert names.parse_sent_topic(names.features_topic('roadside')) is None
    assert names.parse_sent_topic('/v2x_tx/roadside') is None
    assert names.parse_sent_topic('/v2x_tx/a/bev/features') == ('a', 'bev/features')


def test_health_tells_when_nobody_sends_and_when_a_queue_is_full():
    channel, rates = Channel(ChannelSettings(latency_ms=1e4), max_in_flight=2), PerSecond()
    assert [line.level for line in link_health(channel.links, rates, 0.0)] == [WARN]
    channel.send('a', 't', b'x', 0)
    assert [line.level for line in link_health(channel.links, rates, 1.0)] == [OK]
    for _ in range(5):
        channel.send('a', 't', b'x', 0)
    (line,) = link_health(channel.links, rates, 2.0)
    assert (line.level, line.values['overflowed'], line.values['in_flight']) == (WARN, 4, 2)
