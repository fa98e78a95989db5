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

"""Typed configuration: dataclasses filled from YAML; a wrong key names the nearest right one."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml

from cooptrack_core.errors import InputError

T = TypeVar('T')


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Raises:
        InputError: The file is missing, is no YAML, or is no mapping.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise InputError(
            f'cannot read the configuration ({error.strerror})',
            path=path,
            remedy='check the path and its permissions',
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(
            f'this is not valid YAML ({error})', path=path, remedy='correct the syntax'
        ) from error
    if not isinstance(content, dict):
        raise InputError(
            f'expected a mapping at the top level, found {type(content).__name__}',
            path=path,
            remedy='write "key: value" lines',
        )
    return content


def from_mapping(
    cls: type[T], mapping: Mapping[str, Any], *, path: str | Path | None = None, prefix: str = ''
) -> T:
    """Fill the dataclass ``cls`` from a mapping, recursively and strictly.

    Args:
        cls: A dataclass type; nested dataclasses, tuples, optionals and plain scalars are known.
        mapping: Parsed YAML or JSON.
        path: The file it came from, for the error text.
        prefix: Dotted path of ``mapping`` inside the file.

    Raises:
        InputError: An unknown key (the nearest known one is named), a missing key, or a value of
            the wrong type.
    """
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    for key in mapping:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            raise InputError(
                f'unknown key of {cls.__name__}',
                path=path,
                field=f'{prefix}{key}',
                remedy=f"did you mean '{near[0]}'?" if near else f'known keys: {sorted(fields)}',
            )
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in mapping:
            values[name] = _convert(hints[name], mapping[name], path, f'{prefix}{name}')
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise InputError(
                'required key is missing', path=path, field=f'{prefix}{name}', remedy='add it'
            )
    try:
        return cls(**values)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(
            str(error), path=path, field=prefix.rstrip('.') or None, remedy='correct the value'
        ) from error


def _convert(hint: Any, value: Any, path: str | Path | None, where: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        (inner,) = [arg for arg in args if arg is not type(None)]
        return _convert(inner, value, path, where)
    if origin is typing.Literal:
        if value in args:
            return value
        raise _wrong(f'one of {list(args)}', value, path, where)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise _wrong('a mapping', value, path, where)
        return from_mapping(hint, value, path=path, prefix=f'{where}.')  # type: ignore[arg-type]
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise _wrong('a list', value, path, where)
        if args[-1] is Ellipsis:
            return tuple(_convert(args[0], v, path, f'{where}[{i}]') for i, v in enumerate(value))
        if len(value) != len(args):
            raise _wrong(f'a list of {len(args)} values', value, path, where)
        return tuple(
            _convert(a, v, path, f'{where}[{i}]')
            for i, (a, v) in enumerate(zip(args, value, strict=True))
        )
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint):
        if hint is int and isinstance(value, bool):
            raise _wrong('int', value, path, where)
        return value
    raise _wrong(getattr(hint, '__name__', str(hint)), value, path, where)


def _wrong(expected: str, value: Any, path: str | Path | None, where: str) -> InputError:
    return InputError(
        f'expected {expected}, found {value!r}',
        path=path,
        field=where,
        remedy='correct the value',
    )
