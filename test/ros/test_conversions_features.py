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


"""InstanceFeatures: the ROS form of the radio message passes the same checks as the bytes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cooptrack_core.errors import MessageError
from cooptrack_core.v2x import InboxSettings, MessageInbox, decode_message, encode_message
from cooptrack_core.v2x.channel import Channel, ChannelSettings
from cooptrack_core.v2x.clocks import PeerClocks
from cooptrack_ros.bags import bag_types
from cooptrack_ros.conversions import (
    channel_to_message,
    features_from_message,
    features_size,
    features_to_bytes,
    features_to_message,
    message_to_features,
    stamp_to_ns,
    status_to_message,
)

sys.path.insert(0, str(Path(__file__).parents[1] / 'core' / 'v2x'))
from v2x_messages import MODEL, RANGE, make_message

TYPES = bag_types()
NAME = 'cooptrack_msgs/msg/InstanceFeatures'
FEATURES = ('query_features', 'query_embeddings', 'motion_features')


def through_cdr(message, name=NAME):
    store = TYPES.store
    return store.deserialize_cdr(store.serialize_cdr(message, name), name)


@given(
    n=st.integers(0, 20), d=st.integers(1, 32), seed=st.integers(0, 10**6),
    dtype=st.sampled_from(['fp32', 'fp16', 'int8']),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_the_topic_brings_the_same_numbers_as_the_radio(n, d, seed, dtype):
    sent = make_message(n, d, seed, extensions={'b': b'\x00\x01', 'a': b''})
    data = encode_message(sent, dtype)
    air = decode_message(data)
    topic = features_from_message(through_cdr(features_to_message(TYPES, data)))
    for name in (
        'agent_id', 'role', 'model_id', 'session_id', 'sequence', 'stamp_ns', 'range',
        'extensions',
    ):  # fmt: skip
        assert getattr(topic, name) == getattr(air, name)
    for name in (*FEATURES, 'reference_points', 'class_scores', 'track_ids'):
        np.testing.assert_array_equal(getattr(topic, name), getattr(air, name))
    np.testing.assert_allclose(topic.boxes.centers, air.boxes.centers, rtol=1.2e-7)
    np.testing.assert_allclose(topic.boxes.sizes, air.boxes.sizes, rtol=1.2e-7)
    np.testing.assert_allclose(topic.boxes.yaws, air.boxes.yaws, atol=3e-7)
    np.testing.assert_array_equal(topic.boxes.velocities, air.boxes.velocities)
    np.testing.assert_allclose(
        topic.world_SE3_agent.matrix, air.world_SE3_agent.matrix, atol=1e-12, rtol=1e-15
    )
    np.testing.assert_allclose(topic.pose_covariance, air.pose_covariance)


def test_the_typed_fields_say_what_the_message_says():
    sent = make_message(4, 8)
    message = message_to_features(TYPES, sent, 'int8', publish_stamp_ns=sent.stamp_ns + 5)
    assert list(message.shape) == [3, 4, 8]
    assert message.dtype == 3
    assert len(message.data) == 3 * 4 * (8 + 4)
    assert stamp_to_ns(message.header.stamp) == sent.stamp_ns
    assert stamp_to_ns(message.publish_stamp) == sent.stamp_ns + 5
    assert message.header.frame_id == 'roadside_1/lidar'
    assert message.agent_type == 2
    assert message.world_frame_id == 'map'
    assert tuple(message.perception_range) == RANGE.as_tuple()
    position = message.pose.pose.position
    np.testing.assert_array_equal(
        [position.x, position.y, position.z], sent.world_SE3_agent.translation
    )
    np.testing.assert_allclose(
        message.pose.covariance.reshape(6, 6), sent.pose_covariance, rtol=1e-6
    )
    boxes = message.boxes.reshape(4, 7)
    np.testing.assert_allclose(boxes[:, :3], sent.boxes.centers, atol=2e-3)
    assert np.isnan(message.velocities[:2]).all()
    assert message.class_count == 3


def test_a_feature_too_large_for_half_precision_makes_the_payload_float32():
    sent = make_message(2, 4)
    features = sent.query_features.copy()
    features[0, 0] = 1e6
    message = message_to_features(TYPES, replace(sent, query_features=features), 'fp16')
    assert message.dtype == 1
    np.testing.assert_array_equal(features_from_message(message).query_features, features)


def test_negative_track_ids_survive_the_unsigned_field():
    sent = make_message(2, 4, track_ids=np.array([-1, 2**62]))
    got = features_from_message(through_cdr(message_to_features(TYPES, sent)))
    assert list(got.track_ids) == [-1, 2**62]


def changed(**changes):
    return replace(message_to_features(TYPES, make_message(3, 4), 'fp16'), **changes)


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'schema_version_major': 2}, 'version'),
        ({'shape': np.array([3, 4, 4], np.uint32)}, 'malformed'),
        ({'shape': np.array([2, 3, 4], np.uint32)}, 'malformed'),
        ({'shape': np.array([3, 2**31, 2**31], np.uint32)}, 'oversized'),
        ({'data': np.zeros(71, np.uint8)}, 'malformed'),
        ({'dtype': 0}, 'malformed'),
        ({'agent_type': 9}, 'malformed'),
        ({'agent_id': ''}, 'malformed'),
        ({'agent_id': 'x' * 300}, 'malformed'),
        ({'boxes': np.zeros(20, np.float32)}, 'malformed'),
        ({'boxes': np.full(21, np.nan, np.float32)}, 'not_finite'),
        ({'boxes': np.zeros(21, np.float32)}, 'out_of_bounds'),
        ({'class_scores': np.full(9, 2.0, np.float32)}, 'out_of_bounds'),
        ({'class_count': 200}, 'oversized'),
        ({'track_ids': np.zeros(1, np.uint64)}, 'malformed'),
        ({'perception_range': np.zeros(6)}, 'out_of_bounds'),
        ({'perception_range': np.full(6, np.inf)}, 'not_finite'),
        ({'data': np.full(72, 0x7C, np.uint8)}, 'not_finite'),
        ({'extension_keys': ['a']}, 'malformed'),
        ({'extension_keys': ['a', 'a'], 'extension_sizes': np.zeros(2, np.uint32)}, 'malformed'),
    ],
)
def test_a_bad_topic_message_has_the_reason_of_bad_bytes(changes, reason):
    with pytest.raises(MessageError) as error:
        features_from_message(changed(**changes))
    assert error.value.reason == reason


def test_a_bad_pose_in_a_topic_message_is_refused():
    message = changed()
    message.pose.pose.orientation.w = 9.0
    with pytest.raises(MessageError, match='out_of_bounds'):
        features_from_message(message)
    message.pose.pose.orientation.w = float('nan')
    with pytest.raises(MessageError, match='not_finite'):
        features_from_message(message)
    message = changed()
    message.pose.covariance[1] = 5.0  # not symmetric
    with pytest.raises(MessageError, match='malformed'):
        features_from_message(message)


def test_mutated_topic_messages_raise_nothing_but_message_errors():
    random = np.random.default_rng(5)
    store = TYPES.store
    seeds = [
        bytes(store.serialize_cdr(message_to_features(TYPES, make_message(n, 4), dtype), NAME))
        for n in (0, 3)
        for dtype in ('fp32', 'int8')
    ]
    outcomes: dict[str, int] = {}
    for i in range(3000):
        raw = bytearray(seeds[i % 4])
        for _ in range(random.integers(1, 4)):
            raw[random.integers(4, len(raw))] = random.integers(0, 256)
        try:
            message = store.deserialize_cdr(bytes(raw), NAME)
        except Exception:  # noqa: S112 - what the middleware itself refuses never arrives
            continue
        try:
            features_from_message(message)
            outcome = 'taken'
        except MessageError as error:
            outcome = str(error.reason)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert sum(outcomes.values()) > 2000
    assert len(outcomes) > 4, outcomes


def test_a_topic_message_can_be_forwarded_as_bytes():
    message = changed()
    assert features_to_bytes(message)[:4] == b'CTIM'
    assert abs(features_size(message) - len(features_to_bytes(message))) < 400


def test_the_status_message_accounts_for_every_message():
    inbox = MessageInbox(MODEL, 'vehicle', InboxSettings())
    data = encode_message(make_message(1, 4), 'int8')
    now_ns = make_message(0).stamp_ns + 20_000_000
    for raw in (data, data, data[:40], b'noise' * 100):
        inbox.receive(raw, now_ns)
    name = 'cooptrack_msgs/msg/FusionStatus'
    message = through_cdr(status_to_message(TYPES, inbox.stats, now_ns, 'vehicle', MODEL), name)
    assert message.received == 4
    assert message.accepted + sum(message.rejected_counts) == 4
    assert message.rejected_reasons == ['truncated', 'not_a_message', 'duplicate']
    unknown, peer = message.peers
    assert (unknown.agent_id, unknown.received, np.isnan(unknown.mean_age)) == (
        '(unknown)', 2, True,
    )  # fmt: skip
    assert peer.agent_id == 'roadside_1'
    assert peer.received == peer.accepted + sum(peer.rejected_counts) == 2
    assert peer.last_age == peer.mean_age == 0.02
    assert stamp_to_ns(peer.last_stamp) == make_message(0).stamp_ns


def test_the_status_message_tells_of_clocks_and_says_nan_where_nothing_is_known():
    inbox, clocks = MessageInbox(MODEL, 'vehicle', InboxSettings()), PeerClocks()
    stamp_ns = make_message(0).stamp_ns
    inbox.receive(encode_message(make_message(1, 4), 'int8'), stamp_ns + 20_000_000)
    inbox.receive(b'noise' * 100, stamp_ns)
    clocks.observe('roadside_1', stamp_ns, stamp_ns + 20_000_000, stamp_ns + 15_000_000)
    estimates = clocks.estimates(stamp_ns + 20_000_000)
    status = status_to_message(TYPES, inbox.stats, stamp_ns, 'vehicle', MODEL, estimates)
    unknown, peer = through_cdr(status, 'cooptrack_msgs/msg/FusionStatus').peers
    assert (peer.clock_offset, peer.clock_jitter, peer.clock_samples) == (0.005, 0.0, 1)
    assert peer.clock_reference == peer.CLOCK_REFERENCE_PUBLISH
    assert np.isnan([unknown.clock_offset, unknown.clock_jitter]).all()
    assert unknown.clock_reference == unknown.CLOCK_REFERENCE_UNKNOWN


def test_the_status_of_a_channel_accounts_for_every_message_and_tells_the_settings():
    channel = Channel(ChannelSettings(latency_ms=300.0, loss=0.5))
    channel.change(own={'b': {'bandwidth_mbit_s': 1.0}})
    for i in range(20):
        for agent_id in ('b', 'a'):
            channel.send(agent_id, 'instance_features', bytes(10), i * 10_000_000)
    channel.due(350_000_000)
    name = 'cooptrack_msgs/msg/ChannelStatus'
    status = through_cdr(channel_to_message(TYPES, channel.links, 7), name)
    assert [(link.agent_id, link.topic) for link in status.links] == [
        ('a', 'instance_features'), ('b', 'instance_features'),
    ]  # fmt: skip
    for link in status.links:
        assert link.sent + link.duplicated == link.delivered + link.lost + link.in_flight
        assert link.sent == 20
        assert min(link.delivered, link.lost, link.in_flight) > 0
        assert (link.latency, link.loss, link.reordering) == (0.3, 0.5, 1.0)
        assert abs(link.mean_delay - 0.3) < 1e-3
    assert [link.bytes_per_second for link in status.links] == [float('inf'), 125_000.0]
