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

"""What goes into the model, what comes out, and what is remembered in between.

``outputs, memory = model(frame, memory, remotes)`` is the whole contract. The model itself is
stateless: start with ``memory=None``, hand the returned memory to the next call. Everything here
is one agent's view of one instant, so there is no batch axis; only :class:`DenseFeatures` and
:class:`DecoderOutputs` keep one, because detection training batches independent frames.

Tensor sizes: n queries, D embedding, C classes, L history slots, K cameras, M remote instances.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cooptrack_core.geometry import BevGrid, PerceptionRange
from cooptrack_core.structures import Role, Source
from cooptrack_core.tracking.reappearance import Sightings

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FrameInputs:
    """One agent's images and pose at one instant, ready for the network.

    Attributes:
        images: (K, 3, H, W) float32, normalised and padded (see ``preprocess.py``).
        agent_to_image: (K, 4, 4) float32; agent point (metres) to (u d, v d, d, 1) in pixels of
            exactly these images.
        stamp_ns: Time of the frame, ns.
        scene_id: A change of it resets the memory.
        world_T_agent: (4, 4) float64 pose of the perception (LiDAR) frame.
        world_T_body: (4, 4) float64 pose of the body frame (vehicle: novatel; roadside: agent).
        can_bus: (18,) float64, the official data set's raw vector (absolute position, quaternion
            wxyz, zeros, yaw rad, yaw deg); None derives it from ``world_T_body``.
    """

    images: Tensor
    agent_to_image: Tensor
    stamp_ns: int
    scene_id: str
    world_T_agent: Array
    world_T_body: Array
    can_bus: Array | None = None


@dataclass(frozen=True, eq=False)
class Flow:
    """Rates of change of n instances, in the sender's agent frame.

    Attributes:
        feats: (n, D) of the semantic features, per second.
        motion: (n, D) of the motion features, per second.
        state: (n, 4) error of the velocity x, y (m/s) and acceleration x, y (m/s^2).
    """

    feats: Tensor
    motion: Tensor
    state: Tensor


@dataclass(frozen=True, eq=False)
class RemoteBev:
    """BEV map of a sender, for the baseline that fuses maps.

    Attributes:
        values: (rows * columns, D), row-major.
        grid: Its cells, sender's agent frame.
    """

    values: Tensor
    grid: BevGrid


@dataclass(frozen=True, eq=False)
class RemoteInstances:
    """One decoded message, expressed as tensors.

    Attributes:
        agent_id: Sender; remotes are fused in the order of this name.
        query_feats: (M, D) semantic features.
        query_embeds: (M, D) positional embeddings.
        motion_feats: (M, D) motion features.
        ref_pts: (M, 3) reference points normalised to ``range``.
        boxes: (M, 10) box codes in the sender's agent frame.
        range: The sender's perception range.
        ego_T_remote: (4, 4) float64, sender's agent frame to the receiver's agent frame.
        age_s: Receiver's frame time minus capture time, seconds. Reference points and boxes are
            moved on by velocity times age first; 0 leaves them as they are.
        caa_T_remote: (4, 4) float64 in place of ``ego_T_remote`` where it moves features, for
            experiments with a disturbed alignment; None for the same.
        role: What the sender is.
        pose_covariance: (3, 3) of the sender's x, y, yaw in the receiver's axes, m and rad.
        logits: (M, C) class logits by the sender's own judgement; None when unknown.
        flow: Rates of change (M) when the sender sent them; with them everything above is carried
            on by ``age_s``, without them only places are.
        bev: The sender's BEV map when it sent one; only fusion of maps uses it.
    """

    agent_id: str
    query_feats: Tensor
    query_embeds: Tensor
    motion_feats: Tensor
    ref_pts: Tensor
    boxes: Tensor
    range: PerceptionRange
    ego_T_remote: Array
    age_s: float = 0.0
    caa_T_remote: Array | None = None
    role: Role = Role.ROADSIDE
    pose_covariance: Array = field(default_factory=lambda: np.zeros((3, 3)))
    logits: Tensor | None = None
    flow: Flow | None = None
    bev: RemoteBev | None = None

    def __len__(self) -> int:
        """Return M."""
        return int(self.ref_pts.shape[0])


@dataclass(frozen=True, eq=False)
class QuerySet:
    """n object queries as a struct of tensors (the paper's instances).

    Attributes:
        feats: (n, D) semantic features.
        embeds: (n, D) positional embeddings.
        motion: (n, D) motion features.
        refs: (n, 3) reference points normalised to the agent's range.
        boxes: (n, 10) box codes, metres, agent frame (see ``box_code.py``).
        logits: (n, C) class logits.
        scores: (n,) highest class probability.
        ids: (n,) int64 track id, -1 for none yet. A trainer may keep ground-truth ids here.
        missed: (n,) int64 frames since the track was last active.
        tracked: (n,) bool, was active once (the official ``track_query_mask``).
        learnt: (n,) int64 index of the learnt query it grew from, -1 for carried or remote ones.
        hist_feats: (n, L, D) history of semantic features, oldest first.
        hist_motion: (n, L, D) history of motion features.
        hist_padding: (n, L) bool, True where the slot is empty.
        remote_bits: (n,) int64, bit i set when remote i (of this frame, in the order of fusion)
            took part in the query.
        best: (n,) highest score it has had while it was followed; 0 before.
    """

    feats: Tensor
    embeds: Tensor
    motion: Tensor
    refs: Tensor
    boxes: Tensor
    logits: Tensor
    scores: Tensor
    ids: Tensor
    missed: Tensor
    tracked: Tensor
    learnt: Tensor
    hist_feats: Tensor
    hist_motion: Tensor
    hist_padding: Tensor
    remote_bits: Tensor
    best: Tensor

    def __len__(self) -> int:
        """Return n."""
        return int(self.refs.shape[0])

    def select(self, index: Tensor) -> QuerySet:
        """Rows under a boolean mask or an index tensor."""
        return QuerySet(*(getattr(self, f.name)[index] for f in dataclasses.fields(self)))

    def replace(self, **changes: Tensor) -> QuerySet:
        """Return a copy with some fields exchanged."""
        return dataclasses.replace(self, **changes)

    def in_full_precision(self) -> QuerySet:
        """Return float32 in place of the types that mixed precision leaves."""
        half = (torch.bfloat16, torch.float16)
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return self.replace(**{n: v.float() for n, v in fields.items() if v.dtype in half})

    def detach(self) -> QuerySet:
        """Cut the graph, as the streaming training does between frames."""
        return QuerySet(*(getattr(self, f.name).detach() for f in dataclasses.fields(self)))

    @staticmethod
    def concatenate(sets: Sequence[QuerySet]) -> QuerySet:
        """Stack query sets along n."""
        return QuerySet(
            *(torch.cat([getattr(s, f.name) for s in sets]) for f in dataclasses.fields(QuerySet))
        )


@dataclass(frozen=True, eq=False)
class DenseFeatures:
    """What the image branch makes of B independent frames.

    Attributes:
        backbone: (B, K, C_b, h, w) last backbone stage.
        image: (B, K, D, h, w) neck output.
        bev: (B, rows * columns, D), row-major over the BEV grid.
    """

    backbone: Tensor
    image: Tensor
    bev: Tensor


@dataclass(frozen=True, eq=False)
class DecoderOutputs:
    """All decoder layers; layer first, then batch.

    Attributes:
        feats: (layers, B, n, D) query features.
        logits: (layers, B, n, C).
        boxes: (layers, B, n, 10) box codes, centre in metres.
        refs: (layers, B, n, 3) reference each layer started from, normalised.
        last_refs: (B, n, 3) reference after the last layer, normalised.
    """

    feats: Tensor
    logits: Tensor
    boxes: Tensor
    refs: Tensor
    last_refs: Tensor


@dataclass(frozen=True, eq=False)
class RemoteAlignment:
    """What became of one remote agent's instances.

    Rows count queries in decoder order: 0..n-1 as the decoder saw them, then instances added by
    earlier remotes of the same frame.

    Attributes:
        agent_id: Sender.
        kept: (M,) bool, inside the receiver's range (and not the receiver itself).
        feats, embeds, motion: (m, D) aligned by CAA; m = number kept.
        refs: (m, 3) normalised to the receiver's range.
        boxes: (m, 10) in the receiver's agent frame.
        logits: (m, C) class logits of the sender; None when unknown.
        covariance: (m, 2, 2) of their places in the plane, square metres.
        affinity: (rows, m) affinity logits of GBA; None under rule matching. At training with the
            official score mask only the rows of ``candidates`` are present.
        candidates: (rows,) int64, the query row of each affinity row.
        ego_rows, remote_rows: (p,) int64 matched pairs; remote rows count kept instances.
    """

    agent_id: str
    kept: Tensor
    feats: Tensor
    embeds: Tensor
    motion: Tensor
    refs: Tensor
    boxes: Tensor
    logits: Tensor | None
    covariance: Tensor
    affinity: Tensor | None
    candidates: Tensor
    ego_rows: Tensor
    remote_rows: Tensor


@dataclass(frozen=True, eq=False)
class FrameOutputs:
    """Everything one frame produced.

    Attributes:
        queries: The n' queries after refinement and (at inference) id assignment.
        output: (n',) bool, to be reported: score >= output threshold.
        live: (n',) bool, carried to the next frame; also what a message holds.
        decoder_rows: (n',) int64 row of the query in decoder order, -1 for instances that came
            from a remote agent alone.
        reset: Whether the memory was dropped at this frame.
        start: The n queries as they entered the decoder (ids of carried tracks included). With
            fusion of queries, instances that came from a remote agent alone are the last.
        dense: Image and BEV features, B = 1.
        decoder: Decoder outputs, B = 1.
        decoder_embeds: (n, D) embedding of the decoder's last reference.
        mdfe_motion: (n, D) motion features before temporal reasoning; None without MDFE.
        reasoned_feats, reasoned_motion: (n, D) after temporal and spatial reasoning; None for
            detection models.
        remotes: One alignment per remote agent, in the order of fusion.
        unfused_refs: Reference points of the ego's own queries as they were matched, normalised.
        fused_feats, fused_motion: (n', D) inputs of the refine heads.
        fused_refs: (n', 3) reference points before refinement.
    """

    queries: QuerySet
    output: Tensor
    live: Tensor
    decoder_rows: Tensor
    reset: bool
    start: QuerySet
    dense: DenseFeatures
    decoder: DecoderOutputs
    decoder_embeds: Tensor
    mdfe_motion: Tensor | None
    reasoned_feats: Tensor | None
    reasoned_motion: Tensor | None
    remotes: tuple[RemoteAlignment, ...]
    unfused_refs: Tensor
    fused_feats: Tensor
    fused_motion: Tensor
    fused_refs: Tensor

    @property
    def sources(self) -> Tensor:
        """(n',) int64 of Source: ego alone, remote alone, or fused, at this frame."""
        return source_of(self.queries, self.decoder_rows)

    @property
    def remote_agents(self) -> tuple[tuple[str, ...], ...]:
        """Per query, the remote agents that took part in it at this frame."""
        names = [r.agent_id for r in self.remotes]
        return tuple(
            tuple(name for i, name in enumerate(names) if bits >> i & 1)
            for bits in self.queries.remote_bits.tolist()
        )

    def select_live(self) -> QuerySet:
        """Return the surviving queries at this frame's own time: what the message carries."""
        return self.queries.select(self.live)


def source_of(queries: QuerySet, decoder_rows: Tensor) -> Tensor:
    """(n,) int64 of Source at this frame.

    Args:
        queries: Say which remote agents took part in them.
        decoder_rows: (n,) their row in the ego's decoder, -1 for none.
    """
    source = torch.where(queries.remote_bits > 0, int(Source.FUSED), int(Source.EGO))
    return torch.where(decoder_rows < 0, int(Source.REMOTE), source)


@dataclass(frozen=True, eq=False)
class TrackMemory:
    """What one agent remembers between two frames.

    Attributes:
        bev: (rows * columns, D) previous BEV features.
        live: Surviving queries, at ``stamp_ns`` and in the agent frame of that time.
        stamp_ns: Time of the previous frame.
        scene_id: Its scene.
        world_T_agent: (4, 4) float64 agent pose then.
        world_T_body: (4, 4) float64 body pose then.
        can_bus: (18,) float64 absolute can_bus vector then.
        next_id: Next free track id.
        sightings: Where tracks were last reported, at ``stamp_ns``, agent frame of that time.
    """

    bev: Tensor
    live: QuerySet
    stamp_ns: int
    scene_id: str
    world_T_agent: Array
    world_T_body: Array
    can_bus: Array
    next_id: int
    sightings: Sightings = field(default_factory=Sightings.none)

    def detach(self) -> TrackMemory:
        """Cut the graph."""
        return dataclasses.replace(self, bev=self.bev.detach(), live=self.live.detach())


def message_fields(live: QuerySet) -> dict[str, Tensor]:
    """Return exactly what crosses agents (reference section 2.14) under the official names.

    Args:
        live: Surviving queries of a frame, ``outputs.select_live()``.

    Returns:
        ``query_feats``, ``query_embeds``, ``cache_motion_feats`` (m, D), ``ref_pts`` (m, 3),
        ``pred_boxes`` (m, 10), ``class_scores`` (m, C) and ``ids`` (m,).
    """
    return {
        'query_feats': live.feats,
        'query_embeds': live.embeds,
        'cache_motion_feats': live.motion,
        'ref_pts': live.refs,
        'pred_boxes': live.boxes,
        'class_scores': live.logits.sigmoid(),
        'ids': live.ids,
    }
