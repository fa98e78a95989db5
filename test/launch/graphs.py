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

"""The launch file as the tests on a real ROS 2 start it.

To be imported after ``pytest.importorskip('launch_pytest')``.
"""

from __future__ import annotations

from pathlib import Path

import launch_pytest
import pytest
from ament_index_python.packages import (
    PackageNotFoundError,
    get_package_share_directory,
)
from launch.actions import (
    IncludeLaunchDescription,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource

from launch import LaunchDescription

BUILD = 'source ROS 2, "colcon build", source install/setup.bash'


def cooperative(domain: int, exits: dict[str, int], **arguments: object) -> LaunchDescription:
    """cooperative.launch.py with these arguments.

    Args:
        domain: ROS_DOMAIN_ID of its processes.
        exits: Takes the exit status of each process, by its name.
        **arguments: Of the launch file.
    """
    try:
        share = Path(get_package_share_directory('cooptrack_ros'))
    except PackageNotFoundError:
        pytest.skip(f'cooptrack_ros is not built: {BUILD}')

    def on_exit(event, _):
        exits[event.process_name.rsplit('-', 1)[0]] = event.returncode

    return LaunchDescription(
        [
            SetEnvironmentVariable('ROS_DOMAIN_ID', str(domain)),
            RegisterEventHandler(OnProcessExit(on_exit=on_exit)),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(share / 'launch' / 'cooperative.launch.py')),
                launch_arguments={
                    'rviz': 'false',
                    **{name: str(value) for name, value in arguments.items()},
                }.items(),
            ),
            launch_pytest.actions.ReadyToTest(),
        ]
    )
