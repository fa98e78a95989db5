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

"""The three stages on a handful of generated frames, with a very small model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from cooptrack_core.errors import InputError
from cooptrack_core.models.checkpoint import load_weights, read_metadata
from cooptrack_core.training import Progress, Stage, TrainingOptions, train
from cooptrack_core.training.checkpoints import STATE_NAME
from cooptrack_core.training.code import code_of_messages, with_code

SMALL_MODEL = {
    'name': 'small',
    'image': {'height': 96, 'width': 160},
    'range': dict(zip(('x_min', 'y_min', 'z_min', 'x_max', 'y_max', 'z_max'),
                      (-51.2, -51.2, -5.0, 76.8, 51.2, 3.0), strict=True)),
    'embed_dims': 32,
    'dropout': 0.0,
    'backbone': {'kind': 'residual', 'widths': [8, 8, 16, 16], 'blocks': [1, 1, 1, 1],
                 'frozen_norm': False},
    'bev': {'encoder': 'lift', 'blocks': 1, 'heads': 4, 'pillar_heights': [-1.8, -0.6],
            'grid': {'x_min': 0.0, 'y_min': -32.0, 'x_max': 64.0, 'y_max': 32.0,
                     'columns': 16, 'rows': 16}},
    'decoder': {'queries': 24, 'layers': 2, 'heads': 4, 'points': 2, 'ffn': 32,
                'centre_step': 0.125, 'zero_start': True},
    'motion': {'width': 8},
    'reasoning': {'history': 4, 'layers': 1, 'heads': 4, 'ffn': 32},
    'cooperation': {'block': 8, 'score_threshold': 0.0},
    'tracking': {'score_threshold': 0.0},
    'latency': {'width': 8},
}  # fmt: skip


def stage_recipe(iterations: int, **more: object) -> dict[str, object]:
    plan = {'iterations': iterations, 'batch_size': 2, 'learning_rate': 2e-3,
            'warmup_iterations': 2}  # fmt: skip
    return {
        'optimisation': plan,
        'min_visible_pixels': 2,
        'streaming': {'clip_frames': 2, 'carry_distance': 4.0},
        **more,
    }


@pytest.fixture(scope='module')
def data(scenes: Path) -> Path:
    return scenes


@pytest.fixture(scope='module')
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp('recipe')
    model = directory / 'model.yaml'
    model.write_text(yaml.safe_dump(SMALL_MODEL))
    path = directory / 'recipe.yaml'
    content = {
        'model': str(model),
        'mixed_precision': 'off',
        'checkpoint_every': 4,
        'detection': stage_recipe(6),
        'tracking': stage_recipe(6),
        'cooperative': stage_recipe(6, frozen=['backbone', 'neck', 'bev_encoder']),
        'latency': stage_recipe(6),
    }
    path.write_text(yaml.safe_dump(content))
    return path


def options(stage: Stage, data: Path, recipe: Path, out: Path, **more: object) -> TrainingOptions:
    known = {'threads': 1, 'seed': 5, **more}
    return TrainingOptions(stage=stage, data=(data,), config=recipe, out=out, **known)


@pytest.fixture(scope='module')
def agent(data: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(options(Stage.DETECTION, data, recipe, tmp_path_factory.mktemp('agent')))


def states(directory: Path) -> dict[str, torch.Tensor]:
    state = torch.load(directory / STATE_NAME, weights_only=True)
    return dict(state['modules'])


def same_weights(a: Path, b: Path) -> bool:
    first, second = load_weights(a).state_dict(), load_weights(b).state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)


class KilledError(Exception):
    """Stands for a kill at an arbitrary moment."""


@pytest.mark.parametrize(
    'stage', [Stage.DETECTION, Stage.TRACKING, Stage.COOPERATIVE, Stage.LATENCY]
)
def test_a_killed_and_resumed_run_equals_the_uninterrupted_one_bit_for_bit(
    stage: Stage, data: Path, recipe: Path, agent: Path, tmp_path: Path
):
    initial = {} if stage is Stage.DETECTION else {'initial': agent}
    whole = train(options(stage, data, recipe, tmp_path / 'whole', **initial))

    def kill(progress: Progress) -> None:
        if progress.iteration == 5:
            raise KilledError

    cut = options(stage, data, recipe, tmp_path / 'cut', **initial)
    with pytest.raises(KilledError):
        train(replace(cut, progress=kill))
    resumed: list[int] = []
    keep = replace(cut, resume=True, progress=lambda p: resumed.append(p.iteration))
    again = train(keep)
    assert [i for i in resumed if i] == [5, 6], 'starts after the checkpoint at iteration 4'
    assert same_weights(whole, again)
    first, second = states(tmp_path / 'whole'), states(tmp_path / 'cut')
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_two_processes_give_the_same_weights_every_time_even_when_interrupted(
    data: Path, recipe: Path, tmp_path: Path
):
    whole = train(options(Stage.DETECTION, data, recipe, tmp_path / 'whole', processes=2))
    cut = options(Stage.DETECTION, data, recipe, tmp_path / 'cut', processes=2)

    def kill(progress: Progress) -> None:
        if progress.iteration == 5:
            raise KilledError

    with pytest.raises(KilledError):
        train(replace(cut, progress=kill))
    again = train(replace(cut, resume=True))
    assert same_weights(whole, again)
    with pytest.raises(InputError, match='processes'):
        train(options(Stage.DETECTION, data, recipe, tmp_path / 'odd', processes=3))


def test_another_seed_gives_other_weights(data: Path, recipe: Path, agent: Path, tmp_path: Path):
    other = train(options(Stage.DETECTION, data, recipe, tmp_path, seed=6))
    assert not same_weights(other, agent)


def test_twenty_iterations_lower_the_loss(data: Path, recipe: Path, tmp_path: Path):
    totals: list[float] = []
    watched = options(
        Stage.DETECTION, data, recipe, tmp_path, iterations=20,
        progress=lambda p: totals.extend([p.losses['total']] if p.losses else []),
    )  # fmt: skip
    train(watched)
    assert len(totals) == 20
    assert sum(totals[-4:]) / 4 < 0.8 * sum(totals[:4]) / 4


def test_held_out_numbers_come_at_the_end(data: Path, recipe: Path, agent: Path, tmp_path: Path):
    found: dict[str, float] = {}
    for stage, name in ((Stage.TRACKING, 'vehicle/car_ap'),
                        (Stage.COOPERATIVE, 'cooperative/car_ap')):  # fmt: skip
        train(
            options(
                stage, data, recipe, tmp_path / stage.value, initial=agent, iterations=2,
                validation=(data,), progress=lambda p: found.update(p.metrics),
            )
        )  # fmt: skip
        assert 0.0 <= found[name] <= 1.0


def test_a_cooperative_run_leaves_the_frozen_part_alone_and_trains_the_rest(
    data: Path, recipe: Path, agent: Path, tmp_path: Path
):
    weights = train(options(Stage.COOPERATIVE, data, recipe, tmp_path, initial=agent))
    before, after = load_weights(agent).state_dict(), load_weights(weights).state_dict()
    # The memory convolution is set up anew for streaming when the agent only learnt detection.
    frozen = ('backbone', 'neck', 'bev_encoder.lift', 'bev_encoder.blocks')
    dense = [n for n in before if n.startswith(frozen)]
    assert dense and all(torch.equal(before[n], after[n]) for n in dense)
    moved = [n for n in before if n not in dense and not torch.equal(before[n], after[n])]
    assert any(n.startswith('decoder') for n in moved)
    assert any(n.startswith('refine') for n in moved)
    sender = read_metadata(agent)['model_id']
    assert read_metadata(weights)['sender_model_id'] == sender


LIFT_FROZEN = ['backbone', 'neck', *(f'bev_encoder.{n}' for n in ('cells', 'lift', 'norm'))]


def test_the_bev_memory_trains_on_lifted_frames_that_are_kept(
    data: Path, recipe: Path, agent: Path, tmp_path: Path
):
    content = yaml.safe_load(recipe.read_text())
    content['tracking']['frozen'] = LIFT_FROZEN
    (tmp_path / 'recipe.yaml').write_text(yaml.safe_dump(content))
    weights = train(
        options(
            Stage.TRACKING, data, tmp_path / 'recipe.yaml', tmp_path / 'run', initial=agent,
            iterations=4,
        )
    )  # fmt: skip
    before, after = load_weights(agent).state_dict(), load_weights(weights).state_dict()
    dense = [n for n in before if n.startswith(tuple(LIFT_FROZEN))]
    assert dense and all(torch.equal(before[n], after[n]) for n in dense)
    past = after['bev_encoder.memory.weight'][:, SMALL_MODEL['embed_dims'] :]
    assert past.abs().sum() > 0  # it began without influence
    assert not torch.equal(
        before['bev_encoder.blocks.0.conv1.weight'], after['bev_encoder.blocks.0.conv1.weight']
    )


def test_resuming_with_another_recipe_is_refused(data: Path, recipe: Path, tmp_path: Path):
    first = options(Stage.DETECTION, data, recipe, tmp_path, iterations=1)
    train(first)
    with pytest.raises(InputError, match='another configuration'):
        train(replace(first, iterations=2, resume=True))
    with pytest.raises(InputError, match='--resume'):
        train(first)


def test_the_cooperative_stage_needs_an_agent_model(data: Path, recipe: Path, tmp_path: Path):
    with pytest.raises(InputError, match='agent model'):
        train(options(Stage.COOPERATIVE, data, recipe, tmp_path))


def test_weights_of_another_model_are_refused(
    data: Path, recipe: Path, agent: Path, tmp_path: Path
):
    model = {**SMALL_MODEL, 'embed_dims': 64}
    (tmp_path / 'model.yaml').write_text(yaml.safe_dump(model))
    content = yaml.safe_load(recipe.read_text())
    content['model'] = str(tmp_path / 'model.yaml')
    (tmp_path / 'recipe.yaml').write_text(yaml.safe_dump(content))
    changed = options(
        Stage.TRACKING, data, tmp_path / 'recipe.yaml', tmp_path / 'out', initial=agent
    )
    with pytest.raises(InputError, match='embed_dims'):
        train(changed)


def test_an_unknown_frozen_part_and_an_unknown_device_are_named(
    data: Path, recipe: Path, tmp_path: Path
):
    content = yaml.safe_load(recipe.read_text())
    content['detection']['frozen'] = ['backbones']
    wrong = tmp_path / 'recipe.yaml'
    wrong.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match='backbones'):
        train(options(Stage.DETECTION, data, wrong, tmp_path / 'a'))
    with pytest.raises(InputError, match='device'):
        train(options(Stage.DETECTION, data, recipe, tmp_path / 'b', device='gpu'))


def test_the_latency_stage_trains_the_flow_and_nothing_else(
    data: Path, recipe: Path, agent: Path, tmp_path: Path
):
    before = load_weights(agent)
    weights = train(options(Stage.LATENCY, data, recipe, tmp_path, initial=agent))
    after = load_weights(weights)
    assert before.flow is None
    assert after.flow is not None
    for name, value in before.state_dict().items():
        assert torch.equal(value, after.state_dict()[name]), name
    assert after.config.tracking == before.config.tracking
    assert read_metadata(weights)['stage'] == 'latency'
    with pytest.raises(InputError, match='starts from an agent model'):
        train(options(Stage.LATENCY, data, recipe, tmp_path / 'other'))


def test_a_feature_code_is_fitted_to_what_the_agent_says(data: Path, agent: Path):
    talkative = load_weights(agent)
    code = code_of_messages(talkative, [data], 24)
    assert code.size == talkative.config.embed_dims
    assert code.bits.sum() == 24
    coded = with_code(talkative, code)
    assert coded.feature_code is not None
    again = coded.feature_code.code()
    for field in ('mean', 'basis', 'analysis', 'bits'):
        np.testing.assert_array_equal(getattr(again, field), getattr(code, field))
    with pytest.raises(InputError, match='no feature code'):
        code_of_messages(talkative, [data], 0)
