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

"""Nodes room: what the launch files share. Imports launch; only launch files use it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    LogInfo,
    RegisterEventHandler,
    Shutdown,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from cooptrack_ros.bags import names
from cooptrack_ros.nodes import inputs

Arguments = Mapping[str, tuple[Any, ...]]
Given = Mapping[str, str]

YES_NO = ['true', 'false']
# Arguments of every launch file: name, default, text, and what else is possible.
COMMON: Arguments = {
    'params_file': (
        '',
        'parameter file that is read after those of the package, for everything that has no '
        'argument here; name the nodes in it: /<agent>/agent, /cooperative, /bev_map, '
        '/<agent>/bev_map, /dataset_player, /v2x_channel',
    ),
    'log_level': (
        'info',
        'least severity that the nodes log',
        ['debug', 'info', 'warn', 'error', 'fatal'],
    ),
    'enclaves': (
        '',
        'SROS2: where the enclaves of the nodes are, for example enclaves:=/cooptrack for '
        '/cooptrack/cooperative and /cooptrack/agent_roadside; empty = no enclaves',
    ),
}
PLAYBACK: Arguments = {
    'bag': ('', 'rosbag2 to play: a directory, an .mcap or a .db3 file'),
    'dataset': (
        '',
        'V2X-Seq directory to play; with neither bag nor dataset the demo scene is played '
        '(simulated at its first use, which takes minutes)',
    ),
    'scene': ('', 'sequence of the dataset; empty = the first'),
    'demo_seed': ('2026', 'seed of the demo scene, 2000 or more'),
    'rate': ('1.0', 'speed of playing; 1.0 = as recorded, less on a slow machine'),
    'loop': ('true', 'start anew at the end; tracks are forgotten then', YES_NO),
    'start_delay': ('10.0', 'seconds until a bag starts: the time in which the networks load'),
}
MAPS: Arguments = {
    'map': (
        'false',
        'also make semantic maps of all cameras of each agent (bev_map_node)',
        YES_NO,
    ),
    'tracks': (
        'true',
        'false: no tracks, only maps (map:=true), for agents with rings of cameras: the trackers '
        'take one camera per agent',
        YES_NO,
    ),
    'map_weights': ('', 'weights of the map model, the same for all agents; empty = the shipped'),
}
VISUALIZATION: Arguments = {
    'rviz': ('true', 'open RViz with everything switched on', YES_NO),
    'rviz_config': ('', "RViz configuration; empty = the package's"),
    'foxglove': (
        'false',
        'start foxglove_bridge, for Foxglove and Lichtblick; config/foxglove_layout.json is their '
        'layout',
        YES_NO,
    ),
    'foxglove_port': ('8765', 'port of foxglove_bridge; it listens on this machine alone'),
}
# Settings of v2x_channel_node that have an argument.
CHANNEL: Arguments = {
    'channel': (
        'false',
        'put a simulated radio (v2x_channel_node) between the agents; without it they hear each '
        'other at once',
        YES_NO,
    ),
    'latency_ms': ('', 'mean delay of the radio, ms; needs channel:=true; empty = as in the file'),
    'jitter_ms': ('', 'standard deviation of the delay, ms; likewise'),
    'loss': ('', 'probability that a message is lost, 0.0 to 1.0; likewise'),
    'duplication': ('', 'probability that a message arrives twice, 0.0 to 1.0; likewise'),
    'reordering': ('', 'probability that a message may overtake earlier ones; likewise'),
    'bandwidth_mbit_s': ('', 'what the radio lets pass, Mbit/s, 0.0 = all; likewise'),
}


def declare(*groups: Arguments) -> list[Any]:
    """Declare launch arguments."""
    return [
        DeclareLaunchArgument(
            name,
            default_value=entry[0],
            description=entry[1],
            choices=entry[2] if len(entry) > 2 else None,
        )
        for group in groups
        for name, entry in group.items()
    ]


def read(context: Any, *groups: Arguments) -> dict[str, str]:
    """Values of the arguments."""
    wanted = [name for group in groups for name in group]
    return {name: LaunchConfiguration(name).perform(context) for name in wanted}


def node(
    given: Given, executable: str, file: str, parameters: Mapping[str, Any], **options: Any
) -> Any:
    """A node of ours: shipped file, then the user's file, then what the launch file knows."""
    shipped = PathJoinSubstitution([FindPackageShare('cooptrack_ros'), 'config', file])
    files = [shipped, given['params_file']] if given['params_file'] else [shipped]
    arguments = ['--ros-args', '--log-level', given['log_level']]
    if given['enclaves']:
        names_of = filter(None, (options['name'], options.get('namespace')))
        arguments += ['--enclave', f'{given["enclaves"].rstrip("/")}/{"_".join(names_of)}']
    return Node(
        package='cooptrack_ros',
        executable=executable,
        parameters=[*files, dict(parameters)],
        arguments=arguments,
        output='both',
        emulate_tty=True,
        # Until a frame in work is done; a loaded machine takes its time.
        sigterm_timeout='20',
        sigkill_timeout='20',
        **options,
    )


def network(weights: str, device: str) -> dict[str, str]:
    """Parameters that choose the network; what is empty is left to the files."""
    return {name: value for name, value in (('weights', weights), ('device', device)) if value}


def agent_node(
    given: Given,
    agent: inputs.AgentInput,
    weights: str,
    *,
    remappings: Sequence[tuple[str, str]] = (),
    **options: Any,
) -> Any:
    """The node of an agent that sends; through the channel when there is one."""
    return node(
        given,
        'agent_node',
        'agent.param.yaml',
        {**agent.parameters, **network(weights, given['device'])},
        name='agent',
        namespace=agent.agent_id,
        remappings=[*remappings, *_sent(given, agent, 'instance_features')],
        **options,
    )


def map_node(
    given: Given,
    agent: inputs.AgentInput,
    parameters: Mapping[str, Any],
    *,
    namespace: str = '',
    **options: Any,
) -> Any:
    """The node that makes maps of an agent's cameras; what it sends goes through the channel."""
    return node(
        given,
        'bev_map_node',
        'bev_map.param.yaml',
        {**agent.parameters, **parameters, **network(given['map_weights'], given['device'])},
        name='bev_map',
        remappings=_sent(given, agent, 'bev_feature'),
        **({'namespace': namespace} if namespace else {}),
        **options,
    )


def _sent(given: Given, agent: inputs.AgentInput, what: str) -> list[tuple[str, str]]:
    """Remapping of what an agent sends to where the channel takes it, when there is one."""
    if given['channel'] != 'true':
        return []
    return [(names.air_topic(agent.agent_id, what), names.sent_topic(agent.agent_id, what))]


def channel(given: Given) -> list[Any]:
    """The simulated radio, if it is wanted.

    Raises:
        RuntimeError: A setting of it is given without it.
    """
    settings = {name: given[name] for name in CHANNEL if name != 'channel' and given[name]}
    if given['channel'] != 'true':
        if settings:
            raise RuntimeError(f'{next(iter(settings))}:= is a setting of the radio: give '
                               'channel:=true as well')  # fmt: skip
        return []
    values = {name: float(value) for name, value in settings.items()}
    return [node(given, 'v2x_channel_node', 'v2x_channel.param.yaml', values, name='v2x_channel')]


def with_recording(given: Given, then: Callable[[dict[str, str]], list[Any]]) -> list[Any]:
    """Actions of ``then`` for what is given, or for the demo scene once it is there.

    Raises:
        RuntimeError: Both a bag and a dataset are given.
    """
    chosen = dict(given)
    if chosen['bag'] and chosen['dataset']:
        raise RuntimeError('give bag:= or dataset:=, not both')
    if chosen['bag'] or chosen['dataset']:
        return then(chosen)
    seed = int(chosen['demo_seed'])
    chosen['dataset'] = str(inputs.demo_directory(seed))
    if inputs.demo_is_there(seed):
        return then(chosen)
    simulation = ExecuteProcess(
        cmd=[sys.executable, '-m', 'cooptrack_ros.nodes.demo_scene', str(seed)],
        name='simulation',
        output='screen',
        emulate_tty=True,
    )

    def simulated(event: Any, _: Any) -> list[Any]:
        if event.returncode != 0:
            return [Shutdown(reason='the demo scene could not be simulated')]
        return then(chosen)

    return [
        LogInfo(msg=f'simulating the demo scene into {chosen["dataset"]}; this happens once'),
        RegisterEventHandler(OnProcessExit(target_action=simulation, on_exit=simulated)),
        simulation,
    ]


def player(given: Given, **options: Any) -> Any:
    """What plays the dataset or the bag."""
    if given['bag']:
        _, topics = inputs.agents_of_bag(given['bag'])
        command = ['ros2', 'bag', 'play', given['bag'], '--clock', '100', '--rate', given['rate']]
        command += ['--loop'] if given['loop'] == 'true' else []
        play = ExecuteProcess(
            cmd=[*command, '--topics', *topics],
            name='bag',
            output='both',
            emulate_tty=True,
            **options,
        )
        return TimerAction(period=float(given['start_delay']), actions=[play])
    return node(
        given,
        'dataset_player_node',
        'dataset_player.param.yaml',
        {
            # The player makes the time; it must not wait for it.
            'use_sim_time': False,
            'dataset': given['dataset'],
            'scene': given['scene'],
            'rate': float(given['rate']),
            'loop': given['loop'] == 'true',
        },
        name='dataset_player',
        **options,
    )


def viewers(given: Given) -> list[Any]:
    """RViz and the bridge to browsers, as far as they are wanted and installed."""
    out: list[Any] = []
    if given['rviz'] == 'true':
        config = given['rviz_config'] or PathJoinSubstitution(
            [FindPackageShare('cooptrack_ros'), 'config', 'cooptrack.rviz']
        )
        out += _if_installed(
            'rviz2', executable='rviz2', name='rviz', arguments=['-d', config], output='log'
        )
    if given['foxglove'] == 'true':
        listen = {'port': int(given['foxglove_port']), 'address': '127.0.0.1'}
        share = get_package_share_directory('cooptrack_ros')
        out.append(
            LogInfo(
                msg=f'open Foxglove or Lichtblick, connect to ws://localhost:{listen["port"]} and '
                f'import the layout {share}/config/foxglove_layout.json'
            )
        )
        out += _if_installed(
            'foxglove_bridge', executable='foxglove_bridge', name='foxglove', parameters=[listen]
        )
    return out


def _if_installed(package: str, **options: Any) -> list[Any]:
    try:
        get_package_share_directory(package)
    except PackageNotFoundError:
        apt = f'ros-$ROS_DISTRO-{package.replace("_", "-")}'
        return [LogInfo(msg=f'{package} is not installed: going on without (apt install {apt})')]
    return [Node(package=package, **options)]
