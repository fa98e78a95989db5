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

"""Stand-ins for rclpy, with which a node of ours can be wired up. They prove nothing about ROS."""

from __future__ import annotations

import sys
import types
from types import SimpleNamespace


class Message:
    """A message of any type: keeps its fields."""

    def __init__(self, **fields):
        self.__dict__.update(fields)


class RefusedError(Exception):
    """rclpy.exceptions.InvalidParameter{Type,Value}Exception."""


class Options(SimpleNamespace):
    """A class with constants of which nobody looks at the value."""

    def __getattr__(self, name):
        return name


def install(monkeypatch):
    """Put the stand-ins in place."""
    contents = {
        'rclpy': {},
        'rclpy.qos': {
            'DurabilityPolicy': Options(), 'HistoryPolicy': Options(),
            'ReliabilityPolicy': Options(), 'QoSProfile': lambda **k: SimpleNamespace(**k),
        },
        'rclpy.duration': {'Duration': lambda **k: SimpleNamespace(**k)},
        'rclpy.clock': {
            'Clock': lambda **k: None, 'ClockType': Options(),
            'JumpThreshold': lambda **k: None,
        },
        'rclpy.qos_overriding_options': {
            'QoSOverridingOptions': SimpleNamespace(with_default_policies=lambda: None)
        },
        'rclpy.exceptions': {
            'InvalidParameterTypeException': type('Wrong', (Exception,), {}),
            'InvalidParameterValueException': RefusedError,
        },
        'rcl_interfaces': {},
        'rcl_interfaces.msg': {
            name: type(name, (Message,), {}) for name in (
                'FloatingPointRange', 'IntegerRange', 'ParameterDescriptor', 'SetParametersResult',
            )
        },
        'rosidl_runtime_py': {},
        'rosidl_runtime_py.utilities': {'get_message': get_message},
        'builtin_interfaces': {},
        'builtin_interfaces.msg': {'Time': type('Time', (Message,), {})},
        'std_msgs': {},
        'std_msgs.msg': {'Header': type('Header', (Message,), {})},
        'diagnostic_msgs': {},
        'diagnostic_msgs.msg': {
            name: type(name, (Message,), {})
            for name in ('DiagnosticArray', 'DiagnosticStatus', 'KeyValue')
        },
        'cooptrack_msgs': {},
        'cooptrack_msgs.msg': {
            name: type(name, (Message,), {}) for name in ('ChannelStatus', 'LinkStatus')
        },
    }  # fmt: skip
    for name, members in contents.items():
        module = types.ModuleType(name)
        module.__dict__.update(members)
        module.__path__ = []
        monkeypatch.setitem(sys.modules, name, module)
    import cooptrack_ros.nodes

    for name in ('qos', 'channel'):
        monkeypatch.delitem(sys.modules, f'cooptrack_ros.nodes.{name}', raising=False)
        monkeypatch.delattr(cooptrack_ros.nodes, name, raising=False)


def get_message(name):
    if name.startswith('unknown_msgs'):
        raise ModuleNotFoundError(name)
    return type(name.rsplit('/', 1)[-1], (Message,), {})


class FakeNode:
    """Keeps what it is asked for; parameters behave as those of rclpy do."""

    def __init__(self, name='node', overrides=None, topics=()):
        self.name, self.topics, self.now_ns = name, list(topics), 10**18
        self._parameter_overrides = {
            k: SimpleNamespace(name=k, value=v) for k, v in (overrides or {}).items()
        }
        self.values, self.descriptors, self.callbacks = {}, {}, []
        self.published, self.subscribed, self.logged, self.timers = {}, {}, [], []
        self.jump = None

    def get_name(self):
        return self.name

    def get_logger(self):
        def log(kind):
            return lambda text: self.logged.append((kind, text))

        return SimpleNamespace(info=log('info'), warning=log('warning'), fatal=log('fatal'))

    def get_clock(self):
        def create_jump_callback(threshold, *, post_callback):
            self.jump = post_callback

        return SimpleNamespace(
            now=lambda: SimpleNamespace(nanoseconds=self.now_ns),
            create_jump_callback=create_jump_callback,
        )

    def declare_parameter(self, name, default, descriptor):
        assert name not in self.values
        given = self._parameter_overrides.get(name)
        value = default if given is None else given.value
        self.values[name] = default
        self.descriptors[name] = descriptor
        result = self._ask({name: value})
        if not result.successful:
            del self.values[name]
            raise RefusedError(result.reason)
        self.values[name] = value
        return SimpleNamespace(name=name, value=value)

    def add_on_set_parameters_callback(self, callback):
        self.callbacks.append(callback)

    def set(self, **changes):
        return self.set_all(changes)

    def set_all(self, changes):
        assert set(changes) <= set(self.values)
        result = self._ask(changes)
        if result.successful:
            self.values.update(changes)
        return result

    def _ask(self, changes):
        result = SimpleNamespace(successful=True, reason='')
        for callback in self.callbacks:
            result = callback([SimpleNamespace(name=k, value=v) for k, v in changes.items()])
            if not result.successful:
                return result
        return result

    def create_publisher(self, kind, topic, profile, *, qos_overriding_options=None):
        sent = self.published.setdefault(topic, [])
        return SimpleNamespace(publish=sent.append, topic_name=topic, kind=kind)

    def create_subscription(
        self, kind, topic, callback, profile, *, qos_overriding_options=None, raw=False
    ):
        self.subscribed[topic] = SimpleNamespace(callback=callback, raw=raw, kind=kind)
        return self.subscribed[topic]

    def create_timer(self, period_s, callback, *, clock=None):
        self.timers.append((period_s, callback))

    def get_topic_names_and_types(self):
        return [(topic, [kind]) for topic, kind in self.topics]

    def run_timers(self):
        for _, callback in self.timers:
            callback()
