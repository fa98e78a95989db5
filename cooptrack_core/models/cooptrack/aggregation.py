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

"""Aggregation: matched pairs become one query, unmatched remote instances become queries.

Source: reference section 2.12.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cooptrack_core.models.cooptrack.gba import two_layers
from cooptrack_core.models.cooptrack.interface import QuerySet, RemoteAlignment


class Aggregation(nn.Module):
    """Fusion of matched pairs and the final cross-domain layers."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.fuse_feats = two_layers(2 * dims, dims)
        self.fuse_motion = two_layers(2 * dims, dims)
        self.fuse_embeds = two_layers(2 * dims, dims)
        self.cross_feats = two_layers(2 * dims, dims)
        self.cross_motion = two_layers(2 * dims, dims)

    def fuse(
        self, queries: QuerySet, remote: RemoteAlignment, bit: int, places: Tensor
    ) -> QuerySet:
        """Fuse the pairs in place of their queries and append the unmatched remote instances.

        Args:
            queries: (n) queries.
            remote: Aligned instances (m) with their pairs.
            bit: Position of this remote in ``remote_bits``.
            places: (p, 3) normalised reference points of the pairs.

        Returns:
            Queries (n + unmatched).
        """
        rows, columns = remote.ego_rows, remote.remote_rows

        def pair(mlp: nn.Module, own: Tensor, theirs: Tensor) -> Tensor:
            both = torch.cat([own[rows], theirs[columns]], -1)
            return own.index_copy(0, rows, mlp(both).to(own.dtype))

        bits = queries.remote_bits.index_copy(0, rows, queries.remote_bits[rows] | (1 << bit))
        fused = queries.replace(
            feats=pair(self.fuse_feats, queries.feats, remote.feats),
            motion=pair(self.fuse_motion, queries.motion, remote.motion),
            embeds=pair(self.fuse_embeds, queries.embeds, remote.embeds),
            refs=queries.refs.index_copy(0, rows, places.to(queries.refs)),
            remote_bits=bits,
        )
        if remote.logits is not None:  # the sender's word, until the refine heads have theirs
            said = fused.logits.index_copy(0, rows, remote.logits[columns].to(fused.logits))
            fused = fused.replace(logits=said)
        alone = torch.ones(len(remote.refs), dtype=torch.bool, device=rows.device)
        alone[columns] = False
        return QuerySet.concatenate([fused, as_queries(remote, alone, queries, bit)])

    def cross(self, queries: QuerySet) -> QuerySet:
        """Bring all queries, fused or not, into one domain for the refine heads."""
        return queries.replace(
            feats=self.cross_feats(torch.cat([queries.feats, queries.embeds], -1)),
            motion=self.cross_motion(torch.cat([queries.motion, queries.embeds], -1)),
        )


def as_queries(remote: RemoteAlignment, mask: Tensor, like: QuerySet, bit: int) -> QuerySet:
    """Remote instances under ``mask`` as new queries with one history slot."""
    feats, motion, refs = remote.feats[mask], remote.motion[mask], remote.refs[mask]
    count, (_, slots, dims) = len(refs), like.hist_feats.shape
    number = like.ids.new_zeros(count)
    padding = torch.ones(count, slots, dtype=torch.bool, device=refs.device)
    padding[:, -1] = False
    logits = refs.new_zeros(count, like.logits.shape[1])
    if remote.logits is not None:
        logits = remote.logits[mask].to(logits)
    older = feats.new_zeros(count, slots - 1, dims)
    return QuerySet(
        feats=feats,
        embeds=remote.embeds[mask],
        motion=motion,
        refs=refs,
        boxes=remote.boxes[mask],
        logits=logits,
        scores=refs.new_zeros(count),
        ids=number - 1,
        missed=number,
        tracked=number > 0,
        learnt=number - 1,
        hist_feats=torch.cat([older, feats[:, None]], 1),
        hist_motion=torch.cat([older, motion[:, None]], 1),
        hist_padding=padding,
        remote_bits=number + (1 << bit),
        best=refs.new_zeros(count),
    )


def final_order(queries: QuerySet, own: int, drops_tracks: bool) -> Tensor:
    """Rows to keep, in the official order, so that their number stays that of the decoder.

    Fused queries first (by row), then unmatched remote instances, then the other queries by
    decoder score; those of lowest score make room for what was added.

    Args:
        queries: ``own`` decoder queries, then appended remote instances.
        own: Number of decoder queries.
        drops_tracks: Official quirk: carried tracks may have to make room too.

    Returns:
        (n',) int64 row indices.
    """
    row = torch.arange(len(queries), device=queries.refs.device)
    from_remote = queries.remote_bits[:own] > 0
    fused, rest, added = row[:own][from_remote], row[:own][~from_remote], row[own:]
    scores = queries.scores[rest]
    room = max(own - len(fused) - len(added), 0)
    if not drops_tracks:
        carried = queries.tracked[rest]
        room = max(room, int(carried.sum()))
        chosen = (scores + 2.0 * carried).topk(room).indices  # a score is below 1
        rest, scores = rest[chosen], scores[chosen]
    best = scores.topk(room).indices
    return torch.cat([fused, added, rest[best]])
