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

"""One agent that sends: a roadside unit or another vehicle, on its own machine."""

from launch.actions import OpaqueFunction, Shutdown
from launch_ros.actions import SetParameter

from cooptrack_ros.nodes import inputs, launching
from launch import LaunchDescription

ARGUMENTS = {
    'agent_id': ('roadside', 'name of the agent: first part of its topics, unique on the air'),
    'role': ('roadside', 'kind of agent', ['roadside', 'vehicle']),
    'cameras': ('front', 'its cameras, separated by commas; the first living one sets the time'),
    'transport': (
        'compressed',
        'form of the images: image_raw/compressed or image_raw',
        ['compressed', 'raw'],
    ),
    'rectified': ('false', 'take image_rect in place of image_raw', launching.YES_NO),
    'weights': ('', 'weights of its network; empty = the shipped ones'),
    'device': ('', 'where the network runs: cpu, cuda, cuda:0; empty = as in the file'),
    'use_sim_time': ('false', 'take the time of /clock, for recordings', launching.YES_NO),
    'channel': (
        'false',
        'send on /v2x_tx/<agent>/... for a v2x_channel_node that stands between',
        launching.YES_NO,
    ),
}


def generate_launch_description():
    """Declare the arguments; lists are split when they are known."""
    groups = (ARGUMENTS, launching.MAPS, launching.COMMON)
    return LaunchDescription(
        [*launching.declare(*groups), OpaqueFunction(function=_start, args=[groups])]
    )


def _start(context, groups):
    given = launching.read(context, *groups)
    agent = inputs.AgentInput(
        given['agent_id'],
        inputs.Role(given['role']),
        tuple(inputs.split_names(given['cameras'])),
        given['transport'],
        given['rectified'] == 'true',
    )
    ended = Shutdown(reason='the agent ended')
    actions = [SetParameter('use_sim_time', given['use_sim_time'] == 'true')]
    if given['tracks'] == 'true':
        actions.append(launching.agent_node(given, agent, given['weights'], on_exit=ended))
    if given['map'] == 'true':
        where = {'namespace': agent.agent_id}
        actions.append(launching.map_node(given, agent, {'fuse': False}, on_exit=ended, **where))
    if len(actions) == 1:
        raise RuntimeError('tracks:=false needs map:=true: there is nothing to run')
    return actions
