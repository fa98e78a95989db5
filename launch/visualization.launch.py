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

"""RViz with everything switched on, and the bridge to Foxglove or Lichtblick."""

from launch.actions import OpaqueFunction
from launch_ros.actions import SetParameter

from cooptrack_ros.nodes import launching
from launch import LaunchDescription

ARGUMENTS = {
    'use_sim_time': (
        'true',
        'take the time of /clock, for recordings; false beside live cameras',
        launching.YES_NO,
    ),
}
GROUPS = (launching.VISUALIZATION, ARGUMENTS)


def generate_launch_description():
    """Declare the arguments; what is not installed is left out with a word."""
    return LaunchDescription([*launching.declare(*GROUPS), OpaqueFunction(function=_start)])


def _start(context):
    given = launching.read(context, *GROUPS)
    return [
        SetParameter('use_sim_time', given['use_sim_time'] == 'true'),
        *launching.viewers(given),
    ]
