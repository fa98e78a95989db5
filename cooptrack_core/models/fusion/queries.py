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

"""Baseline: queries of other agents join the ego's before the decoder, matched by distance.

After UniV2X's agent fusion (Yu et al., AAAI 2025): both halves of a remote query, content and
position, pass a linear layer together with the rotation between the agents; matched queries add
the content, all others are appended as new queries. The decoder and all that follows it then run
on both. Only content and position are used, no motion features.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from cooptrack_core.models.cooptrack import box_code, gba
from cooptrack_core.models.cooptrack.aggregation import as_queries
from cooptrack_core.models.cooptrack.caa import moved_instances
from cooptrack_core.models.cooptrack.config import ModelConfig, PlacementConfig
from cooptrack_core.models.cooptrack.interface import QuerySet, RemoteAlignment, RemoteInstances
from cooptrack_core.models.cooptrack.placement import remote_covariance

Embed = Callable[[Tensor], Tensor]


class QueryFusion(nn.Module):
    """Alignment, matching and fusion of queries.

    It starts as if the sender's features were the ego's own, as they are when one agent model
    serves both.

    Args:
        config: Of the model; ``cooperation`` must be set.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.cooperation is not None  # noqa: S101 - for the type checker
        dims, self.config, self.range = config.embed_dims, config.cooperation, config.range
        self.align_feats = nn.Linear(dims + 9, dims)
        self.align_embeds = nn.Linear(dims + 9, dims)
        self.fuse_feats = nn.Linear(dims, dims)
        for layer in (self.align_feats, self.align_embeds, self.fuse_feats):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.align_feats.weight[:, :dims] = torch.eye(dims)
            self.fuse_feats.weight.copy_(torch.eye(dims))

    def forward(
        self, queries: QuerySet, remotes: Sequence[RemoteInstances], embed: Embed
    ) -> tuple[QuerySet, tuple[RemoteAlignment, ...], Tensor]:
        """Fuse all remotes, one after another.

        Args:
            queries: (n) as they would enter the decoder without other agents.
            remotes: Messages of the frame.
            embed: Positional embedding of normalised reference points.

        Returns:
            The queries (n') for the decoder, the appended ones last; one alignment per remote; and
            (n',) the row of each query among the ego's own, -1 for appended ones.
        """
        own, alignments = len(queries), []
        for bit, remote in enumerate(sorted(remotes, key=lambda r: r.agent_id)):
            alignment = self.match(queries, self.align(remote, embed))
            queries = self.fuse(queries, alignment, bit, embed)
            alignments.append(alignment)
        row = torch.arange(len(queries), device=queries.refs.device)
        return queries, tuple(alignments), torch.where(row < own, row, -1)

    def align(self, remote: RemoteInstances, embed: Embed) -> RemoteAlignment:
        """Express a message as queries of the receiver; pairs are still empty.

        UniV2X leaves it to the layer to move the positional half. Here the embedding of the moved
        reference point is added, as carried tracks have it, which can only help.
        """
        like = self.fuse_feats.weight
        moved = moved_instances(remote, like, self.range, self.config.ego_footprint)
        believed = remote.ego_T_remote if remote.caa_T_remote is None else remote.caa_T_remote
        turn = torch.tensor(believed[:3, :3].reshape(1, 9)).to(like).expand(len(moved.points), 9)
        refs = box_code.normalise(moved.points, self.range)
        none = torch.zeros(0, dtype=torch.int64, device=like.device)
        placement = self.config.placement or PlacementConfig()
        return RemoteAlignment(
            agent_id=remote.agent_id,
            kept=moved.kept,
            feats=self.align_feats(torch.cat([moved.feats, turn], -1)),
            embeds=embed(refs) + self.align_embeds(torch.cat([moved.embeds, turn], -1)),
            motion=moved.motion,
            refs=refs,
            boxes=moved.boxes,
            logits=None if remote.logits is None else remote.logits.to(like)[moved.kept],
            covariance=remote_covariance(moved.points[:, :2], remote, placement),
            affinity=None,
            candidates=none,
            ego_rows=none,
            remote_rows=none,
        )

    def match(self, queries: QuerySet, remote: RemoteAlignment) -> RemoteAlignment:
        """Find the nearest within ``rule_distance``.

        As in UniV2X, queries below the score threshold are no candidates. Learnt queries have no
        score before the decoder, so they are candidates under a threshold below 0 only.
        """
        likely = queries.tracked | (queries.remote_bits > 0)
        candidates = torch.nonzero(likely | (queries.scores > self.config.score_threshold))[:, 0]
        rows, columns = gba.match_by_distance(
            box_code.denormalise(queries.refs[candidates], self.range),
            box_code.denormalise(remote.refs, self.range),
            self.config.rule_distance,
        )
        return dataclasses.replace(
            remote, candidates=candidates, ego_rows=candidates[rows], remote_rows=columns
        )

    def fuse(self, queries: QuerySet, remote: RemoteAlignment, bit: int, embed: Embed) -> QuerySet:
        """Add the features of the pairs, move their queries, and append the other instances.

        Args:
            queries: (n).
            remote: Aligned instances with their pairs.
            bit: Position of this remote in ``remote_bits``.
            embed: Positional embedding.

        Returns:
            Queries (n + unmatched).
        """
        rows, columns = remote.ego_rows, remote.remote_rows
        own, theirs = queries.refs[rows], remote.refs[columns]
        met = own + self.config.remote_weight * (theirs - own)
        feats = queries.feats[rows] + self.fuse_feats(remote.feats[columns])

        def put(all_rows: Tensor, some: Tensor) -> Tensor:
            return all_rows.index_copy(0, rows, some.to(all_rows))

        fused = queries.replace(
            feats=put(queries.feats, feats),
            refs=put(queries.refs, met),
            embeds=put(queries.embeds, embed(met)),
            remote_bits=put(queries.remote_bits, queries.remote_bits[rows] | (1 << bit)),
        )
        alone = torch.ones(len(remote.refs), dtype=torch.bool, device=rows.device)
        alone[columns] = False
        added = as_queries(remote, alone, queries, bit)
        # They enter the decoder, whose output begins their history.
        added = added.replace(hist_padding=torch.ones_like(added.hist_padding))
        return QuerySet.concatenate([fused, added])
