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

"""Stand-ins for launch and launch_ros that write down what a launch file asks for.

They prove what the launch files of this package say, nothing about ROS.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path


class Action:
    """Keeps its arguments."""

    def __init__(self, *args, **options):
        self.args, self.options = args, options

    def __getattr__(self, name):
        try:
            return self.__dict__['options'][name]
        except KeyError:
            raise AttributeError(name) from None


def kind(name):
    return type(name, (Action,), {})


class LaunchConfiguration(Action):
    def perform(self, context):
        return context[self.args[0]]


class PackageNotFoundError(KeyError):
    pass


def install(monkeypatch, packages=()):
    """Put the stand-ins in place; ``packages`` are installed."""

    def share(package):
        if package not in packages:
            raise PackageNotFoundError(package)
        return f'/opt/{package}'

    contents = {
        'launch': {'LaunchDescription': kind('LaunchDescription')},
        'launch.actions': {n: kind(n) for n in (
            'DeclareLaunchArgument', 'ExecuteProcess', 'LogInfo', 'OpaqueFunction',
            'RegisterEventHandler', 'Shutdown', 'TimerAction',
        )},
        'launch.event_handlers': {'OnProcessExit': kind('OnProcessExit')},
        'launch.substitutions': {
            'LaunchConfiguration': LaunchConfiguration,
            'PathJoinSubstitution': kind('PathJoinSubstitution'),
        },
        'launch_ros': {},
        'launch_ros.actions': {n: kind(n) for n in ('Node', 'SetParameter')},
        'launch_ros.substitutions': {'FindPackageShare': kind('FindPackageShare')},
        'ament_index_python': {},
        'ament_index_python.packages': {
            'PackageNotFoundError': PackageNotFoundError,
            'get_package_share_directory': share,
        },
    }  # fmt: skip
    for name, members in contents.items():
        module = types.ModuleType(name)
        module.__dict__.update(members)
        module.__path__ = []
        monkeypatch.setitem(sys.modules, name, module)
    # Made with the stand-ins, so it must go with them.
    monkeypatch.delitem(sys.modules, 'cooptrack_ros.nodes.launching', raising=False)
    import cooptrack_ros.nodes

    monkeypatch.delattr(cooptrack_ros.nodes, 'launching', raising=False)


def load(path: Path):
    """Run a launch file; return the actions of its description."""
    spec = importlib.util.spec_from_file_location(path.name.replace('.', '_'), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.generate_launch_description().args[0])


def defaults(actions):
    """Default of each argument, by name."""
    return {
        a.args[0]: a.default_value for a in actions if type(a).__name__ == 'DeclareLaunchArgument'
    }


def start(actions, **given):
    """Do what the launch service does: give values to the arguments, then call the functions."""
    values = defaults(actions)
    unknown = set(given) - set(values)
    assert not unknown, unknown
    for action in actions:
        if type(action).__name__ == 'DeclareLaunchArgument' and action.choices:
            value = given.get(action.args[0], action.default_value)
            assert value in action.choices, (action.args[0], value)
    values.update(given)
    out = []
    for action in actions:
        if type(action).__name__ == 'OpaqueFunction':
            out += action.function(values, *action.options.get('args', ()))
    return out


def nodes(actions):
    """Nodes by ``namespace/name`` or name."""
    return {
        '/'.join(filter(None, (a.options.get('namespace'), a.name))): a
        for a in actions
        if type(a).__name__ == 'Node'
    }


def parameters(node):
    """The parameters that the launch file itself sets."""
    return node.parameters[-1]
