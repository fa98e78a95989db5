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


"""Bags room: message classes without a ROS installation."""

from __future__ import annotations

from functools import lru_cache

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from cooptrack_core.resources import message_definitions_dir
from cooptrack_ros.conversions import BagTypes

# The interface of vision_msgs 4 (Apache-2.0), whose type hashes ROS compares. Fields only.
_VISION_MSGS = {
    'vision_msgs/msg/BoundingBox3D': 'geometry_msgs/Pose center\ngeometry_msgs/Vector3 size\n',
    'vision_msgs/msg/ObjectHypothesis': 'string class_id\nfloat64 score\n',
    'vision_msgs/msg/ObjectHypothesisWithPose': (
        'vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose\n'
    ),
    'vision_msgs/msg/Detection3D': (
        'std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n'
        'vision_msgs/BoundingBox3D bbox\nstring id\n'
    ),
    'vision_msgs/msg/Detection3DArray': (
        'std_msgs/Header header\nvision_msgs/Detection3D[] detections\n'
    ),
    'vision_msgs/msg/VisionClass': 'uint16 class_id\nstring class_name\n',
    'vision_msgs/msg/LabelInfo': (
        'std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold\n'
    ),
}


@lru_cache(maxsize=1)
def typestore() -> Typestore:
    """Return the types of ROS 2 Jazzy with ``cooptrack_msgs`` and the used part of vision_msgs.

    Raises:
        InputError: The message definitions of cooptrack_msgs are not installed.
    """
    store = get_typestore(Stores.ROS2_JAZZY)
    found = {}
    for name, text in _VISION_MSGS.items():
        found.update(get_types_from_msg(text, name))
    for path in sorted(message_definitions_dir().glob('*.msg')):
        text = path.read_text(encoding='utf-8')
        found.update(get_types_from_msg(text, f'cooptrack_msgs/msg/{path.stem}'))
    store.register(found)
    return store


def bag_types() -> BagTypes:
    """Return the maker of these messages, for the conversions."""
    return BagTypes(typestore())
