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

"""One streaming training step: a frame, its losses, and what lives on (reference 4.3 to 4.5)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cooptrack_core.models.cooptrack.interface import (
    DenseFeatures,
    FrameInputs,
    FrameOutputs,
    RemoteInstances,
    TrackMemory,
)
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.models.cooptrack.model import Matching as Pairing
from cooptrack_core.training.carry import carried_rows, displaced, refresh_iou, well_placed
from cooptrack_core.training.losses import (
    Share,
    association_loss,
    matched_losses,
    memory_bank_losses,
)
from cooptrack_core.training.matching import (
    Matching,
    association_labels,
    match_ids,
    match_tracks,
)
from cooptrack_core.training.options import Streaming
from cooptrack_core.training.targets import GroundTruth


@dataclass(frozen=True, eq=False)
class TrainingMemory:
    """The model's memory, whose live ids are ground-truth ids, and the overlap of each track.

    Attributes:
        model: Memory of the model; ``live`` was chosen by the trainer.
        iou: (live,) overlap of each carried track with its object when last refreshed.
    """

    model: TrackMemory
    iou: Tensor


@dataclass(frozen=True, eq=False)
class FrameLosses:
    """Losses of one frame, before averaging over the batch.

    Attributes:
        shares: Named sums with their counts.
        scalars: Named losses that are means already (association).
    """

    shares: dict[str, Share]
    scalars: dict[str, Tensor] = field(default_factory=dict)

    def total(self) -> Tensor:
        """Sum of all losses of this frame alone, as the official batch of one."""
        parts = [share.mean() for share in self.shares.values()] + list(self.scalars.values())
        return torch.stack(parts).sum()


def batch_losses(frames: Sequence[FrameLosses]) -> dict[str, Tensor]:
    """Average the losses of several frames: shares by their counts, scalars evenly."""
    losses: dict[str, Tensor] = {}
    for name in dict.fromkeys(n for f in frames for n in f.shares):
        present = [f.shares[name] for f in frames if name in f.shares]
        total = torch.stack([s.total for s in present]).sum()
        losses[name] = Share(total, sum(s.count for s in present)).mean()
    for name in dict.fromkeys(n for f in frames for n in f.scalars):
        present_scalars = [f.scalars[name] for f in frames if name in f.scalars]
        losses[name] = torch.stack(present_scalars).mean()
    return losses


def agent_step(
    model: CoopTrack,
    frame: FrameInputs,
    memory: TrainingMemory | None,
    truth: GroundTruth,
    plan: Streaming,
    generator: torch.Generator | None = None,
    *,
    dense: DenseFeatures | None = None,
    quality: float = 0.0,
) -> tuple[FrameLosses, TrainingMemory, FrameOutputs]:
    """Train one agent on one frame: every decoder layer and the reasoned output.

    Args:
        model: The model in training mode.
        frame: Input.
        memory: Of the previous frame of the clip, None at its start.
        truth: What the agent should find.
        plan: Augmentation of tracks.
        generator: Randomness of it.
        dense: Features of the frame when they are computed already.
        quality: See ``StageRecipe.quality_distance``.

    Whether a track lives on is judged by the refined boxes, which the next frame starts from; as
    released (``stale_overlap``) by those of the last matched decoder layer.
    """
    stale = model.config.quirks.stale_overlap
    outputs = model.step(frame, memory.model if memory else None, dense=dense)
    start = outputs.start.ids
    shares, matching = _decoder_losses(outputs, start, truth, quality)
    queries = outputs.queries
    ids = _in_output_order(matching.ids, outputs.decoder_rows)
    final = match_ids(ids, truth)
    shares['ref_loss_cls'], shares['ref_loss_box'] = memory_bank_losses(
        queries.logits, queries.boxes, final, truth, quality
    )
    judged = outputs.decoder.boxes[-1, 0] if stale else queries.boxes
    # Without remote instances the output order is the decoder's.
    new = dataclasses.replace(final, new=matching.new)
    kept = _carry(model, frame, outputs, memory, new, judged, truth, plan, generator)
    return FrameLosses(shares), kept, outputs


def cooperative_step(
    model: CoopTrack,
    frame: FrameInputs,
    memory: TrainingMemory | None,
    remotes: Sequence[RemoteInstances],
    truth: GroundTruth,
    plan: Streaming,
    generator: torch.Generator | None = None,
    *,
    own_truth: GroundTruth | None = None,
    dense: DenseFeatures | None = None,
    quality: float = 0.0,
) -> tuple[FrameLosses, TrainingMemory, FrameOutputs]:
    """Train the cooperative vehicle on one frame: fused output, memory bank, association.

    Args:
        model: The model in training mode.
        frame: The vehicle's input.
        memory: Of the previous frame of the clip, None at its start.
        remotes: Messages of the frame.
        truth: Cooperative objects inside the vehicle's range.
        plan: Which losses, which alpha, augmentation of tracks.
        generator: Randomness.
        own_truth: What the vehicle sees itself; supervises the decoder when
            ``plan.decoder_losses`` is set, together with the objects of carried tracks.
        dense: Features of the frame when they are computed already.
        quality: See ``StageRecipe.quality_distance``.
    """
    quirks = model.config.quirks
    rule = plan.fusion_pairs == 'rule' or quirks.rule_pairs_in_training
    pairing: Pairing = 'supervised' if rule else 'learned'
    before = memory.model if memory else None
    outputs = model.step(frame, before, remotes, pairing, dense)
    queries = outputs.queries
    shares: dict[str, Share] = {}
    start = outputs.start.ids
    if plan.decoder_losses and not quirks.cooperative_decoder_unsupervised:
        # A decoder that gets the instances of others can know of what they see.
        alone = model.query_fusion is None
        own = _visible_or_carried(truth, own_truth, start) if alone else truth
        shares, _ = _decoder_losses(outputs, start, own, quality)
    ids = _in_output_order(start, outputs.decoder_rows)
    matching = match_tracks(queries.logits, queries.boxes, ids, truth)
    fused = matched_losses(queries.logits, queries.boxes, matching, truth, quality)
    shares['fused_frame_0_loss_cls_0'], shares['fused_frame_0_loss_bbox_0'] = fused
    final = match_ids(matching.ids, truth)
    bank = memory_bank_losses(queries.logits, queries.boxes, final, truth, quality)
    shares['ref_loss_cls'], shares['ref_loss_box'] = bank
    alpha = -1.0 if quirks.association_alpha_off else plan.association_alpha
    association = _association(outputs, truth, alpha)
    kept = _carry(model, frame, outputs, memory, matching, queries.boxes, truth, plan, generator)
    return FrameLosses(shares, {'asso_loss': association}), kept, outputs


def _decoder_losses(
    outputs: FrameOutputs, start: Tensor, truth: GroundTruth, quality: float
) -> tuple[dict[str, Share], Matching]:
    """Losses of all decoder layers and the matching of the last one.

    Every layer is matched with the identities at the start of the frame.
    """
    shares: dict[str, Share] = {}
    matching: Matching | None = None
    layers = zip(outputs.decoder.logits[:, 0], outputs.decoder.boxes[:, 0], strict=True)
    for layer, (logits, boxes) in enumerate(layers):
        logits, boxes = logits.float(), boxes.float()
        matching = match_tracks(logits, boxes, start, truth)
        first, second = matched_losses(logits, boxes, matching, truth, quality)
        shares[f'frame_0_loss_cls_{layer}'] = first
        shares[f'frame_0_loss_bbox_{layer}'] = second
    if matching is None:
        raise ValueError('the decoder has no layers')
    return shares, matching


def _visible_or_carried(
    truth: GroundTruth, own: GroundTruth | None, carried: Tensor
) -> GroundTruth:
    """Objects that the decoder can know of: seen by the vehicle, or followed already."""
    if own is None:
        return truth
    known = torch.isin(truth.ids, torch.cat([own.ids, carried[carried >= 0]]))
    return truth.select(known)


def _in_output_order(ids: Tensor, decoder_rows: Tensor) -> Tensor:
    """Ids per output query; an instance that came from a remote agent alone has none."""
    return torch.where(decoder_rows >= 0, ids[decoder_rows.clamp(min=0)], -1)


def _association(outputs: FrameOutputs, truth: GroundTruth, alpha: float) -> Tensor:
    """Association loss over all remote agents of the frame."""
    losses = [outputs.queries.logits.sum() * 0.0]
    rows_xy = outputs.decoder.boxes[-1, 0, :, :2].float()
    for remote in outputs.remotes:
        remote_xy = remote.boxes[:, :2].float()
        if remote.affinity is not None:
            labels = association_labels(rows_xy[remote.candidates], remote_xy, truth)
            losses.append(association_loss(remote.affinity.float(), labels, alpha=alpha))
        new = torch.ones(len(remote_xy), dtype=torch.bool, device=remote_xy.device)
        new[remote.remote_rows] = False
        rows_xy = torch.cat([rows_xy, remote_xy[new]])  # candidates of the next remote
    return torch.stack(losses).sum()


def _carry(
    model: CoopTrack,
    frame: FrameInputs,
    outputs: FrameOutputs,
    before: TrainingMemory | None,
    matching: Matching,
    judged: Tensor,
    truth: GroundTruth,
    plan: Streaming,
    generator: torch.Generator | None,
) -> TrainingMemory:
    """Choose the live queries of the next frame and cut the graph."""
    stale = model.config.quirks.stale_overlap
    iou = torch.zeros(len(outputs.start), device=judged.device)
    carried = outputs.start.tracked
    if before is not None and int(carried.sum()) == len(before.iou):
        iou[carried] = before.iou
    own = outputs.decoder_rows >= 0
    iou = torch.where(own, iou[outputs.decoder_rows.clamp(min=0)], torch.zeros_like(iou[:1]))
    iou = refresh_iou(iou, judged.detach().float(), matching, truth, stale=stale)
    queries = outputs.queries
    placed = well_placed(iou, judged.detach().float(), matching, truth, plan)
    rows = carried_rows(matching, placed, queries.scores.detach(), plan, generator)
    live = queries.replace(ids=matching.ids, tracked=torch.ones_like(queries.tracked))
    live = displaced(live.select(rows).detach(), model.config.range, plan, generator)
    memory = model.remember(frame, outputs, live, next_id=1)
    return TrainingMemory(memory.detach(), iou[rows])
