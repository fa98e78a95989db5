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

"""Plays a recording (or the demo scene) and tracks in it: one node per agent, one that fuses."""

import sys

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node, SetParameter
from launch_ros.substitutions import FindPackageShare

from cooptrack_ros.nodes import inputs
from launch import LaunchDescription

ARGUMENTS = {
    'bag': ('', 'rosbag2 to play: a directory, an .mcap or a .db3 file'),
    'dataset': (
        '',
        'V2X-Seq directory to play; with neither bag nor dataset the demo scene is played '
        '(simulated at its first use, which takes minutes)',
    ),
    'scene': ('', 'sequence of the dataset; empty = the first'),
    'demo_seed': ('2026', 'seed of the demo scene, 2000 or more'),
    'agents': ('', 'remote agents, separated by commas; empty = all of the recording'),
    'ego': ('vehicle', 'agent that fuses'),
    'ego_only': (
        'false',
        'also track with the ego alone, for comparison, under /cooptrack/ego_only',
    ),
    'rate': ('1.0', 'speed of playing; 1.0 = as recorded'),
    'loop': ('true', 'start anew at the end'),
    'start_delay': ('10.0', 'seconds until a bag starts: the time in which the networks load'),
    'rviz': ('true', 'open RViz'),
    'rviz_config': ('', "RViz configuration; empty = the package's"),
    'device': ('', 'where the networks run: cpu, cuda, cuda:0; empty = as in the files'),
    'agent_weights': ('', 'weights of single agents; empty = the shipped ones'),
    'cooperative_weights': ('', 'weights of the ego that fuses; empty = the shipped ones'),
    'params_file': (
        '',
        'parameter file that is read after those of the package; name the nodes in it: '
        '/<agent>/agent, /cooperative, /dataset_player',
    ),
    'log_level': ('info', 'debug, info, warn, error or fatal'),
}
CHOICES = {
    'ego_only': ['true', 'false'],
    'loop': ['true', 'false'],
    'rviz': ['true', 'false'],
    'log_level': ['debug', 'info', 'warn', 'error', 'fatal'],
}


def generate_launch_description():
    """Declare the arguments; the rest depends on who is in the recording."""
    declared = [
        DeclareLaunchArgument(
            name, default_value=default, description=text, choices=CHOICES.get(name)
        )
        for name, (default, text) in ARGUMENTS.items()
    ]
    return LaunchDescription(
        [*declared, SetParameter('use_sim_time', True), OpaqueFunction(function=_start)]
    )


def _start(context):
    """Play what is given, or see to it that the demo scene is there."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    if given['bag'] and given['dataset']:
        raise RuntimeError('give bag:= or dataset:=, not both')
    if given['bag'] or given['dataset']:
        return _graph(given)
    seed = int(given['demo_seed'])
    given['dataset'] = str(inputs.demo_directory(seed))
    if inputs.demo_is_there(seed):
        return _graph(given)
    simulation = ExecuteProcess(
        cmd=[sys.executable, '-m', 'cooptrack_ros.nodes.demo_scene', str(seed)],
        name='simulation',
        output='screen',
        emulate_tty=True,
    )

    def simulated(event, _):
        if event.returncode != 0:
            return [Shutdown(reason='the demo scene could not be simulated')]
        return _graph(given)

    return [
        LogInfo(msg=f'simulating the demo scene into {given["dataset"]}; this happens once'),
        simulation,
        RegisterEventHandler(OnProcessExit(target_action=simulation, on_exit=simulated)),
    ]


def _graph(given):
    """All nodes, and what plays."""
    ego_id, topics = given['ego'], ()
    if given['bag']:
        found, topics = inputs.agents_of_bag(given['bag'])
    else:
        found = inputs.agents_of_dataset(given['dataset'], given['scene'])
    agents = inputs.choose(found, given['agents'], ego_id)
    ego = next(agent for agent in agents if agent.agent_id == ego_id)
    remote = [agent for agent in agents if agent.agent_id != ego_id]
    actions = [_agent_node(given, agent) for agent in remote]
    if given['ego_only'] == 'true':
        layer = '/cooptrack/ego_only'
        moved = [(f'/{ego_id}/{what}', f'{layer}/{what}') for what in ('tracks', 'markers')]
        actions.append(_agent_node(given, ego, moved))
    listened = {'agents': [agent.agent_id for agent in remote]} if given['agents'] else {}
    actions.append(
        _node(
            given,
            'cooperative_node',
            'cooperative.param.yaml',
            {**ego.parameters, **listened, **_network(given, 'cooperative_weights')},
            name='cooperative',
            on_exit=Shutdown(reason='the fusion ended'),
        )
    )
    actions += [_bag(given, topics)] if given['bag'] else [_player(given)]
    return [*actions, *_rviz(given)]


def _agent_node(given, agent, remappings=()):
    return _node(
        given,
        'agent_node',
        'agent.param.yaml',
        {**agent.parameters, **_network(given, 'agent_weights')},
        name='agent',
        namespace=agent.agent_id,
        remappings=list(remappings),
    )


def _player(given):
    return _node(
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
    )


def _bag(given, topics):
    command = ['ros2', 'bag', 'play', given['bag'], '--clock', '100', '--rate', given['rate']]
    command += ['--loop'] if given['loop'] == 'true' else []
    play = ExecuteProcess(
        cmd=[*command, '--topics', *topics], name='bag', output='both', emulate_tty=True
    )
    return TimerAction(period=float(given['start_delay']), actions=[play])


def _node(given, executable, file, parameters, **options):
    """A node of ours: shipped file, then the user's file, then what the launch file knows."""
    shipped = PathJoinSubstitution([FindPackageShare('cooptrack_ros'), 'config', file])
    files = [shipped, given['params_file']] if given['params_file'] else [shipped]
    return Node(
        package='cooptrack_ros',
        executable=executable,
        parameters=[*files, parameters],
        arguments=['--ros-args', '--log-level', given['log_level']],
        output='both',
        emulate_tty=True,
        # Until a frame in work is done; a loaded machine takes its time.
        sigterm_timeout='20',
        sigkill_timeout='20',
        **options,
    )


def _network(given, weights):
    named = {'weights': given[weights], 'device': given['device']}
    return {name: value for name, value in named.items() if value}


def _rviz(given):
    if given['rviz'] != 'true':
        return []
    try:
        get_package_share_directory('rviz2')
    except PackageNotFoundError:
        return [LogInfo(msg='rviz2 is not installed: going on without (apt install rviz2)')]
    config = given['rviz_config'] or PathJoinSubstitution(
        [FindPackageShare('cooptrack_ros'), 'config', 'cooptrack.rviz']
    )
    return [Node(package='rviz2', executable='rviz2', name='rviz', arguments=['-d', config])]
