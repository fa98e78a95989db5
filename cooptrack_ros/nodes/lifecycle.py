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

"""Nodes room: the life of a node that owns a model, as ROS 2 manages it. Imports rclpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

from cooptrack_core.errors import InputError


class ManagedPart(Protocol):
    """What a managed node does; each step may raise InputError.

    Attributes:
        autostart: Whether the node configures and activates itself.
    """

    autostart: bool

    def configure(self) -> None:
        """Load the model, advertise."""
        ...

    def activate(self) -> None:
        """Subscribe and begin."""
        ...

    def deactivate(self) -> None:
        """Hear and publish nothing any more; also after a step that failed."""
        ...

    def cleanup(self) -> None:
        """Free the model; also after a step that failed."""
        ...

    def close(self) -> None:
        """End threads, at once."""
        ...


class ManagedNode(LifecycleNode):  # type: ignore[misc]
    """A lifecycle node whose transitions are the steps of a part.

    A step that fails is logged with its reason (rclpy drops it silently) and leads back to the
    state before.
    """

    def __init__(self, name: str) -> None:
        """Make the node, unconfigured."""
        self._part: ManagedPart | None = None
        self._starting = False
        self._problem: Exception | None = None
        super().__init__(name)

    def manage(self, part: ManagedPart) -> None:
        """Take what the transitions drive; go to active if it starts by itself.

        Raises:
            InputError: A step says what is wrong.
            Exception: What else a step raised.
        """
        self._part = part
        if not part.autostart:
            self.get_logger().info(
                f'waits for "ros2 lifecycle set {self.get_fully_qualified_name()} configure", '
                'then "activate" (autostart is false)'
            )
            return
        self._starting = True
        try:
            for trigger in (self.trigger_configure, self.trigger_activate):
                if trigger() != TransitionCallbackReturn.SUCCESS:
                    raise self._problem or RuntimeError('a transition failed')
        finally:
            self._starting = False

    def on_configure(self, state: Any) -> Any:
        """Transition from unconfigured to inactive."""
        return self._step('configure', lambda part: part.configure(), lambda part: part.cleanup())

    def on_activate(self, state: Any) -> Any:
        """Transition from inactive to active."""
        return self._step('activate', lambda part: part.activate(), lambda part: part.deactivate())

    def on_deactivate(self, state: Any) -> Any:
        """Transition from active to inactive."""
        return self._step('deactivate', lambda part: part.deactivate())

    def on_cleanup(self, state: Any) -> Any:
        """Transition from inactive to unconfigured."""
        return self._step('cleanup', lambda part: part.cleanup())

    def on_shutdown(self, state: Any) -> Any:
        """Transition from any state to finalized: the process stays until it is interrupted."""
        return self._step('shutdown', _end)

    def on_error(self, state: Any) -> Any:
        """What is left after a transition that broke."""
        return self._step('error processing', _end)

    def _step(
        self,
        name: str,
        do: Callable[[ManagedPart], None],
        undo: Callable[[ManagedPart], None] | None = None,
    ) -> Any:
        if self._part is None:
            return TransitionCallbackReturn.FAILURE
        try:
            do(self._part)
        except Exception as error:
            self._problem = error
            if undo is not None:
                undo(self._part)
            if not self._starting:  # otherwise ``manage`` raises it
                text = str(error) if isinstance(error, InputError) else repr(error)
                self.get_logger().error(f'{name} failed: {text}')
            failed = TransitionCallbackReturn
            return failed.FAILURE if undo is not None else failed.ERROR
        if not self._starting:
            self.get_logger().info(f'{name}: done')
        return TransitionCallbackReturn.SUCCESS


def _end(part: ManagedPart) -> None:
    part.deactivate()
    part.cleanup()
