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

"""Serialised messages are walked through before anybody believes the lengths in them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cooptrack_core.errors import MessageError
from cooptrack_ros.bags import bag_types, typestore
from cooptrack_ros.conversions import (
    agent_info_to_message,
    message_to_features,
    status_to_message,
)
from cooptrack_ros.conversions.cdr import CdrChecker
from cooptrack_ros.conversions.instances import TYPE

sys.path.insert(0, str(Path(__file__).parents[1] / 'core' / 'perception'))
from fakes import message

STORE = typestore()


def checker(name=TYPE, max_bytes=1 << 20):
    return CdrChecker(STORE, name, max_bytes, max_elements=64)


def serialised(little_endian=True, **changes):
    ros = message_to_features(bag_types(), message('roadside_1', 10**18, 7), 'int8')
    for name, value in changes.items():
        setattr(ros, name, value)
    return bytes(STORE.serialize_cdr(ros, TYPE, little_endian=little_endian))


GOOD = serialised()


@pytest.mark.parametrize('little_endian', [True, False])
def test_what_is_whole_passes_in_either_byte_order(little_endian):
    checker().check(serialised(little_endian))
    checker().check(serialised(little_endian, agent_id='straße', extension_keys=['a', '']))


def test_messages_with_nested_sequences_pass(tmp_path):
    from cooptrack_core.structures import Role
    from cooptrack_core.v2x import MessageInbox

    inbox = MessageInbox('model', 'vehicle')
    inbox.receive(b'noise', 0)
    inbox.offer(message('roadside', 10**18, 0), 10**18, 100)
    status = status_to_message(bag_types(), inbox.stats, 5, 'vehicle', 'model')
    name = 'cooptrack_msgs/msg/FusionStatus'
    checker(name).check(bytes(STORE.serialize_cdr(status, name)))
    info = agent_info_to_message(
        bag_types(), stamp_ns=1, frame_id='a', agent_id='b', role=Role.VEHICLE, cameras=['x', 'y']
    )
    name = 'cooptrack_msgs/msg/AgentInfo'
    checker(name).check(bytes(STORE.serialize_cdr(info, name)))


@given(st.integers(0, len(GOOD) - 8))
def test_what_is_cut_off_is_refused(length):
    with pytest.raises(MessageError) as error:
        checker().check(GOOD[:length])
    assert error.value.reason in ('truncated', 'not_a_message')


def test_too_much_is_refused():
    with pytest.raises(MessageError, match='oversized'):
        checker(max_bytes=len(GOOD) - 1).check(GOOD)
    with pytest.raises(MessageError, match='oversized'):
        checker().check(GOOD + bytes(8))
    checker().check(GOOD + bytes(3))  # padding


def test_a_length_without_its_bytes_is_refused_and_a_list_of_very_many_texts_too():
    data = bytearray(GOOD)
    at = data.index(b'roadside_1\0') - 4
    data[at : at + 4] = (2**32 - 1).to_bytes(4, 'little')
    with pytest.raises(MessageError, match='truncated'):
        checker().check(bytes(data))
    with pytest.raises(MessageError, match='oversized'):
        checker().check(serialised(extension_keys=[''] * 65))


@pytest.mark.parametrize(
    ('old', 'new', 'reason'),
    [
        (b'roadside_1\0', b'roadside_12', 'malformed'),
        (b'roadside_1\0', b'roadside_\xff\0', 'malformed'),
        (GOOD[:2], b'\x00\x07', 'not_a_message'),
    ],
)
def test_texts_and_the_head_must_be_right(old, new, reason):
    with pytest.raises(MessageError, match=reason):
        checker().check(GOOD.replace(old, new, 1))


@given(st.lists(st.tuples(st.integers(4, len(GOOD) - 1), st.integers(0, 255)), max_size=6))
def test_what_passes_can_be_read_and_what_cannot_be_read_does_not_pass(changes):
    data = bytearray(GOOD)
    for at, value in changes:
        data[at] = value
    try:
        checker().check(bytes(data))
    except MessageError:
        return
    STORE.deserialize_cdr(bytes(data), TYPE)
