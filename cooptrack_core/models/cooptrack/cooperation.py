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

"""Cooperation: align, associate and aggregate the instances of any number of remote agents.

Source: reference sections 2.10 to 2.12.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from cooptrack_core.models.cooptrack import box_code, gba
from cooptrack_core.models.cooptrack.aggregation import Aggregation, final_order
from cooptrack_core.models.cooptrack.caa import CrossAgentAlignment, moved_instances
from cooptrack_core.models.cooptrack.config import ModelConfig, PlacementConfig
from cooptrack_core.models.cooptrack.interface import (
    QuerySet,
    RemoteAlignment,
    RemoteInstances,
)
from cooptrack_core.models.cooptrack.placement import (
    meet,
    remote_covariance,
    sight_covariance,
    within_gate,
)
from cooptrack_core.models.cooptrack.pose_fit import fit_pose, shifted
from cooptrack_core.structures import Role

# supervised: pairs by rule, but the affinity is computed for its loss (training as released).
Matching = Literal['learned', 'rule', 'supervised']


class Cooperation(nn.Module):
    """CAA, GBA and aggregation of one model."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.cooperation is not None  # noqa: S101 - for the type checker
        dims, self.config, self.quirks = config.embed_dims, config.cooperation, config.quirks
        self.range = config.range
        self.align = CrossAgentAlignment(
            dims, config.cooperation, config.range, config.quirks, config.parts
        )
        self.associate = gba.GraphAssociation(dims, config.quirks.unscaled_affinity)
        self.aggregate = Aggregation(dims)
        for name, parameter in self.associate.named_parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
            elif name.endswith('bias'):
                nn.init.zeros_(parameter)

    def forward(
        self, queries: QuerySet, remotes: Sequence[RemoteInstances], matching: Matching
    ) -> tuple[QuerySet, tuple[RemoteAlignment, ...], Tensor]:
        """Fuse all remotes, one after another.

        Returns:
            The fused queries, one alignment per remote, and the decoder row of each query.
        """
        own, alignments = len(queries), []
        points = box_code.denormalise(queries.refs, self.range)
        sure = sight_covariance(points[:, :2], self.placement.vehicle)
        for bit, remote in enumerate(sorted(remotes, key=lambda r: r.agent_id)):
            remote = self.settled(queries, remote, sure)
            alignment = self.match(queries, self.align(remote), matching, sure)
            places, sure = self.places(queries, alignment, sure)
            queries = self.aggregate.fuse(queries, alignment, bit, places)
            alignments.append(alignment)
        order = final_order(queries, own, self.quirks.complement_drops_tracks)
        fused = self.aggregate.cross(queries.select(order))
        return fused, tuple(alignments), torch.where(order < own, order, -1)

    @property
    def placement(self) -> PlacementConfig:
        """Spreads of the cameras."""
        return self.config.placement or PlacementConfig()

    def settled(self, queries: QuerySet, remote: RemoteInstances, sure: Tensor) -> RemoteInstances:
        """The message with the sender's pose fitted onto what the receiver knows.

        Args:
            queries: (n).
            remote: The message.
            sure: (n, 2, 2) covariance of every query's place.
        """
        spreads = self.config.placement
        if spreads is None or not spreads.fit_pose or not remote.pose_covariance.any():
            return remote
        if remote.role is Role.ROADSIDE:
            return remote  # it stands still: its messages were averaged, which tells more
        known = queries.tracked | (queries.remote_bits > 0)
        rows = torch.nonzero(known | (queries.scores > self.config.score_threshold))[:, 0]
        own = box_code.denormalise(queries.refs[rows], self.range)[:, :2]
        steady = spreads.track**2 * torch.eye(2).to(sure)
        own_cov = torch.where(queries.tracked[rows, None, None], steady, sure[rows])
        theirs = moved_instances(remote, own, self.range, None).points[:, :2]
        alone = dataclasses.replace(remote, pose_covariance=np.zeros((3, 3)))
        fit = fit_pose(
            own,
            own_cov,
            theirs,
            remote_covariance(theirs, alone, spreads),
            torch.from_numpy(remote.pose_covariance),
            torch.from_numpy(remote.ego_T_remote[:2, 3]),
        )
        return dataclasses.replace(
            remote,
            ego_T_remote=shifted(remote.ego_T_remote, fit.shift.numpy()),
            pose_covariance=fit.covariance.numpy(),
        )

    def places(
        self, queries: QuerySet, remote: RemoteAlignment, sure: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Where the pairs of a remote meet, and the covariances after it.

        Args:
            queries: (n).
            remote: Aligned instances with their pairs.
            sure: (n, 2, 2) covariance of every query's place.

        Returns:
            (p, 3) normalised reference points, and (n + unmatched, 2, 2).
        """
        rows, columns = remote.ego_rows, remote.remote_rows
        own, theirs = queries.refs[rows], remote.refs[columns]
        weight = self.config.remote_weight
        if self.config.placement is not None:
            met, after = meet(
                box_code.denormalise(own, self.range),
                box_code.denormalise(theirs, self.range),
                sure[rows],
                remote.covariance[columns],
            )
            places = box_code.normalise(met, self.range)
            sure = sure.index_copy(0, rows, after.to(sure))
        elif weight == 0.5:  # as released; the general form rounds otherwise
            places = (own + theirs) / 2
        else:
            places = own + weight * (theirs - own)
        alone = torch.ones(len(remote.refs), dtype=torch.bool, device=rows.device)
        alone[columns] = False
        return places, torch.cat([sure, remote.covariance[alone]])

    def match(
        self, queries: QuerySet, remote: RemoteAlignment, matching: Matching, sure: Tensor
    ) -> RemoteAlignment:
        """Find the pairs, among candidate queries only (see CooperationConfig).

        Args:
            queries: (n).
            remote: Aligned instances.
            matching: How.
            sure: (n, 2, 2) covariance of every query's place.
        """
        c, q = self.config, self.quirks
        if matching == 'supervised':
            pairs = self.match(queries, remote, 'rule', sure)
            judged = self.match(queries, remote, 'learned', sure)
            return dataclasses.replace(
                judged, ego_rows=pairs.ego_rows, remote_rows=pairs.remote_rows
            )
        rule = matching == 'rule'
        if rule:
            masked = not q.rule_matching_ignores_scores
        else:
            masked = self.training or not q.no_score_mask_at_inference
        candidates = torch.arange(len(queries), device=queries.refs.device)
        if masked:
            likely = queries.scores > c.score_threshold
            if not (self.training and q.no_score_mask_at_inference):
                # Tracks and instances added by an earlier remote are objects whatever they score.
                likely = likely | queries.tracked | (queries.remote_bits > 0)
            candidates = candidates[likely]
        chosen = queries.select(candidates)
        points = box_code.denormalise(chosen.refs, self.range)
        others = box_code.denormalise(remote.refs, self.range)
        affinity = None if rule else self.associate(chosen, remote)
        if affinity is None:
            ego, other = gba.match_by_distance(points, others, c.rule_distance)
        else:
            near = torch.ones_like(affinity, dtype=torch.bool)
            if c.max_distance is not None and not q.accept_all_pairs:
                near = torch.cdist(points.detach(), others.detach()) <= c.max_distance
            gate = self.placement.gate
            if c.placement is not None and gate is not None:
                near = near & within_gate(
                    points[:, :2], others[:, :2], sure[candidates], remote.covariance, gate
                )
            threshold = 0.0 if q.accept_all_pairs else c.affinity_threshold
            ego, other = gba.match_by_affinity(affinity, threshold, near)
        return dataclasses.replace(
            remote,
            affinity=affinity,
            candidates=candidates,
            ego_rows=candidates[ego],
            remote_rows=other,
        )
