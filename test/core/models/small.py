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

"""A model small enough to run in milliseconds, and inputs for it."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from cooptrack_core.geometry import SE3, BevGrid, PerceptionRange
from cooptrack_core.models.cooptrack.config import (
    BackboneConfig,
    BevConfig,
    CooperationConfig,
    DecoderConfig,
    ImageConfig,
    ModelConfig,
    ReasoningConfig,
    TrackingConfig,
)
from cooptrack_core.models.cooptrack.interface import FrameInputs, RemoteInstances
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.models.cooptrack.quirks import OfficialQuirks

RANGE = PerceptionRange(-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
DIMS = 32


def config(
    encoder: Literal['bevformer', 'lift'] = 'bevformer',
    quirks: OfficialQuirks | None = None,
    **changes: object,
) -> ModelConfig:
    base = ModelConfig(
        name='small',
        image=ImageConfig(64, 96),
        range=RANGE,
        bev=BevConfig(
            encoder=encoder,
            grid=BevGrid(-51.2, -51.2, 51.2, 51.2, columns=10, rows=10),
            pillar_heights=(-1.8, -1.0, -0.2, 0.6),
            layers=2,
            heads=4,
            ffn=32,
            blocks=1,
        ),
        backbone=BackboneConfig('residual', (8, 8, 8, 16), (1, 1, 1, 1), frozen_norm=True),
        decoder=DecoderConfig(queries=20, layers=2, heads=4, ffn=32),
        reasoning=ReasoningConfig(history=4, layers=1, heads=4, ffn=32),
        cooperation=CooperationConfig(block=8, score_threshold=0.0),
        tracking=TrackingConfig(score_threshold=0.4),
        embed_dims=DIMS,
        dropout=0.0,
        quirks=quirks or OfficialQuirks(),
    )
    return dataclasses.replace(base, **changes)


def model(settings: ModelConfig | None = None, seed: int = 0, confident: float = 0.0) -> CoopTrack:
    """A seeded model; ``confident`` shifts all class logits."""
    torch.manual_seed(seed)
    network = CoopTrack(settings or config()).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() < 2:
                parameter.add_(0.05 * torch.randn_like(parameter))
        for head in network.decoder.class_heads:
            head[-1].bias.fill_(-0.5 + confident)
        if network.refine is not None:
            network.refine.to_logits[-1].bias.fill_(-1.2 + confident)
    return network


def projection() -> Tensor:
    k, e = np.eye(4), np.eye(4)
    k[:3, :3] = [[100, 0, 48], [0, 100, 32], [0, 0, 1]]
    e[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    return torch.from_numpy((k @ e).astype(np.float32))[None]


def frame(index: int = 0, pose: SE3 | None = None, scene: str = 's') -> FrameInputs:
    matrix = (pose or SE3.from_yaw(0.02 * index, (1.0 * index, 0.2 * index, 0.0))).matrix
    generator = torch.Generator().manual_seed(index)
    return FrameInputs(
        images=torch.randn(1, 3, 64, 96, generator=generator),
        agent_to_image=projection(),
        stamp_ns=index * 100_000_000,
        scene_id=scene,
        world_T_agent=matrix,
        world_T_body=matrix,
    )


def remote(
    count: int, seed: int = 0, agent_id: str = 'roadside', pose: SE3 | None = None
) -> RemoteInstances:
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    return RemoteInstances(
        agent_id=agent_id,
        query_feats=noise(count, DIMS),
        query_embeds=noise(count, DIMS),
        motion_feats=noise(count, DIMS),
        ref_pts=torch.rand(count, 3, generator=generator) * 0.4 + 0.3,
        boxes=noise(count, 10),
        range=RANGE,
        ego_T_remote=(pose or SE3.from_yaw(0.4, (8.0, 3.0, 0.2))).matrix,
    )
