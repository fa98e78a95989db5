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

"""The learnt baselines behind the same interface as the other methods."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import camera_frame, save_pair, small_config, small_model

from cooptrack_core.errors import InputError, MessageError
from cooptrack_core.models.checkpoint import save_weights
from cooptrack_core.models.cooptrack.config import CooperationConfig
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.perception import AgentPerception, ModelSet, PerceptionModel, load_model
from cooptrack_core.perception.bev_fusion import BevFusion, BevFusionConfig
from cooptrack_core.perception.cooperative import CooperativePerception
from cooptrack_core.perception.methods import METHODS, make_methods
from cooptrack_core.perception.scoreboard import Scoreboard
from cooptrack_core.perception.stream import RadioStream, StreamOptions
from cooptrack_core.structures import Source
from cooptrack_core.v2x.bev_extension import BEV, read_bev
from cooptrack_core.v2x.inbox import MessageInbox

ROADSIDE_AT = (410.0, -195.0, 24.0)


def saved(directory: Path, name: str, **changes: object) -> PerceptionModel:
    """A model of another fusion with the small agent's weights where they fit."""
    config = dataclasses.replace(small_config(True), name=name, **changes)
    torch.manual_seed(1)
    model = CoopTrack(config).eval()
    model.load_state_dict(small_model(False).state_dict(), strict=False)
    if model.bev_fusion is not None:
        torch.nn.init.normal_(model.bev_fusion.convolutions[-1].weight, std=0.1)
    save_weights(model, directory / f'{name}.safetensors')
    return load_model(directory / f'{name}.safetensors')


@pytest.fixture(scope='module')
def models(tmp_path_factory: pytest.TempPathFactory) -> ModelSet:
    directory = tmp_path_factory.mktemp('weights')
    agent, cooperative = (load_model(path) for path in save_pair(directory))
    small = small_config(True)
    queries = saved(
        directory,
        'queries',
        cooperation=CooperationConfig(fusion='queries', score_threshold=0.05),
    )
    maps = saved(
        directory,
        'maps',
        cooperation=CooperationConfig(fusion='bev'),
        motion=None,
        reasoning=None,
        latency=None,
        tracking=dataclasses.replace(small.tracking, carry=False),
    )
    return ModelSet(agent, agent, cooperative, queries, maps)


def sender(models: ModelSet, share_bev: bool = True) -> AgentPerception:
    return AgentPerception(models.roadside, 'roadside', 1, share_bev=share_bev)


def roadside_frame(ms: float):
    return camera_frame('roadside', ms, position=ROADSIDE_AT, yaw=-2.5, seed=1)


def test_both_run_on_the_moments_of_the_radio_beside_the_others(models: ModelSet) -> None:
    names = ('cooptrack', 'query_fusion', 'bev_fusion')
    methods = make_methods(names, models)
    board = Scoreboard(names)
    stream = RadioStream(
        'vehicle',
        lambda frame: sender(models),
        MessageInbox(models.roadside.model_id, 'vehicle'),
        StreamOptions(),
        on_message=board.add_message,
    )
    frames = [f for t in (0, 100, 200) for f in (camera_frame('vehicle', t), roadside_frame(t))]
    count = 0
    for moment in stream.replay(frames):
        (message,) = moment.messages
        assert BEV in message.extensions
        outputs = {name: method(moment) for name, method in methods.items()}
        for output in outputs.values():
            assert output.tracks.stamp_ns == moment.frame.stamp_ns
            assert len(output.detections) > 0
        assert (outputs['query_fusion'].detections.sources == Source.REMOTE).any()
        count += 1
    assert count == 3
    traffic = board.as_dict()['traffic']
    grid, dims = models.roadside.network.config.bev.grid, 96
    size = grid.rows * grid.columns * dims * 2
    assert size < traffic['bev_map']['bytes_per_message'] < size + 600


def test_the_map_on_the_air_is_that_of_the_sender(models: ModelSet) -> None:
    agent = sender(models)
    bev = read_bev(agent.process(roadside_frame(0)).message)
    assert bev.grid == models.roadside.network.config.bev.grid
    own = agent._memory.bev.numpy().reshape(bev.values.shape)
    np.testing.assert_allclose(bev.values, own, rtol=1e-3, atol=1e-3)
    assert read_bev(sender(models, False).process(roadside_frame(0)).message) is None


def test_bev_fusion_uses_the_map_and_nothing_else_of_a_message(models: ModelSet) -> None:
    message = sender(models).process(roadside_frame(0)).message
    plain = sender(models, False).process(roadside_frame(0)).message
    frame = camera_frame('vehicle', 0)

    def scores(messages) -> np.ndarray:
        return BevFusion(models.bev_fusion, 'vehicle').process(frame, messages).detections.scores

    assert np.array_equal(scores([]), scores([plain]))
    assert not np.array_equal(scores([]), scores([message]))
    changed = dataclasses.replace(message, query_features=message.query_features + 1)
    assert np.array_equal(scores([changed]), scores([message]))


def test_a_bias_raises_the_scores_of_bev_fusion_and_changes_nothing_else(
    models: ModelSet,
) -> None:
    def run(bias: float):
        config = BevFusionConfig(track_score=0.0, score_bias=bias)
        return BevFusion(models.bev_fusion, 'vehicle', config).process(camera_frame('vehicle', 0))

    plain, raised = run(0.0), run(1.0)
    for before, after in (
        (plain.detections, raised.detections),
        (plain.tracks, raised.tracks),
    ):
        assert len(before) == len(after) > 0
        np.testing.assert_array_equal(after.boxes.centers, before.boxes.centers)
        logits = [np.log(found.scores / (1 - found.scores)) for found in (before, after)]
        np.testing.assert_allclose(logits[1] - logits[0], 1.0, atol=1e-4)


def test_a_damaged_map_is_refused_and_a_foreign_frame_too(models: ModelSet) -> None:
    message = sender(models).process(roadside_frame(0)).message
    broken = dataclasses.replace(message, extensions={BEV: message.extensions[BEV][:-1]})
    ego = BevFusion(models.bev_fusion, 'vehicle')
    with pytest.raises(MessageError):
        ego.process(camera_frame('vehicle', 0), [broken])
    with pytest.raises(ValueError, match='roadside'):
        ego.process(roadside_frame(0))


def test_pictures_get_the_places_before_fusion(models: ModelSet) -> None:
    """Each pair of query fusion is listed with the two places that met."""
    agent, ego = sender(models, False), CooperativePerception(models.query_fusion, 'vehicle')
    pairs = []
    for t in (0, 100, 200):
        message = agent.process(roadside_frame(t)).message
        result = ego.process(camera_frame('vehicle', t), [message])
        pairs += result.associations
        listed = [u for u in result.unmatched if u.agent_id == 'roadside']
        assert t or listed
    assert pairs, 'what was appended is a track then, and meets its sender again'
    gate = models.query_fusion.network.config.cooperation.rule_distance
    for pair in pairs:
        assert np.linalg.norm(pair.remote_position - pair.ego_position) <= gate + 1e-3
        assert np.isnan(pair.affinity)


@pytest.mark.parametrize('name', ['query_fusion', 'bev_fusion'])
def test_without_weights_the_option_is_named_and_the_default_methods_need_none(
    name: str, models: ModelSet
) -> None:
    bare = ModelSet(models.vehicle, models.roadside, models.cooperative)
    with pytest.raises(InputError, match='weights') as error:
        make_methods((name,), bare)
    assert error.value.field == f'--{name.replace("_", "-")}-weights'
    assert name not in METHODS
    assert f'{name}_model' not in bare.as_dict()
    assert models.as_dict()[f'{name}_model']['name'] in ('queries', 'maps')
