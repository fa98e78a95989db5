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


"""Bags: datasets to rosbag2, rosbag2 to frames, runs to rosbag2; no ROS installation needed."""

from cooptrack_ros.bags.dataset import BagSummary, labels_as_tracks, write_dataset_bag
from cooptrack_ros.bags.reader import BagOptions, BagReader
from cooptrack_ros.bags.run import RunWriter
from cooptrack_ros.bags.typestore import bag_types, typestore
from cooptrack_ros.bags.writer import BagWriter

__all__ = [
    'BagOptions',
    'BagReader',
    'BagSummary',
    'BagWriter',
    'RunWriter',
    'bag_types',
    'labels_as_tracks',
    'typestore',
    'write_dataset_bag',
]
