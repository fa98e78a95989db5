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

"""Nodes room: the parameters of each node, declared once.

A node's parameters are a frozen dataclass. Name, type and default are those of the field; what
it means and where it may lie stand beside it. Declaration in ROS, the files in ``config/`` and
the tables in ``docs/nodes.md`` are checked against this.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cooptrack_core.errors import InputError
from cooptrack_ros import _compat

T = TypeVar('T')


def parameter(
    default: Any,
    text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Make a field of a parameter class.

    Args:
        default: Its value when nothing is given.
        text: Meaning and unit, one line.
        low: Smallest value.
        high: Largest value.
        choices: Values of a text.
    """
    return field(
        default=default, metadata={'text': text, 'low': low, 'high': high, 'choices': choices}
    )


@dataclass(frozen=True)
class SensorParameters:
    """What the two perceiving nodes share: who the agent is and what it sees."""

    agent_id: str = parameter('vehicle', 'name of the agent, first part of its topics')
    role: str = parameter('vehicle', 'kind of agent', choices=('vehicle', 'roadside'))
    cameras: tuple[str, ...] = parameter(
        ('front',), 'names of the cameras; the first one sets the time of a frame'
    )
    transport: str = parameter(
        'compressed',
        'form of the images: image_raw/compressed or image_raw',
        choices=('compressed', 'raw'),
    )
    rectified: bool = parameter(False, 'take image_rect in place of image_raw; P and R hold')
    camera_tolerance_ms: float = parameter(
        40.0, 'images of one agent this close together form one frame, ms', low=0.0
    )
    world_frame: str = parameter('map', 'TF frame that all agents share')
    agent_frame: str = parameter(
        '{agent}/lidar', 'TF frame of perception; {agent} stands for agent_id'
    )
    body_frame: str = parameter('{agent}/base_link', 'TF frame of the body')
    tf_timeout_ms: float = parameter(
        200.0, 'how long a frame waits for its pose in TF and for camera_info, ms', low=0.0
    )
    weights: str = parameter('', 'weights file; empty = the shipped ones')
    device: str = parameter('cpu', 'where the network runs: cpu, cuda or cuda:0')
    backend: str = parameter(
        'torch',
        'what runs backbone and neck',
        choices=('torch', 'compile', 'openvino', 'onnxruntime'),
    )
    precision: str = parameter(
        'fp32',
        'number format of the network; bf16 is faster where the processor multiplies it',
        choices=('fp32', 'bf16'),
    )
    threads: int = parameter(1, 'threads of the network on the CPU', low=1, high=256)
    v2x_reliability: str = parameter(
        'best_effort',
        'reliability of the radio topics',
        choices=('best_effort', 'reliable'),
    )


@dataclass(frozen=True)
class AgentParameters(SensorParameters):
    """Parameters of ``agent_node``."""

    dtype: str = parameter(
        'int8', 'number format of the features on the air', choices=('int8', 'fp16', 'fp32')
    )


@dataclass(frozen=True)
class CooperativeParameters(SensorParameters):
    """Parameters of ``cooperative_node``."""

    agents: tuple[str, ...] = parameter(
        ('*',), 'remote agents to listen to; * = every one that is on the air'
    )
    wait_ms: float = parameter(
        50.0, 'longest wait of a frame for messages captured around it, ms', low=0.0, high=10000.0
    )
    max_age_ms: float = parameter(500.0, 'oldest capture that is fused, ms', low=1.0, high=60000.0)
    future_tolerance_ms: float = parameter(
        100.0, 'how far the clock of a sender may run ahead, ms', low=0.0, high=10000.0
    )
    marker_lifetime_s: float = parameter(
        1.0, 'a viewer drops markers that are older, s; 0 = never', low=0.0
    )


@dataclass(frozen=True)
class PlayerParameters:
    """Parameters of ``dataset_player_node``."""

    dataset: str = parameter('', 'directory in the V2X-Seq layout')
    scene: str = parameter('', 'sequence to play; empty = the first')
    rate: float = parameter(1.0, 'speed; 1 = as recorded', low=0.01, high=100.0)
    loop: bool = parameter(False, 'start anew at the end; time jumps back')
    clock_hz: float = parameter(100.0, 'how often /clock is published, Hz', low=1.0, high=1000.0)
    wait_for_s: float = parameter(
        60.0, 'longest wait until each camera topic has a subscriber, s; 0 = none', low=0.0
    )


def declare(node: Any, kind: type[T]) -> T:
    """Declare the parameters of a class at a node and return their values.

    A name that is given but not declared is a warning with the nearest one.

    Raises:
        InputError: A value is of the wrong type or out of its range.
    """
    from rcl_interfaces.msg import ParameterDescriptor
    from rclpy.exceptions import InvalidParameterTypeException

    values = {}
    for f in dataclasses.fields(kind):  # type: ignore[arg-type]
        default = list(f.default) if isinstance(f.default, tuple) else f.default
        descriptor = ParameterDescriptor(
            description=f.metadata['text'],
            read_only=True,
            additional_constraints=constraint(f.metadata),
        )
        try:
            values[f.name] = node.declare_parameter(f.name, default, descriptor).value
        except InvalidParameterTypeException as error:
            raise InputError(
                f'the value is no {type_name(default)}',
                field=f'{node.get_name()}.{f.name}',
                remedy=f'write for example {f.name}: {example(default)}',
            ) from error
    for name in unknown_names(_compat.given_parameters(node), kind):
        node.get_logger().warning(f"there is no parameter '{name}': {nearest(name, kind)}")
    return build(kind, values, node.get_name())


def build(kind: type[T], values: Mapping[str, Any], where: str = '') -> T:
    """Make the parameters from plain values; what is not given keeps its default.

    Raises:
        InputError: A name is unknown, or a value is of the wrong type or out of its range.
    """
    known = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = unknown_names(values, kind)
    if unknown:
        raise InputError(
            f"there is no parameter '{unknown[0]}'",
            field=_place(where, unknown[0]),
            remedy=nearest(unknown[0], kind),
        )
    out = {}
    for name, value in values.items():
        f = known[name]
        out[name] = _checked(name, value, f, where)
    return kind(**out)


def unknown_names(names: Iterable[str], kind: type[Any]) -> list[str]:
    """Names that are no parameter of the class."""
    known = {f.name for f in dataclasses.fields(kind)}
    return [name for name in names if name not in known]


def nearest(name: str, kind: type[Any]) -> str:
    """Say which parameter may be meant."""
    known = [f.name for f in dataclasses.fields(kind)]
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{near[0]}'?" if near else f'known: {known}'


def constraint(metadata: Mapping[str, Any]) -> str:
    """Describe where a value may lie."""
    if metadata['choices']:
        return 'one of ' + ', '.join(metadata['choices'])
    low, high = metadata['low'], metadata['high']
    if low is None:
        return ''
    return f'at least {low:g}' if high is None else f'{low:g} to {high:g}'


def type_name(default: Any) -> str:
    """Name of a parameter's type as ROS users say it."""
    if isinstance(default, (list, tuple)):
        return 'list of strings'
    return {bool: 'bool', int: 'integer', float: 'double', str: 'string'}[type(default)]


def example(default: Any) -> str:
    """Write a value as in a parameter file."""
    if isinstance(default, (list, tuple)):
        return '[' + ', '.join(f"'{v}'" for v in default) + ']'
    if isinstance(default, bool):
        return str(default).lower()
    return f"'{default}'" if isinstance(default, str) else repr(default)


def table(kind: type[Any]) -> str:
    """Markdown table of the parameters of a class."""
    lines = ['| parameter | type | default | meaning |', '| --- | --- | --- | --- |']
    for f in dataclasses.fields(kind):
        limits = constraint(f.metadata)
        text = f.metadata['text'] + (f' ({limits})' if limits else '')
        lines.append(f'| `{f.name}` | {type_name(f.default)} | `{example(f.default)}` | {text} |')
    return '\n'.join(lines) + '\n'


def _place(node: str, name: str) -> str:
    return f'{node}.{name}' if node else name


def _checked(name: str, value: Any, f: dataclasses.Field[Any], where: str) -> Any:
    def wrong(message: str) -> InputError:
        limits = constraint(f.metadata)
        return InputError(
            message,
            field=_place(where, name),
            remedy=f'give {type_name(f.default)}' + (f', {limits}' if limits else ''),
        )

    if isinstance(f.default, tuple):
        if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
            raise wrong(f'{value!r} is no list of strings')
        if not value or not all(value):
            raise wrong('the list is empty')
        return tuple(value)
    if type(value) is not type(f.default):
        raise wrong(f'{value!r} is no {type_name(f.default)}')
    if f.metadata['choices'] and value not in f.metadata['choices']:
        raise wrong(f'{value!r} is unknown')
    low, high = f.metadata['low'], f.metadata['high']
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        raise wrong(f'{value} is out of range')
    return value
