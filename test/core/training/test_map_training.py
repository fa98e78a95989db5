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

"""Training of maps: losses, mirrored worlds, stages that begin where the one before ended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_rings import CONFIG

from cooptrack_core.errors import InputError
from cooptrack_core.geometry import MapGrid
from cooptrack_core.models.cobevt.checkpoint import load_weights
from cooptrack_core.models.cobevt.config import CobevtConfig
from cooptrack_core.models.cobevt.model import Cobevt
from cooptrack_core.models.cobevt.preprocess import prepare_scene
from cooptrack_core.resources import config_path
from cooptrack_core.training.map_data import (
    MapTrainingData,
    ring_inputs,
    scene_inputs,
)
from cooptrack_core.training.map_losses import map_losses, soft_iou
from cooptrack_core.training.map_options import MapLossWeights, MapStageRecipe, load_map_recipe
from cooptrack_core.training.map_run import map_config, train_maps
from cooptrack_core.training.map_stage import MapStage
from cooptrack_core.training.options import Optimisation, Stage, TrainingOptions


def plan(**changes: object) -> MapStageRecipe:
    base = MapStageRecipe(Optimisation(iterations=2, batch_size=2, warmup_iterations=0))
    return replace(base, **changes)


@pytest.fixture(scope='module')
def data(rings: Path) -> MapTrainingData:
    return MapTrainingData([rings], CONFIG)


def stage(
    data: MapTrainingData, recipe: MapStageRecipe, config: CobevtConfig = CONFIG
) -> MapStage:
    torch.manual_seed(0)
    return MapStage(
        Cobevt(config), data, data, recipe, name='map', seed=0, device=torch.device('cpu'),
        precision='off',
    )  # fmt: skip


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000))
def test_soft_iou_of_certain_maps_is_their_iou(seed: int):
    random = np.random.default_rng(seed)
    likely, there = (torch.from_numpy(random.random((2, 3, 8, 8)) < 0.4).double() for _ in 'ab')
    both = (likely * there).sum((0, 2, 3))
    either = ((likely + there) > 0).sum((0, 2, 3))
    torch.testing.assert_close(soft_iou(likely, there), (both + 1) / (either + 1))


def test_a_perfect_map_costs_nothing_and_a_wrong_one_much():
    truth = {'dynamic': torch.zeros(1, 8, 8, dtype=torch.int64)}
    truth['dynamic'][0, 2:4, 2:4] = 1
    right = 20.0 * torch.nn.functional.one_hot(truth['dynamic'], 2).movedim(-1, 1).float()
    good = map_losses({'dynamic': right}, truth, MapLossWeights())
    bad = map_losses({'dynamic': -right}, truth, MapLossWeights())
    assert sum(good.values()) < 1e-3
    assert bad['dynamic_entropy'] > 10.0
    assert bad['dynamic_overlap'] > 0.5
    assert not map_losses({'static': right}, truth, MapLossWeights())  # no truth, no loss


def test_training_sees_what_inference_sees(data: MapTrainingData):
    scenario = data.scenarios[0]
    moment = data.moments[0]
    ego = scenario.vehicle_ids[0]
    found = scenario.map_frame(moment.frame_id, ego)
    names = data.agents(moment, ego, 9)
    assert names == [agent.agent_id for agent in found.agents]
    frames = [data.ring(moment, name) for name in names]
    own = scene_inputs([ring_inputs(f, CONFIG) for f in frames], frames)
    expected = prepare_scene(found.agents, CONFIG)
    assert torch.equal(own.rings.images, expected.rings.images)
    torch.testing.assert_close(own.rings.intrinsics, expected.rings.intrinsics)
    torch.testing.assert_close(own.rings.agent_T_camera, expected.rings.agent_T_camera)
    torch.testing.assert_close(own.ego_T_agent, expected.ego_T_agent, atol=1e-4, rtol=0)


def test_a_mirrored_ring_sees_mirrored_points_at_mirrored_pixels(data: MapTrainingData):
    frame = data.ring(data.moments[0], data.scenarios[0].vehicle_ids[0])
    mirrored = frame.mirrored()
    points = np.random.default_rng(0).uniform(-20, 20, (50, 3))
    width = frame.images.shape[2]
    for camera in range(len(frame.images)):
        pixels = _pixels(frame, camera, points)
        other = _pixels(mirrored, camera, points * [1, -1, 1])
        np.testing.assert_allclose(other[:, 0], width - 1 - pixels[:, 0], atol=1e-6)
        np.testing.assert_allclose(other[:, 1:], pixels[:, 1:], atol=1e-6)
    twice = mirrored.mirrored()
    assert np.array_equal(twice.images, frame.images)
    np.testing.assert_allclose(twice.world_T_body, frame.world_T_body)
    assert np.array_equal(mirrored.labels.dynamic[:, ::-1], frame.labels.dynamic)
    assert np.linalg.det(mirrored.body_T_camera[0, :3, :3]) == pytest.approx(1.0)


def _pixels(frame, camera: int, points: np.ndarray) -> np.ndarray:
    """(n, 3) u, v, depth."""
    camera_T_body = np.linalg.inv(frame.body_T_camera[camera])
    inside = points @ camera_T_body[:3, :3].T + camera_T_body[:3, 3]
    uvw = inside @ frame.intrinsics[camera].T
    return np.column_stack([uvw[:, :2] / uvw[:, 2:], uvw[:, 2]])


@pytest.mark.parametrize('operator', ['fusebevt', 'f_cooper', 'att_fuse', 'v2vnet', 'disconet'])
def test_every_operator_learns_from_scenes_of_several_agents(data: MapTrainingData, operator: str):
    run = stage(
        data,
        plan(together=True, vehicles='visible_all', camera_dropout=0.2, blind_ego=0.5),
        replace(CONFIG, operator=operator),
    )
    losses = run.losses(0)
    assert set(losses) == {
        'dynamic_entropy', 'dynamic_overlap', 'static_entropy', 'static_overlap'
    }  # fmt: skip
    sum(losses.values()).backward()
    for part in (run.model.backbone, run.model.sinbevt, run.model.decoder):
        gradients = [p.grad for p in part.parameters() if p.grad is not None]
        assert gradients
        assert all(bool(torch.isfinite(g).all()) for g in gradients)
    again = stage(data, run.recipe, run.model.config).losses(0)
    assert all(torch.equal(losses[name], again[name]) for name in losses)


def test_frozen_senders_are_computed_once_and_get_no_gradient(data: MapTrainingData):
    run = stage(data, plan(together=True, frozen=('backbone', 'sinbevt')))
    calls = []
    encode = run.model.encode
    run.model.encode = lambda *a: calls.append(1) or encode(*a)  # type: ignore[method-assign]
    total = sum(run.losses(0).values())
    total.backward()
    first = len(calls)
    assert first
    run.losses(0)
    assert len(calls) == first
    assert all(p.grad is None for p in run.model.sinbevt.parameters())
    assert any(p.grad is not None for p in run.model.decoder.parameters())


def test_maps_of_a_frozen_trunk_are_shared_on_disk_and_belong_to_their_trunk(
    data: MapTrainingData, tmp_path: Path
):
    recipe = plan(together=True, frozen=('backbone', 'sinbevt'))

    def run(seed: int) -> tuple[dict[str, torch.Tensor], list[int]]:
        torch.manual_seed(seed)
        made = MapStage(
            Cobevt(CONFIG), data, None, recipe, name='map', seed=0, device=torch.device('cpu'),
            precision='off', cache=tmp_path,
        )  # fmt: skip
        calls: list[int] = []
        encode = made.model.encode
        made.model.encode = lambda *a: calls.append(1) or encode(*a)  # type: ignore[method-assign]
        return made.losses(0), calls

    first, made = run(seed=0)
    assert made
    files = sorted(tmp_path.rglob('*.npy'))
    assert len(files) == len(made)
    again, remade = run(seed=0)
    assert not remade
    assert all(torch.equal(first[name], again[name]) for name in first)
    files[0].write_bytes(b'damaged')
    _, remade = run(seed=0)
    assert len(remade) == 1
    _, others = run(seed=1)
    assert len(others) == len(made)


def test_scenes_of_different_sizes_train_the_compression(data: MapTrainingData):
    recipe = plan(together=True, frozen=('backbone', 'sinbevt'), agent_dropout=0.5)
    recipe = replace(recipe, optimisation=replace(recipe.optimisation, batch_size=4))
    run = stage(data, recipe, replace(CONFIG, compression=8))
    counts = set()
    combine = run.model.combine
    run.model.combine = lambda *a: counts.add(a[2]) or combine(*a)  # type: ignore[method-assign]
    for iteration in range(3):
        sum(run.losses(iteration).values()).backward()
    assert any(len(set(sizes)) > 1 for sizes in counts)
    compressor = run.model.compressor
    assert compressor is not None
    assert all(bool((p.grad != 0).any()) for p in compressor.shrink[0].parameters())


def test_a_blind_ego_rests_on_the_others_maps(data: MapTrainingData):
    recipe = plan(together=True, frozen=('backbone', 'sinbevt'))
    seeing = stage(data, recipe).losses(0)
    blind = stage(data, replace(recipe, blind_ego=1.0)).losses(0)
    assert not torch.equal(seeing['dynamic_entropy'], blind['dynamic_entropy'])


def test_validation_gives_iou_of_every_class(data: MapTrainingData):
    run = stage(data, plan())
    run.modules.eval()
    with torch.no_grad():
        scores = run.validate()
    assert set(scores) == {'vehicle', 'drivable', 'lane'}
    assert all(0.0 <= value <= 1.0 for value in scores.values())


def test_both_stages_run_and_the_second_starts_from_the_first(rings: Path, tmp_path: Path):
    import yaml

    small = {
        'name': 'small', 'image': {'height': 48, 'width': 96, 'skip_rows': 24},
        'backbone': {'kind': 'residual', 'widths': [8, 8, 16, 16], 'blocks': [1, 1, 1, 1],
                     'levels': [1, 2]},
        'sinbevt': {'dims': [16, 16], 'scale': 8, 'query_windows': [16, 16],
                    'image_windows': [[3, 6], [3, 6]], 'head_dims': 8},
        'fusion': {'depth': 1, 'window': 4, 'hidden': 16, 'head_dims': 8},
        'decoder': {'channels': [16, 8, 8, 8]},
    }  # fmt: skip
    (tmp_path / 'small.yaml').write_text(yaml.safe_dump(small))
    steps = {'optimisation': {'iterations': 1, 'batch_size': 1}}
    recipe = {
        'model': str(tmp_path / 'small.yaml'), 'map': steps,
        'map_cooperative': {**steps, 'together': True},
    }  # fmt: skip
    (tmp_path / 'recipe.yaml').write_text(yaml.safe_dump(recipe))
    options = TrainingOptions(Stage.MAP, (rings,), tmp_path / 'recipe.yaml', tmp_path / 'alone')
    alone = load_weights(train_maps(options))
    assert alone.fusion is None
    second = replace(options, stage=Stage.MAP_COOPERATIVE, out=tmp_path / 'together')
    with pytest.raises(InputError, match='learnt to see'):
        train_maps(second)
    weights = train_maps(
        replace(second, initial=tmp_path / 'alone/weights.safetensors', operator='f_cooper',
                out=tmp_path / 'max')
    )  # fmt: skip
    together = load_weights(weights)
    small_radio = replace(second, initial=options.out / 'weights.safetensors', compression=8)
    packed = load_weights(train_maps(replace(small_radio, out=tmp_path / 'packed')))
    assert packed.config.sent_channels == 2
    without = replace(second, initial=options.out / 'weights.safetensors', out=tmp_path / 'local')
    local = load_weights(train_maps(replace(without, without=('fuse_global',))))
    assert local.config.fusion.local_attention
    assert not local.config.fusion.global_attention
    with pytest.raises(InputError, match="'ground'"):  # of the stage before
        train_maps(replace(without, without=('ground',), out=tmp_path / 'no'))
    with pytest.raises(InputError, match='does not divide'):
        train_maps(replace(small_radio, compression=5, out=tmp_path / 'odd'))
    assert together.config.operator == 'f_cooper'
    assert together.config.sinbevt == alone.config.sinbevt


def test_the_shipped_recipe_and_model_fit_together():
    recipe = load_map_recipe(config_path('training/cobevt_tiny.yaml'))
    config = map_config(recipe.model)
    assert recipe.stage(Stage.MAP_COOPERATIVE).together
    assert config.map == MapGrid()
    size = sum(p.numel() for p in Cobevt(config).parameters()) * 2
    assert size < 15e6  # bytes in half precision
    with pytest.raises(InputError, match='no stage'):
        recipe.stage(Stage.TRACKING)
