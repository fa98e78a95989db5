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

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from cooptrack_core.errors import InputError
from cooptrack_core.training.parallel import Share, processes


def learn(out: Path, share: Share) -> None:
    """Average gradients, where parameter "one" takes part in the first process only."""
    module = nn.Module()
    module.one, module.two = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2))
    module.register_buffer('seen', torch.full((1,), float(share.rank)))
    if share.leads:
        module.one.grad = torch.tensor([2.0, 4.0, 6.0])
    module.two.grad = torch.full((2,), float(share.rank))
    share.average([module.one, module.two], module)
    result = [module.one.grad.tolist(), module.two.grad.tolist(), module.seen.tolist()]
    (out / f'{share.rank}').write_text(str(result))


def fail(share: Share) -> None:
    raise ValueError(f'process {share.rank} has a problem')


def test_gradients_and_running_statistics_become_the_mean_in_every_process(tmp_path: Path):
    work = partial(learn, tmp_path)
    with processes(2, work) as share:
        work(share)
    found = [(tmp_path / name).read_text() for name in ('0', '1')]
    assert found == [str([[1.0, 2.0, 3.0], [0.5, 0.5], [0.5]])] * 2


def test_a_helper_that_fails_is_noticed(capfd: pytest.CaptureFixture[str]):
    with pytest.raises(RuntimeError, match='training process'), processes(2, fail):
        pass
    assert 'process 1 has a problem' in capfd.readouterr().err


def test_one_process_changes_nothing_and_starts_nothing():
    with processes(1, fail) as share:
        assert share == Share(0, 1) and share.leads and share.split(7) == 7
        layer = nn.Linear(2, 2)
        share.average(list(layer.parameters()), layer)
        assert layer.weight.grad is None


def test_a_batch_that_cannot_be_shared_evenly_is_refused():
    assert Share(1, 2).split(8) == 4
    with pytest.raises(InputError, match='batch of 7'):
        Share(0, 2).split(7)
