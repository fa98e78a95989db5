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

"""Jobs in worker processes."""

from __future__ import annotations

import os

import pytest

from cooptrack_core.errors import InputError
from cooptrack_core.processes import spread

_offset = 0


def keep(offset: int) -> None:
    global _offset
    _offset = offset


def moved(job: int) -> tuple[int, int, str]:
    return job + _offset, os.getpid(), os.environ['OMP_NUM_THREADS']


def die(job: int) -> int:
    os._exit(3)


def fail(job: int) -> int:
    raise InputError(f'job {job} is impossible', field='job', remedy='leave it out')


def test_every_job_is_done_in_another_process_of_one_thread(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '7')
    done = list(spread(moved, range(5), 2, prepare=keep, arguments=(100,)))
    assert sorted(result for result, *_ in done) == [100, 101, 102, 103, 104]
    assert os.getpid() not in {process for _, process, _ in done}
    assert {threads for *_, threads in done} == {'1'}
    assert os.environ['OMP_NUM_THREADS'] == '7'


def test_a_worker_that_dies_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    with pytest.raises(InputError, match='died') as raised:
        list(spread(die, range(2), 2))
    assert 'fewer workers' in str(raised.value)
    assert 'OMP_NUM_THREADS' not in os.environ


def test_what_a_job_says_arrives():
    with pytest.raises(InputError, match='job 4 is impossible'):
        list(spread(fail, [4], 1))
