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

"""State of a run: whole or not at all, and only for the run it belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cooptrack_core.errors import InputError
from cooptrack_core.resources import config_path
from cooptrack_core.training.checkpoints import STATE_NAME, fingerprint, load_state, save_state
from cooptrack_core.training.grow import can_grow
from cooptrack_core.training.options import Optimisation, Stage, load_recipe
from cooptrack_core.training.run import model_config
from cooptrack_core.training.schedule import build_optimiser, learning_rate_factor


def test_state_comes_back_as_it_was(tmp_path: Path):
    save_state(tmp_path, {'fingerprint': 'a', 'iteration': 7, 'model': {'w': torch.ones(3)}})
    state = load_state(tmp_path, 'a')
    assert state['iteration'] == 7 and torch.equal(state['model']['w'], torch.ones(3))


def test_state_of_another_configuration_is_refused(tmp_path: Path):
    save_state(tmp_path, {'fingerprint': 'a'})
    with pytest.raises(InputError, match='another configuration'):
        load_state(tmp_path, 'b')


def test_resuming_nothing_names_the_file_and_the_remedy(tmp_path: Path):
    with pytest.raises(InputError, match='--resume'):
        load_state(tmp_path, 'a')


def test_a_damaged_state_is_named(tmp_path: Path):
    save_state(tmp_path, {'fingerprint': 'a', 'x': torch.zeros(1000)})
    path = tmp_path / STATE_NAME
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match='damaged'):
        load_state(tmp_path, 'a')


def test_a_full_disk_leaves_the_previous_state_intact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    save_state(tmp_path, {'fingerprint': 'a', 'iteration': 1})

    def full(self: Path, data: bytes) -> int:
        with self.open('wb') as handle:
            handle.write(data[: len(data) // 2])
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(Path, 'write_bytes', full)
    with pytest.raises(InputError, match='No space left'):
        save_state(tmp_path, {'fingerprint': 'a', 'iteration': 2})
    monkeypatch.undo()
    assert load_state(tmp_path, 'a')['iteration'] == 1
    assert [p.name for p in tmp_path.iterdir()] == [STATE_NAME]


def test_fingerprints_tell_configurations_apart():
    one, other = Optimisation(10), Optimisation(11)
    assert fingerprint(one, Stage.DETECTION) == fingerprint(Optimisation(10), Stage.DETECTION)
    assert fingerprint(one, Stage.DETECTION) != fingerprint(other, Stage.DETECTION)
    assert fingerprint(one, Stage.DETECTION) != fingerprint(one, Stage.TRACKING)


def test_learning_rate_warms_up_and_ends_at_its_final_fraction():
    plan = Optimisation(1000, warmup_iterations=100, warmup_from=0.1, final_fraction=0.02)
    factors = [learning_rate_factor(i, plan) for i in range(1001)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == pytest.approx(factors[100], rel=1e-6)
    assert factors[1000] == pytest.approx(0.02)


def test_norms_and_biases_are_not_decayed_and_the_backbone_has_its_own_rate():
    model = torch.nn.ModuleDict({'backbone': torch.nn.Linear(2, 2), 'head': torch.nn.LayerNorm(2)})
    plan = Optimisation(10, learning_rate=1e-3, backbone_scale=0.1, weight_decay=0.5)
    groups = build_optimiser(model.named_parameters(), plan).param_groups
    decay = {(g['weight_decay'], round(g['peak'], 9)): len(g['params']) for g in groups}
    assert decay == {(0.5, 1e-4): 1, (0.0, 1e-4): 1, (0.0, 1e-3): 2}


def test_an_unknown_recipe_key_names_the_nearest_one(tmp_path: Path):
    path = tmp_path / 'recipe.yaml'
    stage = '{optimisation: {iterations: 1}}'
    path.write_text(f'model: tiny\ndetektion: {stage}\ntracking: {stage}\ncooperative: {stage}\n')
    with pytest.raises(InputError, match="'detection'"):
        load_recipe(path)


@pytest.mark.parametrize('name', ['tiny_start', 'tiny', 'r50'])
def test_every_shipped_recipe_can_be_read_and_names_a_model(name: str):
    recipe = load_recipe(config_path(f'training/{name}.yaml'))
    assert model_config(recipe.model).classes
    if name == 'tiny_start':
        assert recipe.stage(Stage.DETECTION).optimisation.iterations > 0
        assert can_grow(model_config(recipe.model), model_config('tiny'))
        with pytest.raises(InputError, match='no stage tracking') as caught:
            recipe.stage(Stage.TRACKING)
        assert 'detection' in str(caught.value)
    else:
        # The released model has no feature flow.
        own = [stage for stage in Stage if stage not in (Stage.MAP, Stage.MAP_COOPERATIVE)]
        stages = [stage for stage in own if name == 'tiny' or stage is not Stage.LATENCY]
        assert all(recipe.stage(stage).optimisation.iterations > 0 for stage in stages)
