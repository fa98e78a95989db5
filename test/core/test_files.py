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

"""Files are written whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from cooptrack_core.errors import InputError
from cooptrack_core.files import atomic_path, write_bytes_atomically, write_text_atomically


def test_a_text_is_written_whole(tmp_path: Path) -> None:
    write_text_atomically(tmp_path / 'new' / 'a.txt', 'héllo')
    assert (tmp_path / 'new' / 'a.txt').read_text(encoding='utf-8') == 'héllo'
    assert [p.name for p in (tmp_path / 'new').iterdir()] == ['a.txt']


def test_a_full_disk_leaves_the_old_file_and_no_fragment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / 'a.bin'
    write_bytes_atomically(target, b'old')

    def full(self: Path, data: bytes) -> int:
        with self.open('wb') as handle:
            handle.write(data[:1])
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(Path, 'write_bytes', full)
    with pytest.raises(InputError, match=r'a\.bin.*No space left.*Remedy'):
        write_bytes_atomically(target, b'new data')
    assert target.read_bytes() == b'old'
    assert [p.name for p in tmp_path.iterdir()] == ['a.bin']


def test_any_failure_inside_the_block_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_path(tmp_path / 'x') as partial:
        partial.write_text('half')
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
