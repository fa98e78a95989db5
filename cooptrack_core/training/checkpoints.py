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

"""The state of a run on disk: written whole or not at all, refused when it does not belong."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import torch

from cooptrack_core.errors import InputError
from cooptrack_core.files import write_bytes_atomically

STATE_NAME = 'state.pt'


def fingerprint(*parts: object) -> str:
    """Short hash of configurations: their repr is complete, they are frozen dataclasses."""
    return hashlib.sha256('\n'.join(map(repr, parts)).encode()).hexdigest()[:16]


def save_state(directory: Path, state: dict[str, Any]) -> None:
    """Write the state of a run; a full disk leaves the previous one intact.

    Raises:
        InputError: It cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes_atomically(directory / STATE_NAME, buffer.getvalue())


def load_state(directory: Path, expected: str) -> dict[str, Any]:
    """Read the state of a run and check that it belongs to this configuration.

    Args:
        directory: Run directory.
        expected: ``fingerprint`` of the configuration that wants to continue.

    Raises:
        InputError: There is none, it is damaged, or it is of another configuration.
    """
    path = directory / STATE_NAME
    try:
        state = torch.load(path, map_location='cpu', weights_only=True)
    except FileNotFoundError:
        raise InputError(
            'there is no run to resume', path=path, remedy='start it without --resume'
        ) from None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            f'the training state is damaged ({error})',
            path=path,
            remedy='delete it and start again',
        ) from error
    if not isinstance(state, dict) or state.get('fingerprint') != expected:
        raise InputError(
            'the training state belongs to another configuration, stage or data set',
            path=path,
            field='fingerprint',
            remedy='resume with the options it was started with, or choose another --out',
        )
    return state
