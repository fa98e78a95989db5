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

"""Nodes under SROS2 with the shipped policy: what it lists suffices, and what it does not fails.

Needs a sourced ROS 2 with ``ros2 security``, a middleware built with DDS security, and the built
packages; skipped with the reason where there is none.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NEEDED = 'needs ROS 2 with sros2: source it, "colcon build", source install/setup.bash'
pytest.importorskip('rclpy', reason=NEEDED)
pytest.importorskip('sros2', reason=NEEDED)
pytest.importorskip('cooptrack_msgs.msg', reason=NEEDED)

from cooptrack_core.resources import config_path  # noqa: E402
from cooptrack_msgs.msg import Latency, TrackedObjects  # noqa: E402

TEST = Path(__file__).parents[1]
for room in ('core/datasets', 'core/models', 'core/perception', 'launch'):
    sys.path.insert(0, str(TEST / room))
from builder import Spec, build_v2x_seq  # noqa: E402
from map_frames import weights_file  # noqa: E402
from processes import Client, Process  # noqa: E402
from small_models import save_pair  # noqa: E402

DOMAIN = 50 + os.getpid() % 10
ENCLAVES = ('agent_roadside', 'cooperative', 'bev_map_roadside', 'bev_map', 'v2x_channel')
EVERYTHING = """<?xml version="1.0" encoding="UTF-8"?>
<policy version="0.2.0"><enclaves><enclave path="/tools"><profiles><profile ns="/" node="tools">
<topics publish="ALLOW" subscribe="ALLOW"><topic>*</topic></topics>
<services reply="ALLOW" request="ALLOW"><service>*</service></services>
</profile></profiles></enclave></enclaves></policy>
"""


@pytest.fixture(scope='module')
def keystore(tmp_path_factory):
    """Keys and permissions by the shipped policy, as its head says."""
    directory = tmp_path_factory.mktemp('sros2')
    keys, tools = directory / 'keys', directory / 'tools.xml'
    tools.write_text(EVERYTHING)
    policy = config_path('security/sros2_policy.xml')

    def security(*arguments):
        done = subprocess.run(
            ['ros2', 'security', *map(str, arguments)],
            env=os.environ | {'ROS_DOMAIN_ID': str(DOMAIN)},
            capture_output=True,
            text=True,
            check=False,
        )
        return '' if done.returncode == 0 else done.stderr.strip()[-300:]

    problem = security('create_keystore', keys)
    if problem:  # known: sros2 of Jazzy beside a newer cryptography than that of Ubuntu 24.04
        pytest.skip(f'ros2 security does not work here: {problem}')
    for path, file in [('/tools', tools), *((f'/cooptrack/{e}', policy) for e in ENCLAVES)]:
        assert not security('create_enclave', keys, path)
        assert not security('create_permission', keys, path, file)
    return keys


@pytest.fixture
def secured(keystore, monkeypatch):
    monkeypatch.setenv('ROS_SECURITY_KEYSTORE', str(keystore))
    monkeypatch.setenv('ROS_SECURITY_ENABLE', 'true')
    monkeypatch.setenv('ROS_SECURITY_STRATEGY', 'Enforce')


@pytest.fixture
def start(secured, tmp_path):
    begun = []

    def process(executable, enclave, *arguments, name=None):
        made = Process(
            executable, '--enclave', enclave, *arguments, directory=tmp_path, domain=DOMAIN,
            name=name,
        )  # fmt: skip
        begun.append(made)
        return made

    yield process
    for made in begun:
        made.kill()


def parameters(**values):
    return [word for key, value in values.items() for word in ('-p', f'{key}:={value}')]


def test_the_shipped_policy_suffices_for_every_node_and_tracks_are_fused(
    start, tmp_path, monkeypatch
):
    dataset = build_v2x_seq(tmp_path / 'dataset', Spec(frames=15)).root
    agent, cooperative = save_pair(tmp_path)
    maps = weights_file(tmp_path / 'map.safetensors')
    inputs = {'use_sim_time': 'true', 'cameras': '[front]'}
    remote = ['-r', '__ns:=/roadside', *parameters(agent_id='roadside', role='roadside')]
    nodes = [
        start(
            'agent_node', '/cooptrack/agent_roadside', *remote, '-r', '__node:=agent',
            *parameters(weights=agent, **inputs),
        ),
        start(
            'cooperative_node', '/cooptrack/cooperative',
            *parameters(weights=cooperative, **inputs),
        ),
        start(
            'bev_map_node', '/cooptrack/bev_map_roadside', *remote,
            *parameters(weights=maps, fuse='false', **inputs), name='bev_map_roadside',
        ),
        start('bev_map_node', '/cooptrack/bev_map', *parameters(weights=maps, **inputs)),
        start('v2x_channel_node', '/cooptrack/v2x_channel', *parameters(use_sim_time='true')),
    ]  # fmt: skip
    start('dataset_player_node', '/tools', *parameters(dataset=dataset, loop='true', rate=0.25))
    monkeypatch.setenv('ROS_SECURITY_ENCLAVE_OVERRIDE', '/tools')
    client = Client(DOMAIN)
    try:
        tracks = client.listen('/cooptrack/tracks', TrackedObjects)
        fused = client.listen('/cooptrack/latency', Latency)
        maps_made = client.listen('/cooptrack/bev/latency', Latency)

        def heard():
            return tracks and any(m.peers for m in fused) and any(m.peers for m in maps_made)

        client.until(heard, 'tracks and maps of two agents')
    finally:
        client.close()
    assert [node.interrupt() for node in nodes] == [0] * len(nodes)


def test_who_claims_another_name_than_that_of_its_keys_cannot_speak(start, tmp_path):
    agent, _ = save_pair(tmp_path)
    rogue = start(
        'agent_node', '/cooptrack/agent_roadside', '-r', '__ns:=/roadside', '-r',
        '__node:=agent', *parameters(agent_id='vehicle_9', weights=agent),
    )  # fmt: skip
    assert rogue.wait() == 2
    assert 'failed to create' in rogue.text
    assert 'permissions of its enclave' in rogue.text
    assert 'Traceback' not in rogue.text
