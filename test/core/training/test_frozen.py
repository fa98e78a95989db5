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

"""What is frozen is computed once, and equals what would be computed every time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small import config, model

from cooptrack_core.models.cooptrack.interface import TrackMemory
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.training.data import TrainingData
from cooptrack_core.training.frozen import (
    FrozenDense,
    FrozenLift,
    dense_is_frozen,
    only_memory_trains,
)
from cooptrack_core.training.inputs import prepare
from cooptrack_core.training.streaming import TrainingMemory
from cooptrack_core.training.tracking import fuse, perceive

CPU = torch.device('cpu')


@pytest.fixture
def network() -> CoopTrack:
    network = model(config('lift')).eval()
    network.requires_grad_(False)
    return network


@pytest.fixture
def data(scenes: Path, network: CoopTrack) -> TrainingData:
    return TrainingData([scenes], network.config.image.width, network.config.range)


def test_what_trains_decides_what_is_kept(network: CoopTrack):
    assert dense_is_frozen(network) and not only_memory_trains(network)
    network.bev_encoder.memory.requires_grad_(True)
    network.bev_encoder.blocks.requires_grad_(True)
    assert only_memory_trains(network) and not dense_is_frozen(network)
    network.bev_encoder.lift.requires_grad_(True)
    assert not only_memory_trains(network)
    attention = model(config()).requires_grad_(False)
    attention.bev_encoder.requires_grad_(True)
    assert not only_memory_trains(attention)
    with pytest.raises(TypeError, match='lift'):
        attention.lifted(torch.zeros(1, 1, 3, 8, 8), torch.eye(4).expand(1, 1, 4, 4))


def test_kept_frames_give_the_maps_of_the_whole_encoder(network: CoopTrack, data: TrainingData):
    lift, dense = FrozenLift(network, data, CPU, 'off'), FrozenDense(network, data, CPU, 'off')
    ids = data.scenes[0].frame_ids('vehicle')[:3]
    memories: list[TrainingMemory | None] = [None]
    kept_memories: list[TrainingMemory | None] = [None]
    everything = [
        prepare(data.frame(0, 'vehicle', frame_id), network.config.image) for frame_id in ids
    ]
    for step, (frame_id, prepared) in enumerate(zip(ids, everything, strict=True)):
        frame, truth = prepared.inputs, prepared.truth
        with torch.no_grad():
            whole = perceive(network, [frame], memories).bev
            present = lift.present(0, 'vehicle', frame_id)
            kept = fuse(network, present, [frame], kept_memories).bev
        assert kept.shape == whole.shape
        torch.testing.assert_close(kept, whole, atol=2e-2, rtol=2e-2)  # half precision
        played = dense.features(0, 'vehicle', frame_id).bev
        torch.testing.assert_close(played, whole, atol=2e-2, rtol=2e-2)
        if step:  # the memory matters, so the comparison means something
            alone = network.perceive(frame.images[None], frame.agent_to_image[None].float()).bev
            assert (alone - whole).abs().max() > 0.1
        # Its image was let go, its pose and objects stay.
        left = data.frame(0, 'vehicle', frame_id, image=False)
        assert left.image.shape[0] == 0 and len(left.truth) == len(truth)
        assert data.frame(0, 'vehicle', frame_id).image.size
        memories = [_remember(network, frame, whole)]
        kept_memories = [_remember(network, frame, kept)]


def _remember(network, frame, bev) -> TrainingMemory:
    live = network.learnt.fresh(torch.zeros(0, dtype=torch.int64), 3, 4)
    memory = TrackMemory(
        bev=bev[0], live=live, stamp_ns=frame.stamp_ns, scene_id=frame.scene_id,
        world_T_agent=frame.world_T_agent, world_T_body=frame.world_T_body,
        can_bus=torch.zeros(18).double().numpy(), next_id=1,
    )  # fmt: skip
    return TrainingMemory(memory, torch.zeros(0))
