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

"""The model with the official quirks gives the official model's numbers, stage by stage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import filler
import numpy as np
import pytest
import torch
from appendix_a import rows
from torch import Tensor

from cooptrack_core.models.checkpoint import load_official, to_official_state_dict
from cooptrack_core.models.cooptrack import official_inputs
from cooptrack_core.models.cooptrack.config import r50
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.models.trace import record_stages

TOLERANCE = 1e-4
FRAMES = 3
# After association, the order of rows of nearly equal score is decided by rounding.
REORDERED = ('agg.', 'ref.')


@pytest.fixture(scope='module')
def traced() -> Iterator[list[dict[str, Tensor]]]:
    """Stages of the three frames."""
    with torch.random.fork_rng():
        blank = to_official_state_dict(CoopTrack(r50('cooperative')))
    model = load_official(filler.fill(blank), 'cooperative')
    memory = None
    with (
        pytest.MonkeyPatch.context() as patch,
        torch.inference_mode(),
        record_stages(model) as trace,
    ):
        patch.setattr(torch, 'randperm', lambda n: torch.arange(n))
        for i in range(FRAMES):
            frame = official_inputs.frame(filler.image(i), filler.lidar2img(), **filler.pose(i))
            remote = official_inputs.remote(filler.message(i), filler.veh2inf_rt())
            _, memory = model(frame, memory, [remote])
    yield trace.frames


@pytest.mark.parametrize('name', rows())
def test_a_stage_has_the_printed_sum(name: str, traced: list[dict[str, Tensor]]) -> None:
    row = rows()[name]
    index, stage = int(name[1]), name[3:]
    values = traced[index][stage].double().flatten()
    assert values.numel() == row.count
    assert abs(float(values.sum()) - row.total) <= TOLERANCE * row.count * row.mean
    assert float(values.abs().mean()) == pytest.approx(row.mean, rel=TOLERANCE)
    if not stage.startswith((*REORDERED, 'gba.veh', 'gba.inf')):
        scale = float(values.abs().max())
        at = (0, row.count // 3, row.count // 2, row.count - 1)
        probes = [float(values[i]) for i in at]
        assert probes == pytest.approx(row.probes, abs=TOLERANCE * scale)


@pytest.mark.parametrize('index', [0, 2])
def test_stages_equal_the_golden_arrays(
    index: int, traced: list[dict[str, Tensor]], shared_dir: Path
) -> None:
    golden = np.load(shared_dir / 'golden' / 'cooptrack_coop_r50.npz')
    stages = traced[index]
    order = _row_order(golden[f'f{index}.agg.query'], stages['agg.query'].numpy())
    compared = 0
    for key in golden.files:
        if not key.startswith(f'f{index}.'):
            continue
        name, expected = key[3:], golden[key]
        actual = stages[name].numpy()
        if name.startswith(REORDERED):
            actual = actual[order]
        if name.startswith('gba.') and name.endswith('idx'):
            actual, expected = np.sort(actual), np.sort(expected)
        error = np.abs(actual.reshape(expected.shape) - expected).max()
        assert error <= TOLERANCE * np.abs(expected).max(), f'{key}: {error}'
        compared += 1
    assert compared == 24


def _row_order(expected: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """For each expected row the nearest actual one; every row must be used once."""
    order = torch.cdist(torch.from_numpy(expected), torch.from_numpy(actual)).argmin(1).numpy()
    assert len(set(order.tolist())) == len(order)
    return order


def test_pairs_are_a_matching(traced: list[dict[str, Tensor]]) -> None:
    for stages in traced:
        assert sorted(stages['gba.inf_idx'].tolist()) == list(range(12))
        assert len(set(stages['gba.veh_idx'].tolist())) == 12


@pytest.mark.parametrize('role', ['vehicle', 'vehicle_detection'])
def test_single_agent_models_share_the_first_stages(role: str) -> None:
    # The names coincide, so the filler gives the same weights and the same numbers.
    blank = to_official_state_dict(CoopTrack(r50(role)))
    model = load_official(filler.fill(blank), role)
    frame = official_inputs.frame(filler.image(0), filler.lidar2img(), **filler.pose(0))
    with torch.inference_mode(), record_stages(model) as trace:
        model(frame)
    names = ['bev', 'dec.query_feats[-1]', 'dec.cls[-1]', 'dec.box[-1]', 'dec.last_ref']
    if role == 'vehicle':
        names += ['mdfe.motion', 'hist.query', 'hist.motion']
    for name in names:
        row, values = rows()[f'f0.{name}'], trace.frames[0][name].double()
        assert abs(float(values.sum()) - row.total) <= TOLERANCE * row.count * row.mean
        assert float(values.abs().mean()) == pytest.approx(row.mean, rel=TOLERANCE)
