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

"""The nodes of a live graph in processes, for ``benchmarks.ros_graph``; needs a sourced ROS 2."""

from __future__ import annotations

import atexit
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / 'test' / 'launch'))

from processes import Client, Process

from cooptrack_ros.nodes.inputs import agents_of_dataset

# Complaints that belong to what is measured, or to a slow machine.
_EXPECTED = ('was dropped', 'was skipped', 'this machine is too slow')


class Graph:
    """Nodes in processes, and a client."""

    def __init__(self, dataset: str, domain: int) -> None:
        self.dataset = dataset
        self.directory = Path(tempfile.mkdtemp(prefix='ros_graph_'))
        self.domain = domain
        self.client = Client(domain)
        self.processes: list[Process] = []
        atexit.register(lambda: [process.kill() for process in self.processes])
        self.agents = {a.agent_id: a for a in agents_of_dataset(dataset)}

    def start(self, executable: str, *parameters: str, name: str | None = None) -> Process:
        """Start a node; each parameter is like ``name:=value``."""
        # What holds '->' is a remapping.
        given = [part for p in parameters for part in ('-r' if '->' in p else '-p', p)]
        given = [part.replace('->', ':=') for part in given]
        made = Process(executable, *given, directory=self.directory, domain=self.domain, name=name)
        self.processes.append(made)
        return made

    def agent(self, agent_id: str, *parameters: str, suffix: str = '') -> Process:
        """Start an agent that sends."""
        agent = self.agents[agent_id]
        return self.start(
            'agent_node',
            f'agent_id:={agent_id}',
            f'role:={agent.role}',
            f'cameras:=[{",".join(agent.cameras)}]',
            'use_sim_time:=true',
            *parameters,
            name=f'agent_{agent_id}{suffix}',
        )

    def ego(self, *parameters: str) -> Process:
        """Start the ego that fuses."""
        return self.start('cooperative_node', 'use_sim_time:=true', *parameters)

    def play(self, *parameters: str) -> Process:
        """Start the player."""
        return self.start(
            'dataset_player_node', f'dataset:={self.dataset}', 'wait_for_s:=5.0', *parameters
        )

    def ready(self) -> None:
        """Wait until the models are loaded."""
        for process in self.processes:
            process.until('model ')

    def close(self) -> list[str]:
        """End all; return what they complained about."""
        for process in self.processes:
            process.interrupt()
        self.client.close()
        return [
            f'{p.name}: {line}'
            for p in self.processes
            for line in p.problems
            if not any(said in line for said in _EXPECTED)
        ]


def megabytes(process: Process) -> float:
    """Resident memory."""
    for line in Path(f'/proc/{process.process.pid}/status').read_text().splitlines():
        if line.startswith('VmRSS:'):
            return int(line.split()[1]) / 1024
    return float('nan')


def cpu_s(process: Process) -> float:
    """CPU time that a process used."""
    parts = Path(f'/proc/{process.process.pid}/stat').read_text().rsplit(')', 1)[1].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf('SC_CLK_TCK')
