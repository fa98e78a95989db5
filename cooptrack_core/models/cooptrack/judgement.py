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

"""Scores after refinement: what the senders said, and what rests on whom.

Not part of the official code, where the refine heads have the only word.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cooptrack_core.models.bev_encoder.projection import project
from cooptrack_core.models.cooptrack import box_code
from cooptrack_core.models.cooptrack.config import CooperationConfig, ModelConfig
from cooptrack_core.models.cooptrack.interface import QuerySet, RemoteInstances, source_of


def judged(
    queries: QuerySet,
    fused: QuerySet,
    rows: Tensor,
    remotes: Sequence[RemoteInstances],
    agent_to_image: Tensor,
    config: ModelConfig,
    training: bool,
) -> QuerySet:
    """All that this file does to the scores of a frame.

    Args:
        queries: (n) refined.
        fused: The same before refinement.
        rows: (n,) decoder row of each, -1 for none.
        remotes: Messages of the frame.
        agent_to_image: (K, 4, 4) of the ego's images.
        config: Of the model; one without cooperation is left alone.
        training: The senders' word does not count while the refine heads learn to judge.
    """
    cooperation = config.cooperation
    if cooperation is None:
        return queries
    queries = agreed(queries, fused, remotes, 0.0 if training else cooperation.sender_word)
    queries = comparable(queries, rows, cooperation)
    if not cooperation.unseen_bias or not remotes:
        return queries
    return doubted(queries, in_view(queries, agent_to_image, config), cooperation.unseen_bias)


def in_view(queries: QuerySet, agent_to_image: Tensor, config: ModelConfig) -> Tensor:
    """Which of n queries are inside any of K images (K, 4, 4), (n,) bool."""
    points = box_code.denormalise(queries.refs.detach(), config.range)[:, None]
    size = (config.image.height, config.image.width)
    inside = project(points, agent_to_image[None], size, config.quirks.pixels_from_corner)[1]
    return inside[0, :, :, 0].any(0)


def agreed(
    queries: QuerySet, fused: QuerySet, remotes: Sequence[RemoteInstances], share: float
) -> QuerySet:
    """Class logits between the refine heads' and the senders'.

    Args:
        queries: (n) refined.
        fused: The same before refinement; where a remote took part, its logits are the sender's.
        remotes: Messages of the frame; one without logits leaves all scores as they are.
        share: Of the senders, see ``CooperationConfig.sender_word``.
    """
    if not share or any(remote.logits is None for remote in remotes):
        return queries
    heard = (queries.remote_bits > 0)[:, None]
    mixed = torch.lerp(queries.logits, fused.logits.to(queries.logits), share)
    return _scored(queries, torch.where(heard, mixed, queries.logits))


def comparable(queries: QuerySet, rows: Tensor, config: CooperationConfig) -> QuerySet:
    """Scores of the ego, of remotes and of both made comparable.

    Args:
        queries: (n).
        rows: (n,) decoder row of each, -1 for none.
        config: ``score_bias``.
    """
    if not any(config.score_bias):
        return queries
    bias = queries.logits.new_tensor((0.0, *config.score_bias))
    return _scored(queries, queries.logits + bias[source_of(queries, rows)][:, None])


def doubted(queries: QuerySet, in_view: Tensor, bias: float) -> QuerySet:
    """Scores of what nobody sees at this frame.

    Args:
        queries: (n) after fusion with the messages of this frame.
        in_view: (n,) bool, inside an image of the ego.
        bias: ``CooperationConfig.unseen_bias``.
    """
    unseen = ~in_view & (queries.remote_bits == 0)
    return _scored(queries, queries.logits + bias * unseen[:, None])


def _scored(queries: QuerySet, logits: Tensor) -> QuerySet:
    return queries.replace(logits=logits, scores=logits.detach().sigmoid().max(-1).values)
