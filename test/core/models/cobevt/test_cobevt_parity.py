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

"""With the official quirks the model gives the official model's numbers, stage by stage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import official_case
import pytest
import torch
from torch import Tensor

from cooptrack_core.models.cobevt import Cobevt, load_official, record_stages
from cooptrack_core.models.cobevt.checkpoint import to_official_state_dict
from cooptrack_core.models.cobevt.config import official

TOLERANCE = 5e-5

# Printed results of the official dynamic model: entries, sum, mean absolute value, and the entries
# at flat index 0, n // 3, n // 2 and n - 1.
ROWS = {
    'sinbevt': (393216, -28521.8, 0.725425, (-0.829991, -0.834121, -0.234822, -0.0914555)),
    'warped': (655360, -24405.6, 0.372521, (-0.829991, 0.268264, -0.238355, 0)),
    'fuse_mask': (5120, 2631, 0.513867, (1, 1, 1, 0)),
    'fused': (131072, -21884.8, 0.792326, (0.425653, -0.720851, 1.81908, 2.18538)),
    'decoded': (2097152, 69001.4, 0.0329024, (0, 0.11087, 0, 0)),
    'dynamic_logits': (131072, 11530.1, 0.0879723, (0.0211675, 0.052584, 0.121585, 0.0711844)),
}


@pytest.fixture(scope='module')
def traced() -> Iterator[dict[str, Tensor]]:
    """Stages of the golden run."""
    with torch.random.fork_rng():
        blank = to_official_state_dict(Cobevt(official()))
    model = load_official(official_case.fill(blank))
    with torch.inference_mode(), record_stages(model) as trace:
        model(official_case.scene())
    yield trace.batches[0]


@pytest.mark.parametrize('name', ROWS)
def test_a_stage_has_the_printed_numbers(name: str, traced: dict[str, Tensor]) -> None:
    count, total, mean, probes = ROWS[name]
    values = traced[name].double().flatten()
    assert values.numel() == count
    assert abs(float(values.sum()) - total) <= TOLERANCE * count * mean
    assert float(values.abs().mean()) == pytest.approx(mean, rel=TOLERANCE)
    scale = float(values.max() - values.min())
    found = [float(values[i]) for i in (0, count // 3, count // 2, count - 1)]
    assert found == pytest.approx(probes, abs=TOLERANCE * scale)


def test_stages_equal_the_golden_arrays(traced: dict[str, Tensor], shared_dir: Path) -> None:
    golden = np.load(shared_dir / 'golden' / 'cobevt_dynamic_3agents.npz')
    assert len(golden.files) == 5
    for name in golden.files:
        expected = golden[name]
        error = np.abs(traced[name].numpy().reshape(expected.shape) - expected).max()
        assert error <= TOLERANCE * np.ptp(expected), f'{name}: {error}'
