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

"""BevFeature: the ROS form of a map on the radio passes the same checks as the bytes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cooptrack_core.errors import MessageError
from cooptrack_core.geometry import MapGrid
from cooptrack_core.v2x import BevLimits, decode_bev, encode_bev
from cooptrack_ros.bags import bag_types, typestore
from cooptrack_ros.conversions import (
    bev_from_message,
    bev_size,
    bev_to_bytes,
    bev_to_message,
    stamp_to_ns,
)
from cooptrack_ros.conversions.bev import TYPE
from cooptrack_ros.conversions.cdr import CdrChecker

sys.path.insert(0, str(Path(__file__).parents[1] / 'core' / 'v2x'))
from v2x_messages import make_feature

TYPES = bag_types()


def serialised(message) -> bytes:
    return bytes(TYPES.store.serialize_cdr(message, TYPE))


def through_cdr(message):
    return TYPES.store.deserialize_cdr(serialised(message), TYPE)


@given(
    channels=st.integers(1, 5), rows=st.integers(1, 9), seed=st.integers(0, 10**6),
    dtype=st.sampled_from(['fp32', 'fp16', 'int8']), deflate=st.booleans(),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_the_topic_brings_the_same_numbers_as_the_radio(channels, rows, seed, dtype, deflate):
    sent = make_feature(channels, rows, 6, seed)
    air = decode_bev(encode_bev(sent, dtype, deflate))
    topic = bev_from_message(through_cdr(bev_to_message(TYPES, sent, dtype, deflate=deflate)))
    for name in ('agent_id', 'role', 'model_id', 'session_id', 'sequence', 'stamp_ns', 'grid'):
        assert getattr(topic, name) == getattr(air, name) == getattr(sent, name)
    np.testing.assert_array_equal(topic.features, air.features)
    np.testing.assert_allclose(
        topic.world_SE3_agent.matrix, air.world_SE3_agent.matrix, atol=1e-12, rtol=1e-15
    )
    np.testing.assert_allclose(topic.pose_covariance, air.pose_covariance, rtol=1e-6)


def test_the_typed_fields_say_what_the_message_says():
    sent = make_feature(3, 4, 5)
    message = bev_to_message(TYPES, sent, deflate=False, publish_stamp_ns=sent.stamp_ns + 5)
    assert list(message.shape) == [3, 4, 5] and message.cell == 3.125
    assert message.dtype == 3 and len(message.data) == 3 * (4 * 5 + 4)
    assert stamp_to_ns(message.header.stamp) == sent.stamp_ns
    assert stamp_to_ns(message.publish_stamp) == sent.stamp_ns + 5
    assert (message.header.frame_id, message.world_frame_id) == ('vehicle_2/base_link', 'map')
    position = message.pose.pose.position
    np.testing.assert_array_equal(
        [position.x, position.y, position.z], sent.world_SE3_agent.translation
    )
    packed = bev_to_message(TYPES, make_feature(3, 32, 32))
    assert packed.deflated and len(packed.data) < 3 * 32 * 32
    assert bev_to_bytes(packed)[:4] == b'CTBM'
    assert abs(bev_size(packed) - len(bev_to_bytes(packed))) < 400


def changed(**changes):
    message = bev_to_message(TYPES, make_feature(3, 4, 5), 'fp16', deflate=False)
    return replace(message, **changes)


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'schema_version_major': 2}, 'version'),
        ({'shape': np.array([3, 4, 4], np.uint32)}, 'malformed'),
        ({'shape': np.array([0, 4, 5], np.uint32)}, 'malformed'),
        ({'shape': np.array([2**31, 2**31, 2**31], np.uint32)}, 'oversized'),
        ({'shape': np.array([3, 5, 4], np.uint32)}, 'grid'),
        ({'cell': 6.25}, 'grid'),
        ({'cell': -1.0}, 'out_of_bounds'),
        ({'cell': float('nan')}, 'not_finite'),
        ({'data': np.zeros(119, np.uint8)}, 'malformed'),
        ({'data': np.full(120, 0x7C, np.uint8)}, 'not_finite'),
        ({'deflated': True}, 'malformed'),
        ({'dtype': 0}, 'malformed'),
        ({'dtype': 1}, 'malformed'),
        ({'agent_type': 9}, 'malformed'),
        ({'agent_id': ''}, 'malformed'),
        ({'agent_id': 'x' * 300}, 'malformed'),
        ({'extension_keys': ['a']}, 'malformed'),
        ({'data': np.zeros(10**6, np.uint8)}, 'oversized'),
    ],
)
def test_a_bad_topic_message_has_the_reason_of_bad_bytes(changes, reason):
    limits = BevLimits(grid=MapGrid(4, 5, 3.125), channels=3, max_bytes=10**5)
    assert bev_from_message(changed(), limits).grid == limits.grid
    with pytest.raises(MessageError) as error:
        bev_from_message(changed(**changes), limits)
    assert error.value.reason == reason


def test_another_number_of_channels_is_refused():
    with pytest.raises(MessageError, match='channels'):
        bev_from_message(changed(), BevLimits(channels=4))


def test_a_bad_pose_in_a_topic_message_is_refused():
    for name, value, reason in (('w', 9.0, 'out_of_bounds'), ('w', float('nan'), 'not_finite')):
        message = changed()
        setattr(message.pose.pose.orientation, name, value)
        with pytest.raises(MessageError, match=reason):
            bev_from_message(message)
    message = changed()
    message.pose.covariance[1] = 5.0  # not symmetric
    with pytest.raises(MessageError, match='malformed'):
        bev_from_message(message)


def test_mutated_messages_end_at_a_check_and_nowhere_else():
    random = np.random.default_rng(5)
    checker = CdrChecker(typestore(), TYPE, 10**6, 64)
    forms = (('fp32', True), ('int8', False))
    seeds = [serialised(bev_to_message(TYPES, make_feature(), d, deflate=z)) for d, z in forms]
    outcomes: dict[str, int] = {}
    for i in range(2000):
        raw = bytearray(seeds[i % 2])
        for _ in range(random.integers(1, 4)):
            raw[random.integers(4, len(raw))] = random.integers(0, 256)
        try:
            checker.check(bytes(raw))
            bev_from_message(TYPES.store.deserialize_cdr(bytes(raw), TYPE))
            outcome = 'taken'
        except MessageError as error:
            outcome = str(error.reason)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert len(outcomes) > 4, outcomes
