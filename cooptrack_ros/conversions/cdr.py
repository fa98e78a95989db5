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

"""Conversions room: whether serialised bytes can be a message at all, before they are read.

The readers that the middlewares generate believe the lengths that a message claims: a sequence of
four thousand million numbers is allocated first and found missing afterwards. What comes over a
radio is therefore walked through once: every length is compared with the bytes that are there,
nothing is allocated. Plain CDR (XCDR version 1), as all middlewares of ROS 2 write it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cooptrack_core.errors import MessageError
from cooptrack_core.v2x import Reason

_SIZES = {
    'bool': 1, 'byte': 1, 'char': 1, 'octet': 1, 'int8': 1, 'uint8': 1, 'int16': 2, 'uint16': 2,
    'int32': 4, 'uint32': 4, 'float32': 4, 'int64': 8, 'uint64': 8, 'float64': 8,
}  # fmt: skip
_HEAD = 4  # representation identifier and options; alignment counts from behind it
_ORDERS = {b'\x00\x00': 'big', b'\x00\x01': 'little'}
_PADDING = 7

Walk = Callable[['_Reader'], None]


class CdrChecker:
    """Knows the layout of one message type."""

    def __init__(self, store: Any, message_type: str, max_bytes: int, max_elements: int) -> None:
        """Read the layout.

        Args:
            store: A rosbags typestore that knows the type.
            message_type: Like ``cooptrack_msgs/msg/InstanceFeatures``.
            max_bytes: Largest message, head included.
            max_elements: Most elements of a sequence that is not of plain numbers.
        """
        self.max_bytes = max_bytes
        self._max_elements = max_elements
        self._walk = self._message(store, message_type)

    def check(self, data: bytes) -> None:
        """Walk through a serialised message.

        Raises:
            MessageError: It is too large, shorter or longer than it says, or no plain CDR.
        """
        if len(data) > self.max_bytes:
            raise MessageError(Reason.OVERSIZED, f'{len(data)} bytes')
        order = _ORDERS.get(bytes(data[:2]))
        if len(data) < _HEAD:
            raise MessageError(Reason.TRUNCATED, f'{len(data)} bytes')
        if order is None:
            raise MessageError(Reason.NOT_A_MESSAGE, f'representation {data[:2].hex()}')
        reader = _Reader(data, order)
        self._walk(reader)
        left = len(data) - reader.at
        if left > _PADDING:
            raise MessageError(Reason.OVERSIZED, f'{left} bytes behind the end')

    def _message(self, store: Any, name: str) -> Walk:
        steps = [self._field(store, desc) for _, desc in store.fielddefs[name][1]]

        def walk(reader: _Reader) -> None:
            for step in steps:
                step(reader)

        return walk

    def _field(self, store: Any, desc: Any) -> Walk:
        kind, what = desc
        if kind.name == 'BASE':
            width = _SIZES.get(what[0])
            return _Reader.text if width is None else _numbers(1, width)
        if kind.name == 'NAME':
            return self._message(store, what)
        (element_kind, element), count = what
        size = _SIZES.get(element[0]) if element_kind.name == 'BASE' else None
        one = self._field(store, (element_kind, element))
        if kind.name == 'ARRAY':
            if size is not None:
                return _numbers(count, size)
            return lambda reader: _repeat(one, reader, count)
        if size is not None:
            return _numbers(None, size)

        def some(reader: _Reader) -> None:
            length = reader.length()
            if length > self._max_elements:
                raise MessageError(Reason.OVERSIZED, f'{length} elements')
            _repeat(one, reader, length)

        return some


class _Reader:
    """A place in the bytes. Moves forward, never beyond the end."""

    def __init__(self, data: bytes, order: Any) -> None:
        self._data, self._order = data, order
        self.at = _HEAD

    def numbers(self, count: int, size: int) -> None:
        """Pass ``count`` numbers of ``size`` bytes."""
        if count:
            self.at += -(self.at - _HEAD) % size
            self._pass(count * size)

    def length(self) -> int:
        """Read a length."""
        self.numbers(1, 4)
        return int.from_bytes(self._data[self.at - 4 : self.at], self._order)

    def text(self) -> None:
        """Pass a string: its length with the closing zero, then UTF-8."""
        length = self.length()
        self._pass(length)
        body = bytes(self._data[self.at - length : self.at])
        if length and body[-1] != 0:
            raise MessageError(Reason.MALFORMED, 'a text without end')
        try:
            body.decode('utf-8')
        except UnicodeDecodeError as error:
            raise MessageError(Reason.MALFORMED, 'a text is no UTF-8') from error

    def _pass(self, count: int) -> None:
        self.at += count
        if self.at > len(self._data):
            missing = self.at - len(self._data)
            raise MessageError(Reason.TRUNCATED, f'{missing} bytes are missing')


def _numbers(count: int | None, size: int) -> Walk:
    """Pass numbers; without a count it is read first."""
    return lambda reader: reader.numbers(reader.length() if count is None else count, size)


def _repeat(step: Walk, reader: _Reader, count: int) -> None:
    for _ in range(count):
        step(reader)
