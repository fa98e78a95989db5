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


"""Conversions: core structures to and from ROS messages; the same code with and without ROS."""

from cooptrack_ros.conversions.bev import bev_from_message, bev_size, bev_to_bytes, bev_to_message
from cooptrack_ros.conversions.cameras import (
    Calibration,
    calibration_from_info,
    check_image_size,
    info_to_message,
)
from cooptrack_ros.conversions.geometry import (
    header,
    ns_to_stamp,
    pose_from_message,
    pose_to_message,
    stamp_to_ns,
    transform_from_message,
    transform_to_message,
)
from cooptrack_ros.conversions.images import (
    compressed_to_message,
    image_to_message,
    rgb_from_compressed,
    rgb_from_image,
)
from cooptrack_ros.conversions.instances import (
    features_from_message,
    features_size,
    features_to_bytes,
    features_to_message,
    message_to_features,
)
from cooptrack_ros.conversions.link_markers import link_markers
from cooptrack_ros.conversions.map_markers import MapMarkers
from cooptrack_ros.conversions.maps import label_info, map_to_occupancy, map_to_semantic
from cooptrack_ros.conversions.markers import MarkerBuilder, agent_markers
from cooptrack_ros.conversions.message_types import BagTypes, MessageTypes, RosTypes
from cooptrack_ros.conversions.status import (
    agent_info_to_message,
    channel_to_message,
    role_from_agent_type,
    status_to_message,
)
from cooptrack_ros.conversions.tracks import (
    tracks_from_message,
    tracks_to_detections,
    tracks_to_message,
)

__all__ = [
    'BagTypes',
    'Calibration',
    'MapMarkers',
    'MarkerBuilder',
    'MessageTypes',
    'RosTypes',
    'agent_info_to_message',
    'agent_markers',
    'bev_from_message',
    'bev_size',
    'bev_to_bytes',
    'bev_to_message',
    'calibration_from_info',
    'channel_to_message',
    'check_image_size',
    'compressed_to_message',
    'features_from_message',
    'features_size',
    'features_to_bytes',
    'features_to_message',
    'header',
    'image_to_message',
    'info_to_message',
    'label_info',
    'link_markers',
    'map_to_occupancy',
    'map_to_semantic',
    'message_to_features',
    'ns_to_stamp',
    'pose_from_message',
    'pose_to_message',
    'rgb_from_compressed',
    'rgb_from_image',
    'role_from_agent_type',
    'stamp_to_ns',
    'status_to_message',
    'tracks_from_message',
    'tracks_to_detections',
    'tracks_to_message',
    'transform_from_message',
    'transform_to_message',
]
