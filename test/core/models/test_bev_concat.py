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

"""Baseline: BEV maps of other agents, fused into the ego's."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import DIMS, config, frame, model, remote

from cooptrack_core.geometry import SE3, BevGrid
from cooptrack_core.models.bev_encoder.motion import resample
from cooptrack_core.models.cooptrack.config import CooperationConfig, ModelConfig, TrackingConfig
from cooptrack_core.models.cooptrack.interface import RemoteBev, RemoteInstances
from cooptrack_core.models.cooptrack.model import CoopTrack

GRID = config().bev.grid


def settings_of() -> ModelConfig:
    return config(
        cooperation=CooperationConfig(fusion='bev'),
        motion=None,
        reasoning=None,
        tracking=TrackingConfig(carry=False),
    )


def network() -> CoopTrack:
    made = model(settings_of(), confident=1.0)
    # As after training.
    torch.nn.init.normal_(made.bev_fusion.convolutions[-1].weight, std=0.1)
    return made


def message(seed: int = 0, agent_id: str = 'roadside', pose: SE3 | None = None) -> RemoteInstances:
    values = torch.randn(GRID.rows * GRID.columns, DIMS, generator=torch.manual_seed(seed))
    sent = remote(3, agent_id=agent_id, pose=pose)
    return dataclasses.replace(sent, bev=RemoteBev(values, GRID))


def test_untrained_fusion_leaves_the_single_agent_as_it_is() -> None:
    torch.manual_seed(0)
    untrained = CoopTrack(settings_of()).eval()
    with torch.no_grad():
        alone = untrained(frame(0))[0]
        fused = untrained(frame(0), None, [message()])[0]
    torch.testing.assert_close(alone.queries.boxes, fused.queries.boxes)


def test_messages_without_a_map_change_nothing_and_maps_do() -> None:
    fusing = network()
    with torch.no_grad():
        alone = fusing(frame(0))[0].queries.boxes
        assert torch.equal(fusing(frame(0), None, [remote(3)])[0].queries.boxes, alone)
        assert not torch.allclose(fusing(frame(0), None, [message()])[0].queries.boxes, alone)


def test_a_sender_out_of_reach_looks_like_an_empty_map() -> None:
    fusing = network()
    far = message(pose=SE3.from_yaw(0.0, (500.0, 0.0, 0.0)))
    empty = dataclasses.replace(far, bev=RemoteBev(torch.zeros_like(far.bev.values), GRID))
    with torch.no_grad():
        boxes = [fusing(frame(0), None, [m])[0].queries.boxes for m in (far, empty)]
    assert torch.equal(*boxes)


def test_the_order_of_messages_does_not_matter_and_nothing_is_carried_but_the_own_map() -> None:
    fusing = network()
    remotes = [message(1, 'a'), message(2, 'b', SE3.from_yaw(0.5, (4.0, 2.0, 0.0)))]
    with torch.no_grad():
        first, memory = fusing(frame(0), None, remotes)
        second, _ = fusing(frame(0), None, remotes[::-1])
        _, alone = fusing(frame(0))
        later = fusing(frame(1), memory)[0]
    assert torch.equal(first.queries.boxes, second.queries.boxes)
    assert torch.equal(memory.bev, alone.bev)
    assert (later.start.learnt >= 0).all()


@settings(deadline=None, max_examples=25)
@given(st.floats(-3.1, 3.1), st.floats(-15, 15), st.floats(-15, 15), st.integers(0, 99))
def test_a_bump_of_the_sender_lands_where_it_stands_in_the_world(yaw, x, y, seed) -> None:
    """A linear map is resampled exactly, so its value tells the place in the sender's frame."""
    source = BevGrid(-40.0, -40.0, 40.0, 40.0, columns=16, rows=20)
    target = BevGrid(-6.0, -4.0, 6.0, 8.0, columns=6, rows=5)
    cells = torch.from_numpy(source.cell_centers()).flatten(0, 1)
    target_SE3_source = SE3.from_yaw(yaw, (x, y, 0.0))
    source_SE3_target = target_SE3_source.inverse()
    matrix = torch.from_numpy(source_SE3_target.matrix)[None]
    found = resample(cells[None], source, target, matrix)[0].numpy()
    here = target.cell_centers().reshape(-1, 2)
    there = source_SE3_target.transform_points(np.c_[here, np.zeros(len(here))])[:, :2]
    inside = (np.abs(there) < [37.5, 38.0]).all(1)  # half a cell from the edge
    np.testing.assert_allclose(found[inside], there[inside], atol=1e-6)


def test_every_part_gets_a_gradient() -> None:
    fusing = network().train()
    outputs = fusing.step(frame(0), None, [message()])
    outputs.queries.boxes.sum().backward()
    for name, parameter in fusing.bev_fusion.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_it_detects_in_single_frames_only() -> None:
    with pytest.raises(ValueError, match='single frames'):
        config(cooperation=CooperationConfig(fusion='bev'))
