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

"""Where installed files are: model configurations, presets, weights, message definitions.

They live in the source tree, below ``share/cooptrack_ros`` after ``pip install`` or
``colcon build``, and (weights) inside the package itself. Nothing depends on the working
directory.
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from cooptrack_core.errors import InputError

_PACKAGE = Path(__file__).resolve().parent


def _roots() -> tuple[Path, ...]:
    roots = [_PACKAGE.parent]  # a source tree, also when installed in editable mode
    # <prefix>/lib/python3.x/site-packages/cooptrack_core: pip, pip --user and colcon alike.
    # Debian's pip has one directory less below lib.
    roots += [up / 'share' / 'cooptrack_ros' for up in _PACKAGE.parents[2:5]]
    roots.append(Path(sys.prefix) / 'share' / 'cooptrack_ros')
    return tuple(roots)


def _find(relative: str, remedy: str) -> Path:
    for root in _roots():
        candidate = root / relative
        if candidate.exists():
            return candidate
    raise InputError(
        f'{relative} is not installed (looked below {", ".join(map(str, _roots()))})',
        remedy=remedy,
    )


def config_path(name: str) -> Path:
    """Path of ``config/<name>``, for example ``models/tiny.yaml``.

    Raises:
        InputError: There is no such file; the nearest name is given.
    """
    directory = _find('config', 'install the package again with pip or colcon')
    path = directory / name
    if not path.is_file():
        known = sorted(str(p.relative_to(directory)) for p in directory.rglob('*') if p.is_file())
        near = difflib.get_close_matches(name, known, n=1)
        raise InputError(
            f"there is no configuration '{name}'",
            remedy=f"did you mean '{near[0]}'?" if near else f'known: {known}',
        )
    return path


def weights_path(name: str) -> Path:
    """Path of a shipped weights file, for example ``tiny_agent.safetensors``.

    Raises:
        InputError: There is no such file; the shipped ones are listed.
    """
    path = _PACKAGE / 'weights' / name
    if not path.is_file():
        known = sorted(p.name for p in (_PACKAGE / 'weights').glob('*.safetensors'))
        raise InputError(
            f"no weights '{name}' are shipped",
            path=path,
            remedy=f'choose one of {known} or give the path of your own file',
        )
    return path


def message_definitions_dir() -> Path:
    """Directory with the ``.msg`` files of ``cooptrack_msgs``.

    Raises:
        InputError: They are not installed.
    """
    for relative in ('cooptrack_msgs/msg', 'msg'):
        for root in _roots():
            if any((root / relative).glob('*.msg')):
                return root / relative
    raise InputError(
        'the message definitions of cooptrack_msgs are not installed',
        remedy='install the package again with pip or colcon',
    )
