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

"""How v2x_channel_node is wired: agents found on the air, bytes through, settings while running.

With stand-ins for rclpy; the node itself runs on ROS 2 in test/launch.
"""

from __future__ import annotations

import math

import pytest
import ros_stubs

TYPE = 'cooptrack_msgs/msg/InstanceFeatures'
TX, AIR = '/v2x_tx/roadside/instance_features', '/v2x/roadside/instance_features'
MS = 1_000_000


@pytest.fixture
def start(monkeypatch):
    ros_stubs.install(monkeypatch)
    from cooptrack_ros.nodes.channel import ChannelNode

    def make(topics=((TX, TYPE),), **overrides):
        node = ros_stubs.FakeNode('v2x_channel', overrides.pop('own', {}) | overrides, topics)
        return node, ChannelNode(node)

    return make


def test_what_an_agent_sends_comes_out_as_the_same_bytes_after_its_delay(start):
    node, _ = start(latency_ms=100.0)
    assert node.subscribed[TX].raw
    node.subscribed[TX].callback(b'anything')
    node.now_ns += 99 * MS
    node.run_timers()
    assert node.published[AIR] == []
    node.now_ns += MS
    node.run_timers()
    assert node.published[AIR] == [b'anything']
    (link,) = node.published['/cooptrack/channel_status'][-1].links
    assert (link.sent, link.delivered, link.in_flight) == (1, 1, 0)
    assert {s.name for s in node.published['/diagnostics'][-1].status} == {
        'v2x_channel: link roadside/instance_features'
    }


def test_agents_that_come_later_are_found_and_only_those_that_are_wanted(start):
    node, _ = start(topics=(), agents=['a', 'b'])
    node.topics = [('/v2x_tx/a/x', TYPE), ('/v2x_tx/b/bev/x', TYPE), ('/v2x_tx/c/x', TYPE),
                   ('/v2x/a/x', TYPE), ('/other', TYPE)]  # fmt: skip
    node.run_timers()
    node.run_timers()
    assert set(node.subscribed) == {'/v2x_tx/a/x', '/v2x_tx/b/bev/x'}
    assert {'/v2x/a/x', '/v2x/b/bev/x'} <= set(node.published)


def test_settings_change_while_running_for_all_and_for_one(start):
    node, _ = start()
    assert node.set(loss=1.0).successful
    node.subscribed[TX].callback(b'1')
    assert node.set_all({'roadside.loss': 0.0}).successful
    node.subscribed[TX].callback(b'2')
    assert node.set_all({'roadside.loss': math.nan, 'latency_ms': 5.0}).successful
    node.subscribed[TX].callback(b'3')
    node.now_ns += 10**9
    node.run_timers()
    assert node.published[AIR] == [b'2']


@pytest.mark.parametrize(
    ('changes', 'why'),
    [
        ({'loss': 1.5}, '0 to 1'),
        ({'roadside.loss': 1.5}, 'loss must lie in'),
        ({'seed': 7}, 'start the node again'),
        ({'roadside.latency_ms': -1.0, 'loss': 0.5}, 'latency_ms'),
    ],
)
def test_a_wrong_setting_is_refused_with_the_reason_and_changes_nothing(start, changes, why):
    node, _ = start()
    result = node.set_all(changes)
    assert not result.successful
    assert why in result.reason
    node.subscribed[TX].callback(b'1')
    node.run_timers()
    assert node.published[AIR] == [b'1']


def test_settings_of_one_agent_may_stand_in_the_file_before_it_is_there(start):
    node, _ = start(own={'roadside.latency_ms': 50.0, 'roadside.lattency_ms': 1.0})
    node.subscribed[TX].callback(b'1')
    node.run_timers()
    assert node.published[AIR] == []
    node.now_ns += 50 * MS
    node.run_timers()
    assert node.published[AIR] == [b'1']
    (warning,) = (text for kind, text in node.logged if kind == 'warning')
    assert "'roadside.lattency_ms'" in warning


def test_an_impossible_setting_of_one_agent_in_the_file_is_told_and_left_out(start):
    node, _ = start(own={'roadside.loss': 7.0})
    node.subscribed[TX].callback(b'1')
    node.run_timers()
    assert node.published[AIR] == [b'1']
    assert any('roadside.loss' in text for kind, text in node.logged if kind == 'warning')


def test_a_type_that_is_not_built_here_is_told_once_and_does_not_pass(start):
    node, _ = start(topics=(('/v2x_tx/a/x', 'unknown_msgs/msg/X'),))
    node.run_timers()
    assert node.subscribed == {}
    assert len([1 for kind, _ in node.logged if kind == 'warning']) == 1


def test_more_links_than_allowed_are_not_opened(start):
    node, _ = start(topics=[(f'/v2x_tx/a{i}/x', TYPE) for i in range(5)], max_links=2)
    assert len(node.subscribed) == 2


def test_when_time_jumps_back_what_is_under_way_is_lost_and_counted(start):
    node, _ = start(latency_ms=100.0)
    node.subscribed[TX].callback(b'old')
    node.now_ns -= 10**10
    node.jump(None)
    node.subscribed[TX].callback(b'new')
    node.now_ns += 10**9
    node.run_timers()
    assert node.published[AIR] == [b'new']
    (link,) = node.published['/cooptrack/channel_status'][-1].links
    assert (link.sent, link.delivered, link.lost, link.cleared) == (2, 1, 1, 1)


def test_parameters_have_descriptors_with_ranges_and_only_settings_may_change(start):
    node, _ = start()
    loss, seed = node.descriptors['loss'], node.descriptors['seed']
    assert not loss.read_only
    assert (loss.floating_point_range[0].from_value, loss.floating_point_range[0].to_value) == (
        0,
        1,
    )
    assert seed.read_only
    assert seed.integer_range[0].from_value == 0
