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

"""What differs between ROS 2 distributions, and what to say when there is none."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.errors import InputError
from cooptrack_ros.conversions import rgb_from_image

# Exit status of a node that cannot start: a wrong parameter or file, or a missing part.
CANNOT_START = 2
_LONGEST_REPORT = 500  # characters of a repeated report


class Part(Protocol):
    """What a node does; the rclpy node is given to it."""

    def close(self) -> None:
        """End threads."""
        ...


def ros_problem() -> str | None:
    """Say in one line what of ROS is missing and how to get it; None when all is there."""
    try:
        importlib.import_module('rclpy')
    except ImportError as error:
        return (
            f'cooptrack_ros: rclpy cannot be imported ({error}). Remedy: source a ROS 2 '
            'installation first, for example "source /opt/ros/jazzy/setup.bash"'
        )
    try:
        # Not "import cooptrack_msgs": in a clone the bare directory would satisfy that.
        importlib.import_module('cooptrack_msgs.msg').InstanceFeatures  # noqa: B018
    except (ImportError, AttributeError):
        return (
            'cooptrack_ros: the messages of cooptrack_msgs are not built or not sourced. Remedy: '
            'in the clone, "colcon build && source install/setup.bash"'
        )
    for module in ('vision_msgs', 'tf2_ros', 'diagnostic_msgs', 'nav_msgs', 'visualization_msgs'):
        try:
            importlib.import_module(module)
        except ImportError as error:
            package = f'ros-$ROS_DISTRO-{module.replace("_", "-")}'
            return (
                f'cooptrack_ros: {module} cannot be imported ({error}). Remedy: apt install '
                f'{package}'
            )
    return None


def run(
    name: str,
    build: Callable[[Any], Any],
    args: Sequence[str] | None = None,
    *,
    managed: bool = False,
) -> int:
    """Run a node until it is interrupted or shut down.

    Args:
        name: Default name of the node.
        build: Makes the Part from the rclpy node; a ManagedPart when it is managed.
        args: Command line; default: that of the process.
        managed: Make a lifecycle node.

    Returns:
        Exit status: 0 also after SIGINT, 2 when the node cannot start.
    """
    problem = ros_problem()
    if problem is not None:
        sys.stderr.write(problem + '\n')
        return CANNOT_START
    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

    interrupted = []

    def on_sigint(number: int, frame: Any) -> None:
        interrupted.append(number)
        if len(interrupted) == 1:
            raise KeyboardInterrupt

    # Before rclpy sets its own handler, which calls this one.
    signal.signal(signal.SIGINT, on_sigint)
    rclpy.init(args=None if args is None else list(args))
    node, part = None, None
    try:
        if managed:
            from cooptrack_ros.nodes.lifecycle import ManagedNode

            node = ManagedNode(name)
        else:
            node = rclpy.create_node(name)
        part = build(node)
        if managed:
            node.manage(part)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except InputError as error:
        if node is not None:
            node.get_logger().fatal(str(error))
        return CANNOT_START
    except RuntimeError as error:
        # rclpy makes one of a KeyboardInterrupt that hits it while it converts a message.
        if not interrupted:
            if not _denied(error):
                raise
            sys.stderr.write(
                f'{name}: {str(error).split(", at ")[0]}: probably the permissions of its enclave '
                'do not allow it. Remedy: compare them with config/security/sros2_policy.xml\n'
            )
            return CANNOT_START
    finally:
        # Ctrl-C reaches a launched node twice: from the terminal and from launch. The second
        # one must not break the clean end that the first one began.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if part is not None:
            part.close()
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _denied(error: RuntimeError) -> bool:
    """Whether SROS2 may be why a node could not make a topic or service."""
    secure = os.environ.get('ROS_SECURITY_ENABLE', '').lower() == 'true'
    return secure and 'failed to create' in str(error)


def now_ns(node: Any) -> int:
    """Time of the node's clock: ROS time, which a bag or a player may drive."""
    return int(node.get_clock().now().nanoseconds)


def on_jump_back(node: Any, seconds: float, callback: Callable[[], None]) -> Any:
    """Call back when the node's clock jumps back by more than that; keep the handle."""
    from rclpy.clock import JumpThreshold
    from rclpy.duration import Duration

    threshold = JumpThreshold(
        min_forward=None, min_backward=Duration(seconds=-seconds), on_clock_change=False
    )
    return node.get_clock().create_jump_callback(threshold, post_callback=lambda _: callback())


def steady_timer(node: Any, period_s: float, callback: Callable[[], None]) -> Any:
    """Make a timer that runs on while ROS time stands still."""
    from rclpy.clock import Clock, ClockType

    return node.create_timer(period_s, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))


def given_parameters(node: Any) -> tuple[str, ...]:
    """Names of the parameters that were given on the command line or in a file."""
    overrides: dict[str, Any] = getattr(node, '_parameter_overrides', {})
    builtin = ('use_sim_time', 'qos_overrides', 'start_type_description_service')
    return tuple(name for name in overrides if name.split('.')[0] not in builtin)


def message_class(name: str) -> Any:
    """Class of a message type such as ``std_msgs/msg/String``.

    Raises:
        ImportError, AttributeError, ValueError: There is none.
    """
    from rosidl_runtime_py.utilities import get_message

    return get_message(name)


def declare_float(node: Any, name: str, default: float, text: str) -> str | None:
    """Declare a double that may change while the node runs; return why a given one is refused.

    A value that is refused leaves the parameter undeclared.
    """
    from rcl_interfaces.msg import ParameterDescriptor
    from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException

    try:
        node.declare_parameter(name, default, ParameterDescriptor(description=text))
    except (InvalidParameterTypeException, InvalidParameterValueException) as error:
        return str(error)
    return None


class Reporter:
    """Logs a repeated event at most every few seconds, and how often it came."""

    def __init__(self, node: Any, period_s: float = 5.0) -> None:
        """Log through the node's logger."""
        self._logger = node.get_logger()
        self._period_s = period_s
        self._last: dict[str, float] = {}
        self._held: dict[str, int] = {}

    def warn(self, kind: str, text: str) -> None:
        """Report an event of a kind."""
        now = time.perf_counter()
        if now - self._last.get(kind, float('-inf')) < self._period_s:
            self._held[kind] = self._held.get(kind, 0) + 1
            return
        held = self._held.pop(kind, 0)
        self._last[kind] = now
        self._logger.warning(
            _one_line(text) + (f' ({held} more since the last report)' if held else '')
        )


def _one_line(text: str) -> str:
    """Make a text harmless that may hold what a peer sent: no second line, no control codes."""
    shown = ''.join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return shown if len(shown) <= _LONGEST_REPORT else shown[:_LONGEST_REPORT] + '…'


def raw_image_reader(node: Any) -> Callable[[Any, str], NDArray[np.uint8]]:
    """Return what turns a sensor_msgs/Image into RGB: cv_bridge where it works.

    Where it does not (a build for another NumPy), our own reader does the same, and the log says
    so.
    """
    try:
        bridge_module = importlib.import_module('cv_bridge')
        bridge = bridge_module.CvBridge()
    except Exception as error:  # a NumPy 1 build of cv_bridge fails in many ways under NumPy 2
        node.get_logger().info(
            f'cv_bridge cannot be used ({error}); raw images are read without it'
        )
        return rgb_from_image

    def read(message: Any, source: str) -> NDArray[np.uint8]:
        try:
            return np.ascontiguousarray(bridge.imgmsg_to_cv2(message, 'rgb8'), dtype=np.uint8)
        except (bridge_module.CvBridgeError, ValueError, TypeError, RuntimeError) as error:
            raise InputError(
                f'the image cannot be read ({error})',
                path=source,
                field='encoding',
                remedy='publish rgb8, bgr8, mono8, a bayer pattern or yuv422',
            ) from error

    return read
