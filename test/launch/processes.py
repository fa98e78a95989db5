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

"""What the tests on a real ROS 2 share: processes of nodes, and a client that looks at them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import rclpy
from rcl_interfaces.msg import Parameter
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter as RclpyParameter
from rclpy.parameter import parameter_value_to_python

PATIENCE_S = 120.0  # a loaded machine needs a minute to import torch three times


class Process:
    """A node in a process of its own."""

    def __init__(self, executable, *arguments, directory, domain, name=None):
        self.name = name or executable.removesuffix('_node')
        self.log = directory / f'{self.name}.log'
        self._handle = self.log.open('w')
        self.process = subprocess.Popen(
            [sys.executable, '-m', f'cooptrack_ros.nodes.{executable}', '--ros-args', *arguments],
            stdout=self._handle,
            stderr=subprocess.STDOUT,
            env=os.environ | {'ROS_DOMAIN_ID': str(domain), 'OMP_NUM_THREADS': '1'},
            start_new_session=True,
        )

    @property
    def text(self):
        return self.log.read_text()

    @property
    def problems(self):
        """Lines of warnings and worse."""
        return [line for line in self.text.splitlines() if '[INFO]' not in line and line.strip()]

    def until(self, said):
        end = time.monotonic() + PATIENCE_S
        while said not in self.text:
            assert self.process.poll() is None, f'{self.name} ended:\n{self.text}'
            assert time.monotonic() < end, f'{self.name} never said {said!r}:\n{self.text}'
            time.sleep(0.05)
        return self

    def wait(self):
        """Wait for its end; return the exit status."""
        status = self.process.wait(PATIENCE_S)
        self._handle.close()
        return status

    def interrupt(self):
        """Ctrl-C; return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.wait()

    def kill(self):
        """Make sure that it is gone."""
        if self.process.poll() is None:
            self.process.kill()
        self.wait()


class Client:
    """Keeps what is published and asks nodes, in a context of its own."""

    def __init__(self, domain):
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node('client', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.heard: dict[str, list] = {}

    def listen(self, topic, kind, qos=10):
        self.heard[topic] = []
        self.on(topic, kind, self.heard[topic].append, qos)
        return self.heard[topic]

    def on(self, topic, kind, callback, qos=10):
        self.node.create_subscription(kind, topic, callback, qos)

    def spin(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.05)

    def until(self, condition, what, patience_s=PATIENCE_S):
        end = time.monotonic() + patience_s
        while not condition():
            assert time.monotonic() < end, f'not seen: {what}'
            self.executor.spin_once(timeout_sec=0.1)

    def call(self, kind, service, **fields):
        client = self.node.create_client(kind, service)
        self.until(client.service_is_ready, service)
        future = client.call_async(kind.Request(**fields))
        self.until(future.done, f'an answer of {service}')
        self.node.destroy_client(client)
        return future.result()

    def set_parameter(self, node, name, value):
        parameter = RclpyParameter(name, value=value).to_parameter_msg()
        assert isinstance(parameter, Parameter)
        answer = self.call(SetParameters, f'{node}/set_parameters', parameters=[parameter])
        return answer.results[0]

    def parameters(self, node, names):
        answer = self.call(GetParameters, f'{node}/get_parameters', names=list(names))
        return [parameter_value_to_python(value) for value in answer.values]

    def descriptors(self, node, names):
        answer = self.call(DescribeParameters, f'{node}/describe_parameters', names=list(names))
        return answer.descriptors

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)
