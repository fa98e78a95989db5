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

Declaration in ROS, the files in ``config/`` and the tables in ``docs/nodes.md`` come from here
(``python -m cooptrack_ros.nodes.generate`` writes the latter two).
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeVar

from cooptrack_core.errors import InputError
from cooptrack_core.v2x.selection import Selection
from cooptrack_ros import _compat
from cooptrack_ros.nodes.schema import (
    build,
    changed,
    constraint,
    example,
    nearest,
    parameter,
    type_name,
    unknown_names,
)

T = TypeVar('T')


@dataclass(frozen=True)
class SensorParameters:
    """What the two perceiving nodes share: who the agent is and what it sees."""

    agent_id: str = parameter('vehicle', 'name of the agent, first part of its topics')
    role: str = parameter('vehicle', 'kind of agent', choices=('vehicle', 'roadside'))
    cameras: tuple[str, ...] = parameter(
        ('front',), 'names of the cameras; the first one that is alive sets the time of a frame'
    )
    transport: str = parameter(
        'compressed',
        'form of the images: image_raw/compressed or image_raw',
        choices=('compressed', 'raw'),
    )
    rectified: bool = parameter(False, 'take image_rect in place of image_raw; P and R hold')
    camera_tolerance_ms: float = parameter(
        40.0,
        'images of one agent this close together form one frame, ms',
        low=0.0,
        high=1000.0,
        dynamic=True,
    )
    world_frame: str = parameter('map', 'TF frame that all agents share')
    agent_frame: str = parameter(
        '{agent}/lidar', 'TF frame of perception; {agent} stands for agent_id'
    )
    body_frame: str = parameter('{agent}/base_link', 'TF frame of the body')
    tf_timeout_ms: float = parameter(
        200.0,
        'how long a frame waits for its pose in TF and for camera_info, ms',
        low=0.0,
        high=60000.0,
        dynamic=True,
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
        'number format of the network; bf16 is faster where the processor multiplies it, int8 on '
        'all (docs/speed.md) and needs exported',
        choices=('fp32', 'bf16', 'int8'),
    )
    exported: str = parameter(
        '',
        'directory of "cooptrack export" for openvino or onnxruntime; empty = the network is '
        'converted at the start',
    )
    threads: int = parameter(1, 'threads of the network on the CPU', low=1, high=256)
    v2x_reliability: str = parameter(
        'best_effort',
        'reliability of the radio topics',
        choices=('best_effort', 'reliable'),
    )
    autostart: bool = parameter(
        True, 'configure and activate at the start; false waits for "ros2 lifecycle set"'
    )
    snapshot_frames: int = parameter(
        3, 'frames that are kept for ~/snapshot; 0 = none', low=0, high=100, dynamic=True
    )
    snapshot_directory: str = parameter(
        '',
        'where ~/snapshot writes; empty = cooptrack_snapshots in $ROS_HOME or ~/.ros',
        dynamic=True,
    )


@dataclass(frozen=True)
class AgentParameters(SensorParameters):
    """Parameters of ``agent_node``."""

    dtype: str = parameter(
        'int8',
        'number format of the features on the air',
        choices=('int8', 'fp16', 'fp32'),
        dynamic=True,
    )
    min_score: float = parameter(
        0.0, 'instances less sure than this are not sent', low=0.0, high=1.0, dynamic=True
    )
    most_instances: int = parameter(
        0, 'most instances in a message, the best; 0 = all', low=0, high=100000, dynamic=True
    )
    message_hz: float = parameter(
        0.0,
        'most messages per second; 0 = one for every frame',
        low=0.0,
        high=1000.0,
        dynamic=True,
    )

    @property
    def selection(self) -> Selection:
        """What goes on the air."""
        return Selection(self.min_score, self.most_instances or None, self.message_hz or None)


@dataclass(frozen=True)
class ReceiverParameters(SensorParameters):
    """What the nodes share that fuse what other agents send."""

    agents: tuple[str, ...] = parameter(
        ('*',), 'remote agents to listen to; * = every one that is on the air'
    )
    wait_ms: float = parameter(
        50.0,
        'longest wait of a frame for messages captured around it, ms',
        low=0.0,
        high=10000.0,
        dynamic=True,
    )
    max_age_ms: float = parameter(
        500.0, 'oldest capture that is fused, ms', low=1.0, high=60000.0, dynamic=True
    )
    future_tolerance_ms: float = parameter(
        100.0,
        'how far the clock of a sender may run ahead, ms',
        low=0.0,
        high=10000.0,
        dynamic=True,
    )
    marker_lifetime_s: float = parameter(
        1.0,
        'a viewer drops markers that are older, s; 0 = never',
        low=0.0,
        high=3600.0,
        dynamic=True,
    )
    max_agents: int = parameter(
        64, 'most remote agents that are listened to at a time', low=1, high=1024
    )
    max_message_kilobytes: int = parameter(
        4096, 'largest message that is taken, kB; larger ones are not read', low=1, high=1048576
    )
    peer_rate_hz: float = parameter(
        50.0,
        'messages per second of real time that one remote agent may send; more are not read',
        low=0.1,
        high=10000.0,
        dynamic=True,
    )
    peer_megabytes_per_s: float = parameter(
        20.0,
        'megabytes per second of real time that one remote agent may send',
        low=0.001,
        high=10000.0,
        dynamic=True,
    )


@dataclass(frozen=True)
class CooperativeParameters(ReceiverParameters):
    """Parameters of ``cooperative_node``."""

    output_time: str = parameter(
        'capture',
        'time for which tracks and detections hold: that of the image, or that of publication, '
        'predicted with their velocities',
        choices=('capture', 'now'),
        dynamic=True,
    )


@dataclass(frozen=True)
class BevMapParameters(ReceiverParameters):
    """Parameters of ``bev_map_node``."""

    send: bool = parameter(True, "send the features of the agent's own map to the others")
    fuse: bool = parameter(
        True, 'listen to the others and publish the map around the agent; false only sends'
    )
    dtype: str = parameter(
        'int8',
        'number format of the features on the air',
        choices=('int8', 'fp16', 'fp32'),
        dynamic=True,
    )
    max_fused: int = parameter(
        5, 'most agents whose maps are fused, this one included; the nearest', low=1, high=64
    )


@dataclass(frozen=True)
class PlayerParameters:
    """Parameters of ``dataset_player_node``."""

    dataset: str = parameter('', 'directory in the V2X-Seq layout')
    scene: str = parameter('', 'sequence to play; empty = the first')
    rate: float = parameter(1.0, 'speed; 1 = as recorded', low=0.01, high=100.0, dynamic=True)
    start_paused: bool = parameter(False, 'wait for ~/resume or ~/step before the first image')
    loop: bool = parameter(False, 'start anew at the end; time jumps back')
    clock_hz: float = parameter(100.0, 'how often /clock is published, Hz', low=1.0, high=1000.0)
    wait_for_s: float = parameter(
        60.0,
        'longest wait until each camera topic has a subscriber, s; 0 = none',
        low=0.0,
        high=86400.0,
    )


@dataclass(frozen=True)
class ChannelParameters:
    """Parameters of ``v2x_channel_node``.

    The first six may be given for single agents, too, as ``<agent>.<name>`` (``SHARED``).
    """

    latency_ms: float = parameter(
        0.0, 'mean delay of a message, ms', low=0.0, high=60000.0, dynamic=True
    )
    jitter_ms: float = parameter(
        0.0, 'standard deviation of the delay, ms', low=0.0, high=60000.0, dynamic=True
    )
    loss: float = parameter(
        0.0, 'probability that a message never arrives', low=0.0, high=1.0, dynamic=True
    )
    duplication: float = parameter(
        0.0, 'probability that a message arrives twice', low=0.0, high=1.0, dynamic=True
    )
    reordering: float = parameter(
        1.0,
        'probability that a message may overtake earlier ones; 1 = as the jitter has it, 0 = the '
        'order is kept',
        low=0.0,
        high=1.0,
        dynamic=True,
    )
    bandwidth_mbit_s: float = parameter(
        0.0, 'bits that pass, Mbit/s; 0 = no limit', low=0.0, high=100000.0, dynamic=True
    )
    agents: tuple[str, ...] = parameter(
        ('*',), 'agents whose messages pass; * = every one that sends'
    )
    seed: int = parameter(0, 'the same seed and sends give the same deliveries', low=0)
    v2x_reliability: str = parameter(
        'best_effort',
        'reliability of the radio topics, on both sides',
        choices=('best_effort', 'reliable'),
    )
    lifespan_ms: float = parameter(
        1000.0, 'what a reader has not taken by then is gone, ms', low=1.0, high=60000.0
    )
    max_links: int = parameter(64, 'most links; one per agent and topic', low=1, high=1024)
    max_in_flight: int = parameter(
        1000, 'most messages under way per link; what is more is lost', low=1, high=1000000
    )
    max_megabytes_in_flight: float = parameter(
        64.0, 'most megabytes under way per link; what is more is lost', low=0.001, high=65536.0
    )


# Settings of the channel that single agents may have of their own.
SHARED = (
    'latency_ms', 'jitter_ms', 'loss', 'duplication', 'reordering', 'bandwidth_mbit_s',
)  # fmt: skip


def declare(node: Any, kind: type[T], prefixes: Collection[str] = ()) -> T:
    """Declare the parameters of a class at a node and return their values.

    A name that is given but not declared is a warning with the nearest one.

    Args:
        node: The rclpy node.
        kind: The class.
        prefixes: Last parts of dotted names that the node declares later, as it meets agents.

    Raises:
        InputError: A value is of the wrong type or out of its range.
    """
    from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

    values = {}
    for f in dataclasses.fields(kind):  # type: ignore[arg-type]
        default = list(f.default) if isinstance(f.default, tuple) else f.default
        limits = constraint(f.metadata)
        try:
            values[f.name] = node.declare_parameter(f.name, default, descriptor(f)).value
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            given = getattr(getattr(node, '_parameter_overrides', {}).get(f.name), 'value', None)
            kindly = 'is no ' + type_name(f.default)
            if isinstance(error, InvalidParameterValueException):
                kindly = 'is out of range'
            raise InputError(
                f'{given!r} {kindly}',
                field=f'{node.get_name()}.{f.name}',
                remedy=f'write for example {f.name}: {example(f.default)}'
                + (f' ({limits})' if limits else ''),
            ) from error
    for name in unknown_names(_compat.given_parameters(node), kind):
        if name.rsplit('.', 1)[-1] not in prefixes or '.' not in name:
            node.get_logger().warning(f"there is no parameter '{name}': {nearest(name, kind)}")
    return build(kind, values, node.get_name())


def descriptor(f: dataclasses.Field[Any]) -> Any:
    """Make the rcl_interfaces/ParameterDescriptor of a field."""
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    low, high = f.metadata['low'], f.metadata['high']
    made = ParameterDescriptor(
        description=f.metadata['text'],
        read_only=not f.metadata['dynamic'],
        additional_constraints=constraint(f.metadata),
    )
    if low is not None and isinstance(f.default, float):
        top = sys.float_info.max if high is None else float(high)
        made.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=top)]
    elif low is not None:
        top = 2**63 - 1 if high is None else int(high)
        made.integer_range = [IntegerRange(from_value=int(low), to_value=top)]
    return made


def watch(node: Any, current: T, accept: Callable[[T, dict[str, Any]], None]) -> None:
    """Let the dynamic parameters change while the node runs.

    Args:
        node: The rclpy node.
        current: The parameters now.
        accept: Puts new parameters into force; gets the changed values of other names as well. An
            InputError or ValueError of it refuses the change with its text.
    """
    from rcl_interfaces.msg import SetParametersResult

    held = [current]

    def on_set(parameters: list[Any]) -> Any:
        changes = {p.name: p.value for p in parameters}
        try:
            new = changed(held[0], changes, node.get_name())
            accept(new, {n: v for n, v in changes.items() if n in unknown_names([n], type(new))})
        except (InputError, ValueError) as error:
            return SetParametersResult(successful=False, reason=str(error))
        held[0] = new
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(on_set)
