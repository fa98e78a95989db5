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

"""`cooptrack halve` makes a pair of files that belong together, at the chosen operating point."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import save_pair

from cooptrack_core.models.checkpoint import load_weights, read_metadata, save_weights
from cooptrack_core.perception import load_model
from cooptrack_core.training.code import with_code
from cooptrack_core.v2x.feature_code import fit_code
from cooptrack_ros import cli

FILES = ('tiny_agent.safetensors', 'tiny_cooperative.safetensors')


def test_both_files_are_rounded_and_hold_the_operating_point(tmp_path: Path):
    pair = save_pair(tmp_path)
    out = tmp_path / 'weights'
    arguments = ['halve', *map(str, pair), '-o', str(out), '--quiet', '--agent-threshold', '0.15',
                 '--velocity-gain', '0.25', '--across-velocity', '0.2', '--remote-weight', '0.75',
                 '--sender-word', '0.5', '--max-age', '6', '--fade', '1.5',
                 '--reappear-within', '1', '--remember', '20',
                 '--vehicle-spread', '1', '0.1', '0.5', '0.05']  # fmt: skip
    assert cli.main([*arguments, '--score-bias', '-1', '0.5', '0', '--unseen-bias', '-2']) == 0
    agent, cooperative = (out / name for name in FILES)
    assert read_metadata(cooperative)['sender_model_id'] == read_metadata(agent)['model_id']
    assert load_weights(agent).config.tracking.score_threshold == 0.15
    assert load_weights(agent).config.tracking.velocity_gain == 0.25
    found = load_weights(cooperative)
    assert found.config.tracking.velocity_gain == 0.25
    assert found.config.tracking.across_velocity == 0.2
    assert found.config.tracking.max_age == 6 != load_weights(agent).config.tracking.max_age
    assert found.config.tracking.reappear_within == 1.0
    for file in (agent, cooperative):
        assert load_weights(file).config.tracking.permanence.seconds == 20.0
    assert found.config.tracking.fade == 1.5 and load_weights(agent).config.tracking.fade is None
    assert found.config.cooperation is not None
    assert found.config.cooperation.score_bias == (-1.0, 0.5, 0.0)
    assert found.config.cooperation.unseen_bias == -2.0
    assert found.config.cooperation.remote_weight == 0.75
    assert found.config.cooperation.sender_word == 0.5
    assert found.config.cooperation.placement is not None
    assert found.config.cooperation.placement.vehicle == (1.0, 0.1, 0.5, 0.05)
    before = load_weights(pair[1]).state_dict()
    for name, value in found.state_dict().items():
        assert torch.equal(value, before[name].half().to(value)), name
    assert agent.stat().st_size < 0.6 * pair[0].stat().st_size


def test_another_cooperative_file_for_the_same_sender_gets_its_code(tmp_path: Path):
    pair, out = save_pair(tmp_path), [tmp_path / 'first', tmp_path / 'second']
    rows = np.random.default_rng(0).normal(size=(300, 3 * 96)).astype(np.float32)
    code = fit_code(rows, 64)
    save_weights(with_code(load_weights(pair[0]), code), pair[0])
    assert cli.main(['halve', *map(str, pair), '-o', str(out[0]), '--quiet']) == 0
    agent = str(out[0] / FILES[0])
    assert cli.main(['halve', agent, str(pair[1]), '-o', str(out[1]), '--quiet']) == 0
    first, second = (read_metadata(d / FILES[0])['model_id'] for d in out)
    assert first == second
    model = load_model(out[1] / FILES[1])
    assert model.sender_id == first
    assert model.code is not None
    np.testing.assert_array_equal(model.code.bits, code.bits)


def test_two_single_agent_files_are_no_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    agent, _ = save_pair(tmp_path)
    arguments = ['halve', str(agent), str(agent), '-o', str(tmp_path / 'out')]
    assert cli.main([*arguments, '--score-bias', '0', '0', '0.5']) == 2
    assert 'no cooperation part' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
