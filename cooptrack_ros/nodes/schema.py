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

"""Nodes room: what a parameter is, and what a class of parameters can say about itself.

A node's parameters are a frozen dataclass. Name, type and default are those of the field; what
it means, where it may lie and whether it may change while the node runs stand beside it.
Everything here works without ROS.
"""

from __future__ import annotations

import dataclasses
import difflib
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any, TypeVar

from cooptrack_core.errors import InputError

T = TypeVar('T')


def parameter(
    default: Any,
    text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    dynamic: bool = False,
) -> Any:
    """Make a field of a parameter class.

    Args:
        default: Its value when nothing is given.
        text: Meaning and unit, one line.
        low: Smallest value.
        high: Largest value.
        choices: Values of a text.
        dynamic: Whether it may change while the node runs.
    """
    return field(
        default=default,
        metadata={
            'text': text, 'low': low, 'high': high, 'choices': choices, 'dynamic': dynamic,
        },
    )  # fmt: skip


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


def changed(current: T, changes: Mapping[str, Any], where: str = '') -> T:
    """Take other values while the node runs; all of them or none.

    Args:
        current: The parameters now.
        changes: New values by name; other names are not looked at.
        where: Name of the node, for error texts.

    Raises:
        InputError: A value is of the wrong type or out of its range, or may not change.
    """
    known = {f.name: f for f in dataclasses.fields(current)}  # type: ignore[arg-type]
    new = {}
    for name, value in changes.items():
        if name not in known:
            continue
        new[name] = _checked(name, value, known[name], where)
        if not known[name].metadata['dynamic'] and new[name] != getattr(current, name):
            raise InputError(
                'it is read at the start and cannot change while the node runs',
                field=_place(where, name),
                remedy='set it in the parameter file and start the node again; these can change: '
                f'{[n for n, f in known.items() if f.metadata["dynamic"]]}',
            )
    return dataclasses.replace(current, **new)  # type: ignore[type-var]


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
    lines = [
        '| parameter | type | default | while running | meaning |',
        '| --- | --- | --- | --- | --- |',
    ]
    for f in dataclasses.fields(kind):
        word = 'changes' if f.metadata['dynamic'] else 'fixed'
        lines.append(
            f'| `{f.name}` | {type_name(f.default)} | `{example(f.default)}` | {word} | '
            f'{_explained(f)} |'
        )
    return '\n'.join(lines) + '\n'


def parameter_file(kind: type[Any], head: str) -> str:
    """Write the ROS parameter file of a class: every parameter at its default, explained.

    Args:
        kind: The class.
        head: What stands at the top, one paragraph.
    """
    lines = textwrap.wrap(head, 97, initial_indent='# ', subsequent_indent='# ')
    lines += ['/**:', '  ros__parameters:']
    for f in dataclasses.fields(kind):
        text = _explained(f) + ('; may change while running' if f.metadata['dynamic'] else '')
        text = text[0].upper() + text[1:] + '.'
        lines += textwrap.wrap(text, 97, initial_indent='    # ', subsequent_indent='    # ')
        lines.append(f'    {f.name}: {example(f.default)}')
    return '\n'.join(lines) + '\n'


def _explained(f: dataclasses.Field[Any]) -> str:
    limits = constraint(f.metadata)
    return f.metadata['text'] + (f' ({limits})' if limits else '')


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
