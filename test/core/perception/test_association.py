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

"""Pairs of the association and what found no partner, as the cooperative result lists them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_models import camera_frame, save_pair

from cooptrack_core.perception import (
    AgentPerception,
    CooperativePerception,
    PerceptionModel,
    load_model,
)
from cooptrack_core.structures import InstanceMessage, Source

Models = tuple[PerceptionModel, PerceptionModel]


@pytest.fixture(scope='module')
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    agent, cooperative = save_pair(Path(tmp_path_factory.mktemp('weights')))
    return load_model(agent), load_model(cooperative)


def message(model: PerceptionModel, agent_id: str, ms: float) -> InstanceMessage:
    frame = camera_frame(agent_id, ms, position=(430.0, -190.0, 20.0), yaw=-2.5)
    return AgentPerception(model, agent_id, 1).process(frame).message


def test_every_remote_instance_is_paired_or_listed_alone(models: Models) -> None:
    ego = CooperativePerception(models[1].with_rule_matching(), 'vehicle')
    for ms in (0, 100):
        sent = message(models[0], 'roadside', ms)
        result = ego.process(camera_frame('vehicle', ms), [sent])
        alone = [one for one in result.unmatched if one.agent_id == 'roadside']
        listed = [pair.remote_position for pair in result.associations]
        listed += [one.position for one in alone]
        area = models[1].network.config.range
        reference = sent.range.denormalise(sent.reference_points)
        frames = camera_frame('vehicle', ms).world_SE3_agent.inverse() @ sent.world_SE3_agent
        places = frames.transform_points(reference)[:, :2]
        low, high = np.array([area.x_min, area.y_min]), np.array([area.x_max, area.y_max])
        inside = ((places > low) & (places < high)).all(-1).sum()
        assert len(listed) <= len(sent)
        assert 0 < len(listed) <= inside
        for position in listed:  # each is an instance of the message
            assert np.linalg.norm(places - position[:2], axis=1).min() < 0.05


def test_pairs_know_their_track_and_rule_matching_keeps_its_distance(models: Models) -> None:
    ego = CooperativePerception(models[1].with_rule_matching(), 'vehicle')
    for ms in (0, 100, 200):
        sent = message(models[0], 'roadside', ms)
        result = ego.process(camera_frame('vehicle', ms), [sent])
    assert result.associations
    fused = {
        int(i)
        for i, source in zip(result.detections.track_ids, result.detections.sources, strict=True)
        if source == Source.FUSED
    }
    limit = models[1].network.config.cooperation
    assert limit is not None
    for pair in result.associations:
        assert pair.agent_id == 'roadside'
        assert pair.track_id in fused
        gap = np.linalg.norm(pair.ego_position - pair.remote_position)
        assert gap <= limit.rule_distance + 1e-3
        assert np.isnan(pair.affinity)


def test_an_instance_that_the_next_agent_confirms_is_not_alone(models: Models) -> None:
    """Two units send the same instances: the second pairs with what the first one added."""
    first = message(models[0], 'roadside', 0)
    second = replace(first, agent_id='roadside_1')
    ego = CooperativePerception(models[1].with_rule_matching(), 'vehicle')
    result = ego.process(camera_frame('vehicle', 0), [first, second])
    twin = [pair for pair in result.associations if pair.agent_id == 'roadside_1']
    exact = [p for p in twin if np.abs(p.ego_position - p.remote_position).max() < 1e-3]
    assert exact
    alone = [one.position for one in result.unmatched]
    for pair in exact:
        assert not alone or np.abs(np.stack(alone) - pair.ego_position).max(1).min() > 1e-6


def test_without_messages_only_the_egos_live_instances_are_listed(models: Models) -> None:
    ego = CooperativePerception(models[1], 'vehicle')
    result = ego.process(camera_frame('vehicle', 0))
    assert result.associations == ()
    assert {one.agent_id for one in result.unmatched} == {'vehicle'}
    kept = ego._memory
    assert kept is not None
    assert sorted(one.track_id for one in result.unmatched) == sorted(kept.live.ids.tolist())
