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

"""Tracks with all agents: one node per agent that sends, one that fuses, and what feeds them."""

from launch.actions import OpaqueFunction, Shutdown
from launch_ros.actions import SetParameter

from cooptrack_ros.nodes import inputs, launching
from launch import LaunchDescription

ARGUMENTS = {
    'agents': (
        '',
        'remote agents, separated by commas, for example agents:=roadside,vehicle_1; empty = all '
        'of the recording, live all that are on the air',
    ),
    'ego': ('vehicle', 'agent that fuses'),
    'ego_only': (
        'false',
        'also track with the ego alone, for comparison, under /cooptrack/ego_only',
        launching.YES_NO,
    ),
    'live': (
        'false',
        'real cameras in place of a recording: only the ego runs here, on the clock of the '
        'machine; the others send from elsewhere (agent.launch.py on their machines)',
        launching.YES_NO,
    ),
    'cameras': ('front', 'live: cameras of the ego, separated by commas'),
    'transport': (
        'compressed',
        'live: form of the images, image_raw/compressed or image_raw',
        ['compressed', 'raw'],
    ),
    'device': ('', 'where the networks run: cpu, cuda, cuda:0; empty = as in the files'),
    'agent_weights': ('', 'weights of the agents that send; empty = the shipped ones'),
    'cooperative_weights': ('', 'weights of the ego that fuses; empty = the shipped ones'),
}
GROUPS = (
    launching.PLAYBACK,
    ARGUMENTS,
    launching.MAPS,
    launching.CHANNEL,
    launching.VISUALIZATION,
    launching.COMMON,
)


def generate_launch_description():
    """Declare the arguments; the rest depends on who is in the recording."""
    return LaunchDescription([*launching.declare(*GROUPS), OpaqueFunction(function=_start)])


def _start(context):
    given = launching.read(context, *GROUPS)
    if given['live'] == 'true':
        return _live(given)
    return launching.with_recording(given, _recorded)


def _recorded(given):
    """All agents of a recording on this machine."""
    ego_id = given['ego']
    if given['bag']:
        found, _ = inputs.agents_of_bag(given['bag'])
    else:
        found = inputs.agents_of_dataset(given['dataset'], given['scene'])
    agents = inputs.choose(found, given['agents'], ego_id)
    ego = next(agent for agent in agents if agent.agent_id == ego_id)
    remote = [agent for agent in agents if agent.agent_id != ego_id]
    return [
        SetParameter('use_sim_time', True),
        *[
            launching.agent_node(given, agent, given['agent_weights'])
            for agent in remote
            if given['tracks'] == 'true'
        ],
        *_maps_of(given, remote),
        *_fusion(given, ego, [agent.agent_id for agent in remote] if given['agents'] else []),
        launching.player(given),
        *launching.viewers(given),
    ]


def _maps_of(given, remote):
    """Maps that the remote agents send."""
    if given['map'] != 'true':
        return []
    return [
        launching.map_node(given, agent, {'fuse': False}, namespace=agent.agent_id)
        for agent in remote
    ]


def _live(given):
    """The ego alone; cameras and other agents are there already."""
    if given['bag'] or given['dataset']:
        raise RuntimeError('live:=true plays nothing: leave bag:= and dataset:= out')
    ego = inputs.AgentInput(
        given['ego'],
        inputs.Role.VEHICLE,
        tuple(inputs.split_names(given['cameras'])),
        given['transport'],
    )
    return [
        SetParameter('use_sim_time', False),
        *_fusion(given, ego, inputs.split_names(given['agents'])),
        *launching.viewers(given),
    ]


def _fusion(given, ego, listened):
    """The ego that fuses, the radio in front of it, and the ego alone beside it."""
    actions = launching.channel(given)
    if given['ego_only'] == 'true' and given['tracks'] == 'true':
        layer = '/cooptrack/ego_only'
        moved = [(f'/{ego.agent_id}/{what}', f'{layer}/{what}') for what in ('tracks', 'markers')]
        actions.append(launching.agent_node(given, ego, given['agent_weights'], remappings=moved))
    ended = Shutdown(reason='the fusion ended')
    heard = {'agents': listened} if listened else {}
    if given['map'] == 'true':
        actions.append(launching.map_node(given, ego, {'send': False, **heard}, on_exit=ended))
    if given['tracks'] == 'false':
        if given['map'] == 'false':
            raise RuntimeError('tracks:=false needs map:=true: there is nothing to run')
        return actions
    fusion = launching.node(
        given,
        'cooperative_node',
        'cooperative.param.yaml',
        {
            **ego.parameters,
            **heard,
            **launching.network(given['cooperative_weights'], given['device']),
        },
        name='cooperative',
        on_exit=ended,
    )
    return [*actions, fusion]
