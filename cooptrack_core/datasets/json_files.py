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

"""Datasets room: JSON files read strictly, so that every fault names file, field and remedy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.errors import InputError

_MISSING = object()


def read_bytes(path: Path, what: str) -> bytes:
    """Read a whole file.

    Raises:
        InputError: The file is missing or cannot be read; ``what`` says what it should hold.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f'cannot read {what} ({error.strerror})',
            path=path,
            remedy='check that the dataset is complete and the path is right',
        ) from error


def read_json(path: Path, what: str) -> Any:
    """Parse a JSON file.

    Raises:
        InputError: The file is missing or is not JSON.
    """
    try:
        return json.loads(read_bytes(path, what).decode('utf-8'))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f'{what} is not valid JSON ({error})',
            path=path,
            remedy='copy the file anew from the dataset; it is cut off or was edited',
        ) from error


def read_records(path: Path, what: str) -> list[Record]:
    """Parse a JSON file whose top level is a list of objects.

    Raises:
        InputError: The file is missing, is not JSON, or is not a list of objects.
    """
    content = read_json(path, what)
    if not isinstance(content, list):
        raise InputError(
            f'{what} should be a list, found {type(content).__name__}',
            path=path,
            remedy="use a file of the dataset's own layout",
        )
    return [Record.of(row, path, f'[{i}]') for i, row in enumerate(content)]


def read_record(path: Path, what: str) -> Record:
    """Parse a JSON file whose top level is an object; errors as in ``read_records``."""
    return Record.of(read_json(path, what), path, '')


@dataclass(frozen=True)
class Record:
    """One JSON object together with the place it came from.

    Attributes:
        values: The object.
        path: Its file.
        place: Dotted path of the object inside the file.
    """

    values: Mapping[str, Any]
    path: Path
    place: str

    @staticmethod
    def of(value: Any, path: Path, place: str) -> Record:
        """Wrap ``value``, which must be a JSON object."""
        if not isinstance(value, Mapping):
            raise InputError(
                f'expected an object {{...}}, found {type(value).__name__}',
                path=path,
                field=place or None,
                remedy="use a file of the dataset's own layout",
            )
        return Record(value, path, place)

    def __contains__(self, key: str) -> bool:
        """Whether the key is present."""
        return key in self.values

    def field(self, key: str) -> str:
        """Dotted name of a key inside the file."""
        return f'{self.place}.{key}' if self.place else key

    def error(self, key: str, message: str, remedy: str) -> InputError:
        """Build an error about one key of this object."""
        return InputError(message, path=self.path, field=self.field(key), remedy=remedy)

    def raw(self, key: str) -> Any:
        """Return the value of a required key as it stands."""
        value = self.values.get(key, _MISSING)
        if value is _MISSING:
            raise self.error(
                key, 'the key is missing', f'add it; the object has {sorted(self.values)}'
            )
        return value

    def record(self, key: str) -> Record:
        """Return a nested object."""
        return Record.of(self.raw(key), self.path, self.field(key))

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string; numbers are written out, as V2X-Seq mixes both."""
        if default is not None and key not in self.values:
            return default
        value = self.raw(key)
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise self.error(key, f'expected text, found {value!r}', 'correct the value')
        return str(value)

    def integer(self, key: str, default: int | None = None) -> int:
        """Return a whole number, which may be written as text."""
        if default is not None and key not in self.values:
            return default
        value = self.raw(key)
        try:
            if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
                raise ValueError
            return int(value)
        except (TypeError, ValueError):
            raise self.error(
                key, f'expected a whole number, found {value!r}', 'correct the value'
            ) from None

    def number(self, key: str) -> float:
        """Return a finite number, which may be written as text."""
        value = self.raw(key)
        try:
            result = float(value)
            if isinstance(value, bool) or not np.isfinite(result):
                raise ValueError
        except (TypeError, ValueError):
            raise self.error(
                key, f'expected a finite number, found {value!r}', 'correct the value'
            ) from None
        return result

    def array(self, key: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Return numbers of the given shape; V2X-Seq writes the same matrix flat or nested."""
        value = self.raw(key)
        try:
            result = np.array(value, dtype=np.float64)
        except (TypeError, ValueError):
            result = np.array(np.nan)
        if result.size != int(np.prod(shape)) or not np.isfinite(result).all():
            raise self.error(
                key,
                f'expected {" x ".join(map(str, shape))} finite numbers, '
                f'found {str(value)[:60]!r} of shape {result.shape}',
                'correct the calibration file',
            )
        return result.reshape(shape)
