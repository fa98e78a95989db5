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

"""Writing files so that nothing half-written ever looks whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cooptrack_core.errors import InputError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Hand out a temporary path beside ``path`` and rename it there when the block succeeds.

    The temporary file (``.<name>.partial``) is removed when the block fails, so a full disk or a
    kill leaves either the old file or none.

    Raises:
        InputError: The file cannot be written; names the file and the remedy.
    """
    path = Path(path)
    partial = path.with_name(f'.{path.name}.partial')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open('rb') as handle:
            os.fsync(handle.fileno())
        partial.replace(path)
    except OSError as error:
        raise InputError(
            f'cannot be written ({error.strerror or error})',
            path=path,
            remedy='free some disk space or choose another place; nothing incomplete was left',
        ) from error
    finally:
        with suppress(NotADirectoryError):  # a parent is a file: reported above
            partial.unlink(missing_ok=True)


def write_text_atomically(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all.

    Raises:
        InputError: As atomic_path.
    """
    with atomic_path(path) as partial:
        partial.write_text(text, encoding='utf-8')


def write_bytes_atomically(path: str | Path, data: bytes) -> None:
    """Write a binary file whole or not at all.

    Raises:
        InputError: As atomic_path.
    """
    with atomic_path(path) as partial:
        partial.write_bytes(data)
