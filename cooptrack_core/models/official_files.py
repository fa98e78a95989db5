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

"""Released checkpoint files: read without running their code, and told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from cooptrack_core.errors import InputError

OfficialRole = Literal[
    'vehicle', 'roadside', 'cooperative', 'vehicle_detection', 'roadside_detection'
]
ROLES: tuple[OfficialRole, ...] = (
    'vehicle',
    'roadside',
    'cooperative',
    'vehicle_detection',
    'roadside_detection',
)
# Digests of the five files the authors released (reference section 5.3).
_RELEASED: dict[str, OfficialRole] = {
    'f79a1eea02bdb43f864b8e431b01c8b5': 'vehicle_detection',
    'f93c88f4beb59da7267d073bb777beb1': 'roadside_detection',
    '34d9f0553e4eb421bdb4bb3b7dae41aa': 'vehicle',
    '0657439da18e951724f6b4e5a623ea23': 'roadside',
    '12d4658b70f21931f3b4a793cd1bf033': 'cooperative',
}


def read_official(source: str | Path | Mapping[str, Any]) -> dict[str, Tensor]:
    """State dict of a ``.pth`` file, or of its content.

    Args:
        source: The file, a state dict, or a mapping with ``state_dict``. ``module.`` in front of
            all names is removed.

    Raises:
        InputError: The file cannot be read without running its code, or holds no tensors.
    """
    path = source if isinstance(source, (str, Path)) else None
    content = _load(path) if path is not None else source
    if isinstance(content, Mapping) and isinstance(content.get('state_dict'), Mapping):
        content = content['state_dict']
    if not isinstance(content, Mapping) or not content:
        raise InputError(
            f'expected a state dict, found {type(content).__name__}',
            path=path,
            remedy='give a mapping of names to tensors, or one with a state_dict entry',
        )
    state: dict[str, Tensor] = {}
    for key, value in content.items():
        if not isinstance(value, Tensor):
            raise InputError(
                f'expected a tensor, found {type(value).__name__}',
                path=path,
                field=str(key),
                remedy='give the state dict alone',
            )
        state[str(key).removeprefix('module.')] = value
    return state


def find_role(path: str | Path, state: Mapping[str, object]) -> OfficialRole:
    """Which of the five models a file holds: by its digest, else by its parts.

    Raises:
        InputError: The parts fit a vehicle as well as a roadside unit.
    """
    digest = hashlib.md5(usedforsecurity=False)
    with Path(path).open('rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            digest.update(block)
    known = _RELEASED.get(digest.hexdigest())
    if known is not None:
        return known
    if any(name.startswith('crossview_alignment.') for name in state):
        return 'cooperative'
    tracking = any(name.startswith('STReasoner.') for name in state)
    kind = '' if tracking else '_detection'
    raise InputError(
        'this is none of the released files, and its names fit a vehicle as well as a roadside '
        'unit, whose perception ranges differ',
        path=path,
        field='--role',
        remedy=f'say --role vehicle{kind} or --role roadside{kind}',
    )


def _load(path: str | Path) -> Any:
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except OSError as error:
        raise InputError(
            f'cannot read the checkpoint ({error.strerror})', path=path, remedy='check the path'
        ) from error
    except Exception as error:  # torch raises many kinds here, none of them documented
        raise InputError(
            f'this is no checkpoint that can be loaded without running its code ({error})',
            path=path,
            remedy='use the released .pth file; if it holds more than tensors, keep those alone '
            "where it was made: torch.save({'state_dict': torch.load(FILE)['state_dict']}, NEW)",
        ) from error
