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

"""bev_map_node wired up with stand-ins for rclpy: what it sends, hears, publishes and forgets."""

from __future__ import annotations

import sys
import time
import types
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import ros_stubs
from map_frames import SECOND, ring_frame, weights_file

from cooptrack_core.perception import BevMapper, load_map_model
from cooptrack_ros.bags import bag_types, typestore
from cooptrack_ros.conversions import bev_from_message, bev_to_message
from cooptrack_ros.conversions.bev import TYPE
from cooptrack_ros.conversions.maps import occupancy

GRIDS = {f'/cooptrack/bev/{name}' for name in ('vehicle', 'drivable', 'lane')}
AIR = '/v2x/roadside/bev_feature'
MARKERS, SEMANTIC = '/cooptrack/bev/markers', '/cooptrack/bev/semantic'
DELETE_ALL = 3


class Anything(types.ModuleType):
    """A module that has every class one asks it for."""

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        made = type(name, (ros_stubs.Message,), {})
        setattr(self, name, made)
        return made


class Node(ros_stubs.FakeNode):
    """Publishers that somebody reads, and things that can be destroyed."""

    def __init__(self, overrides, topics=()):
        super().__init__('bev_map', overrides, topics)
        self.destroyed, self.readers = [], 1
        self.context = SimpleNamespace(ok=lambda: True)

    def create_publisher(self, kind, topic, profile, *, qos_overriding_options=None):
        made = super().create_publisher(kind, topic, profile)
        made.get_subscription_count = lambda: self.readers
        made.profile = profile
        return made

    def create_service(self, kind, name, callback):
        return SimpleNamespace(callback=callback)

    def destroy_timer(self, timer):
        self.timers = [t for t in self.timers if t is not timer]

    def create_timer(self, period_s, callback, *, clock=None):
        self.timers.append((period_s, callback))
        return self.timers[-1]

    def destroy_publisher(self, publisher):
        self.destroyed.append(publisher.topic_name)

    def destroy_subscription(self, subscription):
        self.subscribed = {k: v for k, v in self.subscribed.items() if v is not subscription}


class Sensors:
    """Stands in for cameras and TF: a frame comes as it is."""

    def __init__(self, node, parameters, on_group, on_jump, lap=0):
        self.on_group, self.on_jump, self.enabled = on_group, on_jump, True
        self.builder = SimpleNamespace(lap=lap)

    def frame(self, group, given_up):
        return group[0]

    def health(self, seconds):
        return []

    def close(self):
        pass

    def change(self, parameters):
        pass


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    return weights_file(tmp_path_factory.mktemp('map') / 'small.safetensors')


@pytest.fixture(scope='module')
def model(weights):
    return load_map_model(weights)


@pytest.fixture
def start(monkeypatch, weights):
    ros_stubs.install(monkeypatch)
    for name in (
        'nav_msgs', 'nav_msgs.msg', 'sensor_msgs', 'sensor_msgs.msg', 'vision_msgs',
        'vision_msgs.msg', 'visualization_msgs', 'visualization_msgs.msg', 'geometry_msgs',
        'geometry_msgs.msg', 'std_srvs', 'std_srvs.srv', 'tf2_ros', 'rclpy.time', 'std_msgs',
        'std_msgs.msg', 'builtin_interfaces', 'builtin_interfaces.msg', 'cooptrack_msgs',
        'cooptrack_msgs.msg', 'rclpy.serialization',
    ):  # fmt: skip
        module = Anything(name)
        module.__path__ = []
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules['rclpy.serialization'].deserialize_message = lambda data, kind: (
        typestore().deserialize_cdr(data, TYPE)
    )
    import cooptrack_ros.nodes

    for name in ('base', 'bev_map', 'peers', 'sensors'):
        monkeypatch.delitem(sys.modules, f'cooptrack_ros.nodes.{name}', raising=False)
        monkeypatch.delattr(cooptrack_ros.nodes, name, raising=False)
    from cooptrack_ros.nodes import base
    from cooptrack_ros.nodes.bev_map import BevMapNode

    monkeypatch.setattr(base, 'Sensors', Sensors)
    parts = []

    def make(topics=((AIR, TYPE),), **overrides):
        given = {'agent_id': 'ego', 'weights': str(weights), 'wait_ms': 0.0} | overrides
        node = Node(given, topics)
        node.now_ns = SECOND
        part = BevMapNode(node)
        parts.append(part)
        part.configure()
        part.activate()
        return node, part

    yield make
    for part in parts:
        part.close()
    for name in ('base', 'bev_map', 'peers', 'sensors'):
        sys.modules.pop(f'cooptrack_ros.nodes.{name}', None)


def show(part, frame):
    """Give the node a frame and wait until it is done with it."""
    worker = part._base.worker
    part._node.now_ns = frame.stamp_ns
    before = worker.done + worker.failed
    worker.offer((frame,))
    until = time.monotonic() + 30
    while worker.done + worker.failed == before and time.monotonic() < until:
        time.sleep(0.005)
    assert worker.failed == 0 and worker.done + worker.failed > before, part._node.logged


def on_the_air(model, frame, **changes) -> bytes:
    feature = BevMapper(model, frame.agent_id, 7).sense(frame)
    message = bev_to_message(bag_types(), replace(feature, **changes), 'fp32')
    return bytes(typestore().serialize_cdr(message, TYPE))


def diagnostics(node):
    node.run_timers()
    return {
        status.name.removeprefix('bev_map: '): {v.key: v.value for v in status.values}
        for status in node.published['/diagnostics'][-1].status
    }


def test_an_agent_that_only_sends_sends_what_its_mapper_makes(start, model):
    node, part = start(agent_id='roadside', role='roadside', fuse=False, dtype='fp32')
    frame = ring_frame('roadside', stamp_ns=SECOND)
    show(part, frame)
    (sent,) = node.published[AIR]
    assert (sent.world_frame_id, sent.header.frame_id) == ('map', 'roadside/base_link')
    got = bev_from_message(sent, model.limits)
    expected = BevMapper(model, 'roadside').sense(frame)
    np.testing.assert_array_equal(got.features, expected.features)
    assert got.stamp_ns == SECOND and got.model_id == model.model_id
    assert not GRIDS & set(node.published) and not node.subscribed
    show(part, replace(frame, images=(), stamp_ns=2 * SECOND))
    assert len(node.published[AIR]) == 1
    assert diagnostics(node)['maps']['blind'] == '1'


def test_the_ego_publishes_the_map_that_it_fuses_with_what_it_hears(start, model):
    node, part = start(send=False)
    assert node.subscribed[AIR].raw and '/v2x/ego/bev_feature' not in node.published
    other = ring_frame('roadside', 20.0)
    node.subscribed[AIR].callback(on_the_air(model, other))
    ego = ring_frame('ego')
    show(part, ego)
    mapper, sender = BevMapper(model, 'ego'), BevMapper(model, 'roadside', 7)
    expected = mapper.fuse(ego, mapper.sense(ego), [sender.sense(other)]).map
    for name in expected.class_names:
        (grid,) = node.published[f'/cooptrack/bev/{name}']
        data = np.array(grid.data, np.int8).reshape(grid.info.height, grid.info.width)
        np.testing.assert_array_equal(data, occupancy(expected, name))
        assert (grid.header.frame_id, grid.header.stamp.sec) == ('map', 1)
    assert node.published[SEMANTIC][0].header.frame_id == 'ego/base_link'
    assert len(node.published['/cooptrack/bev/label_info']) == 1
    assert {m.ns for m in node.published[MARKERS][0].markers} >= {'bev_drivable'}
    status = node.published['/cooptrack/bev/fusion_status'][-1]
    assert (status.received, status.accepted) == (1, 1)
    # Again while it is young, and not beyond.
    for later_ms, remote in ((300, 1), (700, 0)):
        part._mapper.stats.fused = 0
        show(part, ring_frame('ego', stamp_ns=SECOND + later_ms * 10**6))
        assert part._mapper.stats.fused == remote


def test_what_cannot_be_trusted_is_dropped_and_the_map_goes_on(start, model):
    node, part = start()
    other = ring_frame('roadside', 20.0)
    good = on_the_air(model, other)
    hear = node.subscribed[AIR].callback
    for data in (
        b'noise', good[:-40], on_the_air(model, other, model_id='other'),
        on_the_air(model, ring_frame('stranger')), on_the_air(model, other, stamp_ns=9 * SECOND),
    ):  # fmt: skip
        hear(data)
    show(part, ring_frame('ego'))
    status = node.published['/cooptrack/bev/fusion_status'][-1]
    assert status.accepted == 0 and status.received == 5 == sum(status.rejected_counts)
    assert {'model', 'wrong_topic', 'from_future'} <= set(status.rejected_reasons)
    hear(good)
    far = replace(other, agent_id='roadside')
    pose = far.world_SE3_body
    beyond = type(pose)(pose.rotation, pose.translation + np.array([900.0, 0, 0]))
    later = on_the_air(
        model, other, sequence=1, world_SE3_agent=beyond, stamp_ns=SECOND + 10 * 10**6
    )
    hear(later)
    show(part, ring_frame('ego', stamp_ns=SECOND + 50 * 10**6))
    assert len(node.published['/cooptrack/bev/vehicle']) == 2
    assert any('out_of_reach' in text for kind, text in node.logged if kind == 'warning')
    assert diagnostics(node)['maps']['left_out_out_of_reach'] == '1'


def test_a_camera_that_is_missing_is_told_and_the_map_is_made(start):
    node, part = start()
    show(part, ring_frame('ego'))
    rest = ring_frame('ego', cameras=('front', 'left', 'back'), stamp_ns=2 * SECOND)
    diagnostics(node)
    show(part, rest)
    assert len(node.published['/cooptrack/bev/lane']) == 2
    assert diagnostics(node)['maps']['missing_right'] == '1'
    # Its own map goes out too.
    assert [m.sequence for m in node.published['/v2x/ego/bev_feature']] == [0, 1]


def test_when_time_jumps_back_messages_and_markers_are_forgotten(start, model):
    node, part = start()
    node.subscribed[AIR].callback(on_the_air(model, ring_frame('roadside', 20.0)))
    part._base._jumped()
    show(part, ring_frame('ego'))
    assert part._mapper.stats.fused == 0
    cleared = [a for a in node.published[MARKERS] if a.markers[0].action == DELETE_ALL]
    assert cleared


def test_the_steps_of_the_life_cycle_are_undone(start):
    node, part = start()
    part.deactivate()
    assert node.subscribed == {}
    part.cleanup()
    assert set(node.destroyed) >= GRIDS and part._mapper is None
    part.configure()
    part.activate()
    assert AIR in node.subscribed
    show(part, ring_frame('ego'))
    assert len(node.published['/cooptrack/bev/vehicle']) >= 1


def test_settings_change_while_running(start, model):
    node, part = start()
    assert node.set(max_age_ms=100.0, marker_lifetime_s=3.0).successful
    assert part._markers.lifetime_ns == 3 * SECOND
    node.now_ns = SECOND + 200 * 10**6
    node.subscribed[AIR].callback(on_the_air(model, ring_frame('roadside', 20.0)))
    assert part._gate.stats.rejected == {'too_old': 1}
    assert not node.set(fuse=False).successful


def test_nobody_reads_nothing_is_made_but_what_is_latched(start):
    node, part = start()
    node.readers = 0
    show(part, ring_frame('ego'))
    assert node.published[SEMANTIC] == []
    assert all(a.markers[0].action == DELETE_ALL for a in node.published[MARKERS])
    assert len(node.published['/cooptrack/bev/vehicle']) == 1
