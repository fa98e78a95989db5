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


"""Conversions room: where message classes come from. Field names are the same everywhere.

The classes of rclpy and those of rosbags differ in how they are made: rosbags wants every field
and NumPy arrays, rclpy takes array.array for sequences of numbers without looking at each one.
A ``MessageTypes`` hides that, so that every conversion is written once.
"""

from __future__ import annotations

import array
import importlib
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class MessageTypes(Protocol):
    """Makes messages of one family of classes."""

    def new(self, name: str, /, **fields: Any) -> Any:
        """Make a message; ``name`` is like ``std_msgs/msg/Header``, every field is given."""
        ...

    def sequence(self, values: NDArray[Any]) -> Any:
        """Make a field that is an unbounded sequence of numbers."""
        ...


class RosTypes:
    """The classes of a ROS 2 installation."""

    def __init__(self) -> None:
        """Load nothing yet; a package is imported when its first message is made."""
        self._classes: dict[str, Any] = {}

    def new(self, name: str, /, **fields: Any) -> Any:
        """Make a message of a generated class."""
        if name not in self._classes:
            package, _, word = name.split('/')
            self._classes[name] = getattr(importlib.import_module(f'{package}.msg'), word)
        return self._classes[name](**fields)

    def sequence(self, values: NDArray[Any]) -> Any:
        """Return an array.array: assigning one is a copy, anything else is checked by element."""
        flat = np.ascontiguousarray(values).reshape(-1)
        out = array.array(_TYPE_CODES[flat.dtype.name])
        out.frombytes(flat.view(np.uint8).data)
        return out


class BagTypes:
    """The classes of a rosbags typestore."""

    def __init__(self, store: Any) -> None:
        """Use the classes of ``store``."""
        self.store = store

    def new(self, name: str, /, **fields: Any) -> Any:
        """Make a message of a typestore class."""
        return self.store.types[name](**fields)

    def sequence(self, values: NDArray[Any]) -> Any:
        """Return a flat NumPy array."""
        return np.ascontiguousarray(values).reshape(-1)


_TYPE_CODES = {
    'uint8': 'B', 'int8': 'b', 'uint16': 'H', 'int16': 'h', 'uint32': 'I', 'int32': 'i',
    'uint64': 'Q', 'int64': 'q', 'float32': 'f', 'float64': 'd',
}  # fmt: skip
