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

"""The cooperative stage of the learnt baselines, with very small models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from test_stages import SMALL_MODEL, options, same_weights, stage_recipe

from cooptrack_core.config import from_mapping, load_yaml
from cooptrack_core.errors import InputError
from cooptrack_core.models.checkpoint import load_weights, read_metadata
from cooptrack_core.models.cooptrack.config import ModelConfig
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.resources import config_path
from cooptrack_core.training import Progress, Stage, train
from cooptrack_core.training.cooperative import CooperativeStage
from cooptrack_core.training.data import TrainingData
from cooptrack_core.training.options import load_recipe

FROZEN = ['backbone', 'neck', 'bev_encoder']
QUERIES = {**SMALL_MODEL, 'cooperation': {'fusion': 'queries'}}
MAPS = {k: v for k, v in SMALL_MODEL.items() if k != 'latency'} | {
    'cooperation': {'fusion': 'bev'}, 'motion': None, 'reasoning': None,
    'tracking': {'carry': False},
}  # fmt: skip
BASELINES = {'queries': QUERIES, 'bev': MAPS}


def write_recipe(directory: Path, model: dict[str, object], frozen: list[str]) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / 'model.yaml').write_text(yaml.safe_dump(model))
    path = directory / 'recipe.yaml'
    content = {
        'model': str(directory / 'model.yaml'),
        'mixed_precision': 'off',
        'checkpoint_every': 4,
        'detection': stage_recipe(6),
        'cooperative': stage_recipe(6, frozen=frozen),
    }
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope='module')
def agent(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = write_recipe(tmp_path_factory.mktemp('agent'), SMALL_MODEL, [])
    return train(options(Stage.DETECTION, scenes, recipe, tmp_path_factory.mktemp('out')))


@pytest.mark.parametrize('fusion', list(BASELINES))
def test_a_baseline_trains_on_frozen_images_and_resumes_bit_for_bit(
    fusion: str, scenes: Path, agent: Path, tmp_path: Path
):
    recipe = write_recipe(tmp_path / 'recipe', BASELINES[fusion], FROZEN)
    metrics: dict[str, float] = {}
    whole = train(
        options(
            Stage.COOPERATIVE, scenes, recipe, tmp_path / 'whole', initial=agent,
            validation=(scenes,), progress=lambda p: metrics.update(p.metrics),
        )
    )  # fmt: skip
    assert 0.0 <= metrics['cooperative/car_ap'] <= 1.0

    def kill(progress: Progress) -> None:
        if progress.iteration == 5:
            raise KeyboardInterrupt

    cut = tmp_path / 'cut'
    with pytest.raises(KeyboardInterrupt):
        train(options(Stage.COOPERATIVE, scenes, recipe, cut, initial=agent, progress=kill))
    again = train(options(Stage.COOPERATIVE, scenes, recipe, cut, initial=agent, resume=True))
    assert same_weights(whole, again)

    before, after = load_weights(agent).state_dict(), load_weights(whole).state_dict()
    frozen = ('backbone', 'neck', 'bev_encoder.lift', 'bev_encoder.blocks')
    dense = [n for n in before if n.startswith(frozen)]
    assert dense and all(torch.equal(before[n], after[n]) for n in dense)
    shared = [n for n in before if n in after and n not in dense]
    moved = [n for n in shared if not torch.equal(before[n], after[n])]
    assert any(n.startswith('decoder') for n in moved)
    part = {'queries': 'query_fusion.', 'bev': 'bev_fusion.'}[fusion]
    last = {'queries': 'align_embeds.weight', 'bev': 'convolutions.6.weight'}[fusion]
    assert after[part + last].abs().sum() > 0, 'it began at zero'
    assert read_metadata(whole)['sender_model_id'] == read_metadata(agent)['model_id']


def test_maps_that_would_train_are_refused(scenes: Path, agent: Path, tmp_path: Path):
    recipe = write_recipe(tmp_path / 'recipe', MAPS, ['backbone'])
    with pytest.raises(InputError, match='computed once'):
        train(options(Stage.COOPERATIVE, scenes, recipe, tmp_path / 'out', initial=agent))


@pytest.mark.parametrize('name', ['tiny_query_fusion', 'tiny_bev_fusion'])
def test_the_recipes_have_the_budget_and_the_agent_model_of_tiny(name: str):
    ours, theirs = (load_recipe(config_path(f'training/{n}.yaml')) for n in (name, 'tiny'))
    assert ours.cooperative.optimisation == theirs.cooperative.optimisation
    assert ours.cooperative.frozen == theirs.cooperative.frozen
    assert ours.cooperative.quality_distance == theirs.cooperative.quality_distance
    mine, tiny = (
        from_mapping(ModelConfig, load_yaml(config_path(f'models/{n}.yaml')))
        for n in (ours.model, 'tiny')
    )
    for part in ('image', 'range', 'bev', 'backbone', 'decoder', 'embed_dims', 'classes'):
        assert getattr(mine, part) == getattr(tiny, part), part


def test_an_appended_instance_takes_the_id_of_its_object_and_lives_on(
    scenes: Path, agent: Path, tmp_path: Path
):
    recipe = load_recipe(write_recipe(tmp_path / 'recipe', QUERIES, FROZEN)).cooperative
    model, sender = CoopTrack(from_mapping(ModelConfig, QUERIES)), load_weights(agent)
    model.load_state_dict(sender.state_dict(), strict=False)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(tuple(FROZEN)))
    data = TrainingData((scenes,), 160, model.config.range, min_visible_pixels=2)
    stage = CooperativeStage(
        model, sender, 'id', data, None, recipe,
        seed=0, device=torch.device('cpu'), precision='off', channels_last=False,
    )  # fmt: skip
    stage.losses(0)
    lives = [memory.model.live for memory in stage._memories]
    appended = [(live.learnt < 0) & (live.ids >= 0) for live in lives]
    assert sum(int(rows.sum()) for rows in appended) > 0
    assert all(
        (live.remote_bits[rows] > 0).all() for live, rows in zip(lives, appended, strict=True)
    )
    assert all(live.tracked.all() for live in lives)
    losses = stage.losses(1)
    torch.stack(list(losses.values())).sum().backward()
    fusion = model.query_fusion
    for layer in (fusion.align_feats, fusion.align_embeds, fusion.fuse_feats):
        assert torch.isfinite(layer.weight.grad).all() and layer.weight.grad.abs().sum() > 0
