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

"""Plays a bag, a dataset or the demo scene, with /clock; nothing is tracked here."""

from launch.actions import OpaqueFunction, Shutdown

from cooptrack_ros.nodes import launching
from launch import LaunchDescription

GROUPS = (launching.PLAYBACK, launching.COMMON)


def generate_launch_description():
    """Declare the arguments; the demo scene may have to be simulated first."""
    return LaunchDescription([*launching.declare(*GROUPS), OpaqueFunction(function=_start)])


def _start(context):
    return launching.with_recording(
        launching.read(context, *GROUPS),
        lambda given: [launching.player(given, on_exit=Shutdown(reason='all is played'))],
    )
