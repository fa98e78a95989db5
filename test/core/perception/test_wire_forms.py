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

"""What senders may add, how short they may be: feature flow and compact messages, end to end."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import camera_frame, small_config, small_model

from cooptrack_core.errors import InputError
from cooptrack_core.models.checkpoint import save_weights
from cooptrack_core.models.cooptrack.config import LatencyConfig
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.perception import AgentPerception, CooperativePerception, load_model
from cooptrack_core.perception.stream import RadioStream, StreamOptions
from cooptrack_core.training.code import with_code
from cooptrack_core.v2x import MessageInbox, decode_message, encode_message
from cooptrack_core.v2x.feature_code import fit_code
from cooptrack_core.v2x.flow import read_flow


def flowing(directory: Path) -> Path:
    """Agent weights with a feature flow that says something."""
    plain = small_model(False)
    config = dataclasses.replace(small_config(False), latency=LatencyConfig(width=8))
    torch.manual_seed(1)
    model = CoopTrack(config).eval()
    model.load_state_dict(plain.state_dict(), strict=False)
    assert model.flow is not None
    torch.nn.init.normal_(model.flow.state[-1].weight, std=0.3)
    save_weights(model, directory / 'flow.safetensors')
    return directory / 'flow.safetensors'


def coded(directory: Path) -> tuple[Path, Path]:
    """Agent and cooperative weights that share a feature code."""
    agent, ego = small_model(False), small_model(True)
    rows = np.random.default_rng(0).normal(size=(300, 3 * agent.config.embed_dims))
    code = fit_code(rows.astype(np.float32), 64)
    paths = directory / 'agent.safetensors', directory / 'ego.safetensors'
    sender = save_weights(with_code(agent, code), paths[0])
    save_weights(with_code(ego, code), paths[1], metadata={'sender_model_id': sender})
    return paths


def test_a_flow_moves_what_arrives_late_and_nothing_that_is_in_time(tmp_path: Path):
    agent = AgentPerception(load_model(flowing(tmp_path)), 'roadside', 1)
    save_weights(small_model(True), tmp_path / 'ego.safetensors')
    ego = load_model(tmp_path / 'ego.safetensors')
    agent.process(camera_frame('roadside', 0, seed=1))
    sent = agent.process(camera_frame('roadside', 100, seed=1)).message
    heard = decode_message(encode_message(sent))
    assert read_flow(heard) is not None
    without = dataclasses.replace(heard, extensions={})
    places = []
    for now in (100, 400):
        for message in (heard, without):
            result = CooperativePerception(ego, 'vehicle').process(
                camera_frame('vehicle', now), [message]
            )
            places.append(result.detections.boxes.centers)
    np.testing.assert_array_equal(places[0], places[1])
    assert not np.array_equal(places[2], places[3])


def test_compact_messages_reach_the_ego_over_the_radio(tmp_path: Path):
    agent_path, ego_path = coded(tmp_path)
    agent, ego = load_model(agent_path), load_model(ego_path)
    sizes = {}
    for dtype in ('int8', 'compact'):
        inbox = MessageInbox(agent.model_id, 'vehicle', code=ego.code)
        stream = RadioStream(
            'vehicle',
            lambda frame: AgentPerception(agent, frame.agent_id, 1),
            inbox,
            StreamOptions(dtype=dtype),
        )
        frames = [camera_frame('roadside', 90, seed=1), camera_frame('vehicle', 100)]
        (moment,) = list(stream.replay(frames))
        (message,) = moment.messages
        assert len(message) > 0
        (event,) = moment.events
        sizes[dtype] = event.size
        tracks = CooperativePerception(ego, 'vehicle').process(moment.frame, [message]).detections
        assert ('roadside',) in tracks.remote_agents
    assert sizes['compact'] < sizes['int8'] / 5


def test_weights_without_a_code_cannot_send_compact_messages(tmp_path: Path):
    save_weights(small_model(False), tmp_path / 'agent.safetensors')
    agent = load_model(tmp_path / 'agent.safetensors')
    stream = RadioStream(
        'vehicle',
        lambda frame: AgentPerception(agent, frame.agent_id, 1),
        MessageInbox(agent.model_id, 'vehicle'),
        StreamOptions(dtype='compact'),
    )
    with pytest.raises(InputError, match='no feature code'):
        list(stream.replay([camera_frame('roadside', 90), camera_frame('vehicle', 100)]))
