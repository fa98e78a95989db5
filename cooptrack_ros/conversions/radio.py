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

"""Conversions room: what every message of the radio says first, whatever it carries."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.errors import MessageError
from cooptrack_core.geometry import SE3
from cooptrack_core.structures import BevFeature, InstanceMessage, Role
from cooptrack_core.v2x import Reason
from cooptrack_core.v2x.checks import read_pose
from cooptrack_core.v2x.codec import VERSION_MAJOR, VERSION_MINOR
from cooptrack_ros.conversions.geometry import (
    header,
    ns_to_stamp,
    pose_with_covariance,
    stamp_to_ns,
)
from cooptrack_ros.conversions.message_types import MessageTypes

AGENT_TYPES = {Role.VEHICLE: 1, Role.ROADSIDE: 2}


def sender_fields(
    types: MessageTypes,
    sent: InstanceMessage | BevFeature,
    *,
    frame_id: str,
    world_frame_id: str,
    publish_stamp_ns: int,
    clock_quality: int,
) -> dict[str, Any]:
    """Fields of the ROS message that tell who sends, when, and from where."""
    return {
        'header': header(types, sent.stamp_ns, frame_id),
        'publish_stamp': ns_to_stamp(types, publish_stamp_ns),
        'clock_quality': clock_quality,
        'schema_version_major': VERSION_MAJOR,
        'schema_version_minor': VERSION_MINOR,
        'agent_id': sent.agent_id,
        'agent_type': AGENT_TYPES[sent.role],
        'model_id': sent.model_id,
        'session_id': sent.session_id,
        'sequence': sent.sequence,
        'world_frame_id': world_frame_id,
        'pose': pose_with_covariance(types, sent.world_SE3_agent, sent.pose_covariance),
    }


def read_sender(message: Any) -> dict[str, Any]:
    """The same for the bytes on the air: arguments of ``envelope.Sender`` but the number format.

    Raises:
        MessageError: A number is not finite, no rotation or no code.
    """
    place, turn = message.pose.pose.position, message.pose.pose.orientation
    numbers = [turn.w, turn.x, turn.y, turn.z, place.x, place.y, place.z]
    if not np.isfinite(numbers).all():
        raise MessageError(Reason.NOT_FINITE, 'pose')
    pose: SE3 = read_pose(numbers[:4], numbers[4:])
    return {
        'agent_id': message.agent_id,
        'model_id': message.model_id,
        'role': key_of(AGENT_TYPES, message.agent_type, 'agent_type'),
        'session_id': int(message.session_id),
        'sequence': int(message.sequence),
        'stamp_ns': stamp_to_ns(message.header.stamp),
        'pose': pose,
    }


def read_covariance(message: Any) -> NDArray[np.float64]:
    """(6, 6) of the sender's pose.

    Raises:
        ValueError: It has another size.
    """
    return np.asarray(message.pose.covariance, dtype=np.float64).reshape(6, 6)


def check_version(message: Any) -> None:
    """Refuse what another major version wrote.

    Raises:
        MessageError: It is another one.
    """
    if message.schema_version_major != VERSION_MAJOR:
        raise MessageError(Reason.VERSION, f'schema version {message.schema_version_major}')


def key_of(table: dict[Any, int], code: int, field: str) -> Any:
    """What a code stands for.

    Raises:
        MessageError: There is no such code.
    """
    for key, value in table.items():
        if value == code:
            return key
    raise MessageError(Reason.MALFORMED, f'{field} {code}')


def read_extensions(message: Any) -> dict[str, bytes]:
    """Further fields of a message of the radio.

    Raises:
        MessageError: Keys, sizes and bytes do not fit together.
    """
    keys, sizes = list(message.extension_keys), [int(v) for v in message.extension_sizes]
    data = bytes(memoryview(message.extension_data).cast('B'))
    if len(keys) != len(sizes) or sum(sizes) != len(data) or len(set(keys)) != len(keys):
        raise MessageError(Reason.MALFORMED, 'extensions')
    ends = np.cumsum(sizes, dtype=np.int64)
    return {k: data[e - s : e] for k, s, e in zip(keys, sizes, ends, strict=True)}
