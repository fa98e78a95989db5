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

"""CoopTrack: the parts of the paper put together.

A frame goes backbone, neck, BEV encoder, query decoder, motion features, temporal and spatial
reasoning; then remote instances are aligned, associated and fused; refine heads give class and
box; the life cycle decides which queries are tracks. Source: reference section 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cooptrack_core.models.bev_encoder.bevformer import BevFormerEncoder
from cooptrack_core.models.bev_encoder.lift import LiftEncoder
from cooptrack_core.models.bev_encoder.motion import EgoMotion, can_bus_delta, can_bus_of
from cooptrack_core.models.cooptrack.code_buffers import CodeBuffers
from cooptrack_core.models.cooptrack.config import (
    CooperationConfig,
    ModelConfig,
)
from cooptrack_core.models.cooptrack.cooperation import Cooperation, Matching
from cooptrack_core.models.cooptrack.decoder import Decoder
from cooptrack_core.models.cooptrack.interface import (
    DecoderOutputs,
    DenseFeatures,
    FrameInputs,
    FrameOutputs,
    QuerySet,
    RemoteAlignment,
    RemoteInstances,
    TrackMemory,
)
from cooptrack_core.models.cooptrack.judgement import judged
from cooptrack_core.models.cooptrack.latency import FeatureFlow
from cooptrack_core.models.cooptrack.mdfe import MotionFeatures
from cooptrack_core.models.cooptrack.queries import (
    LearntQueries,
    choose_learnt,
    propagate,
    start_references,
)
from cooptrack_core.models.cooptrack.reasoning import SpatialTemporalReasoning
from cooptrack_core.models.cooptrack.refine import RefineHeads
from cooptrack_core.models.cooptrack.unused import UnusedWeights
from cooptrack_core.models.fusion.bev_concat import BevConcat
from cooptrack_core.models.fusion.queries import QueryFusion
from cooptrack_core.models.image_parts import make_backbone, make_neck
from cooptrack_core.tracking import life_cycle
from cooptrack_core.tracking.duplicates import silence_duplicates
from cooptrack_core.tracking.reappearance import Sightings
from cooptrack_core.tracking.velocity import corrected_velocity, rolling_velocity

__all__ = ['CoopTrack', 'Matching']


class CoopTrack(nn.Module):
    """The model of one agent. Stateless: memory goes in and comes out.

    Args:
        config: Sizes, thresholds, quirks.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.channels_last = False  # memory layout of images, see models/inference.py
        # Backbone and neck in another engine, see models/backends.py.
        self.image_network: Callable[[Tensor], list[Tensor]] | None = None
        dims = config.embed_dims
        image_size = (config.image.height, config.image.width)
        self.backbone = make_backbone(config.backbone)
        channels = self.backbone.out_channels
        self.neck = make_neck(config.backbone, channels, dims)
        encoder = BevFormerEncoder if config.bev.encoder == 'bevformer' else LiftEncoder
        self.bev_encoder = encoder(
            dims, config.bev, image_size, config.dropout, config.quirks, config.backbone.levels
        )
        start = start_references(config.decoder, config.range)
        self.learnt = LearntQueries(config.decoder.queries, dims, start)
        self.decoder = Decoder(
            dims,
            config.decoder,
            len(config.classes),
            config.range,
            config.bev.grid,
            config.dropout,
        )
        self.mdfe: MotionFeatures | None = None
        self.reasoning: SpatialTemporalReasoning | None = None
        self.refine: RefineHeads | None = None
        self.cooperation: Cooperation | None = None
        if config.motion is not None and config.reasoning is not None:
            self.mdfe = MotionFeatures(dims, config.motion.width)
            self.reasoning = SpatialTemporalReasoning(
                dims, config.reasoning, config.dropout, config.parts.history
            )
            self.refine = RefineHeads(
                dims, len(config.classes), config.range, config.decoder.centre_step
            )
        self.query_fusion: QueryFusion | None = None
        self.bev_fusion: BevConcat | None = None
        if config.cooperation is not None and config.cooperation.fusion == 'queries':
            self.query_fusion = QueryFusion(config)
        elif config.cooperation is not None and config.cooperation.fusion == 'bev':
            self.bev_fusion = BevConcat(dims, config.bev.grid)
        elif config.cooperation is not None:
            self.cooperation = Cooperation(config)
        self.flow: FeatureFlow | None = None
        if config.latency is not None and config.reasoning is not None:
            self.flow = FeatureFlow(dims, config.history, config.latency)
        self.feature_code: CodeBuffers | None = None
        if config.code_numbers is not None:
            self.feature_code = CodeBuffers(dims, config.code_numbers)
        self.unused = UnusedWeights(dims, config) if config.keep_unused else None

    # The dense part: B independent frames at once.

    def perceive(
        self,
        images: Tensor,
        agent_to_image: Tensor,
        previous: Tensor | None = None,
        motion: EgoMotion | None = None,
    ) -> DenseFeatures:
        """Images to BEV features.

        Args:
            images: (B, K, 3, H, W) normalised.
            agent_to_image: (B, K, 4, 4).
            previous: (B, G, D) previous BEV map, or None.
            motion: Ego motion since then; None for none.
        """
        batch, cameras = images.shape[:2]
        last, maps = self._image_maps(images.flatten(0, 1))
        levels = [torch.unflatten(level, 0, (batch, cameras)) for level in maps]
        motion = motion or EgoMotion.none(batch, levels[0])
        bev = self.bev_encoder(levels, agent_to_image, previous, motion)
        return DenseFeatures(torch.unflatten(last, 0, (batch, cameras)), levels[0], bev)

    def lifted(self, images: Tensor, agent_to_image: Tensor) -> Tensor:
        """Images on the BEV cells without memory, (B, G, D), of a model with the lift encoder.

        Args:
            images: (B, K, 3, H, W) normalised.
            agent_to_image: (B, K, 4, 4).

        Raises:
            TypeError: The model has another encoder.
        """
        if not isinstance(self.bev_encoder, LiftEncoder):
            raise TypeError('only the lift encoder separates the present from the memory')
        maps = self._image_maps(images.flatten(0, 1))[1]
        levels = [torch.unflatten(level, 0, tuple(images.shape[:2])) for level in maps]
        return self.bev_encoder.present(levels, agent_to_image)

    def _image_maps(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Last stage of the backbone and maps of the neck for (n, 3, H, W)."""
        if self.image_network is not None and len(images):
            return images.new_zeros(len(images), 0), self.image_network(images)
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        stages = self.backbone(images)
        maps = self.neck(stages)
        return stages[-1], [maps] if isinstance(maps, Tensor) else maps

    def decode(
        self,
        bev: Tensor,
        feats: Tensor,
        refs: Tensor,
        embeds: Tensor | None = None,
        blocked: Tensor | None = None,
    ) -> DecoderOutputs:
        """Decode any queries on BEV maps.

        Args:
            bev: (B, G, D).
            feats: (B, n, D) contents.
            refs: (B, n, 3) normalised reference points.
            embeds: (B, n, D) positional embeddings; None computes them from ``refs``.
            blocked: (n, n) bool, True where attention between queries is forbidden.
        """
        position = self.learnt.embed(refs) if embeds is None else embeds
        out: DecoderOutputs = self.decoder(bev, feats, position, refs, blocked)
        return out

    def detect(
        self,
        images: Tensor,
        agent_to_image: Tensor,
        previous: Tensor | None = None,
        motion: EgoMotion | None = None,
    ) -> tuple[DenseFeatures, DecoderOutputs]:
        """Detection on B independent frames with the learnt queries; see ``perceive``."""
        dense = self.perceive(images, agent_to_image, previous, motion)
        batch = images.shape[0]
        feats = self.learnt.feats.weight.expand(batch, -1, -1)
        refs = self.learnt.refs.weight.expand(batch, -1, -1)
        return dense, self.decode(dense.bev, feats, refs)

    # The streaming part: one agent, one frame after another.

    def forward(
        self,
        frame: FrameInputs,
        memory: TrackMemory | None = None,
        remotes: Sequence[RemoteInstances] = (),
        matching: Matching | None = None,
    ) -> tuple[FrameOutputs, TrackMemory]:
        """Process one frame including the life cycle.

        Args:
            frame: Images and pose.
            memory: Of the previous frame; None starts anew.
            remotes: Decoded messages, at most one per remote agent.
            matching: ``learned`` or ``rule``; None takes the configuration's.
        """
        outputs = self.step(frame, memory, remotes, matching)
        tracking, q = self.config.tracking, self.config.quirks
        first_id = 1 if memory is None or outputs.reset else memory.next_id
        limit = self.config.decoder.queries
        sightings = Sightings.none()
        if memory is not None and not outputs.reset:
            moved = np.linalg.inv(frame.world_T_agent) @ memory.world_T_agent
            seconds = (frame.stamp_ns - memory.stamp_ns) * 1e-9
            sightings = memory.sightings.moved(moved, seconds)
        life = life_cycle.advance(
            silence_duplicates(outputs.queries, tracking),
            tracking,
            first_id,
            limit,
            q.ids_for_background,
            sightings,
        )
        outputs = dataclasses.replace(
            outputs, queries=life.queries, output=life.output, live=life.live
        )
        memory = self.remember(frame, outputs, outputs.select_live(), life.next_id)
        return outputs, dataclasses.replace(memory, sightings=life.sightings)

    def step(
        self,
        frame: FrameInputs,
        memory: TrackMemory | None = None,
        remotes: Sequence[RemoteInstances] = (),
        matching: Matching | None = None,
        dense: DenseFeatures | None = None,
    ) -> FrameOutputs:
        """Process one frame without the life cycle: a trainer assigns ids and survivors itself.

        Args:
            frame: Images and pose.
            memory: Of the previous frame; None starts anew.
            remotes: Decoded messages, at most one per remote agent.
            matching: ``learned`` or ``rule``; None takes the configuration's.
            dense: Features of this frame (B = 1) that were computed already.
        """
        if memory is not None and not self.continues(frame, memory):
            memory = None
        like = self.learnt.refs.weight
        current_T_previous, motion = self.ego_motion(frame, memory, like)
        start = self._start(frame, memory, current_T_previous)
        previous = None if memory is None else memory.bev[None]
        images, projection = frame.images.to(like)[None], frame.agent_to_image.to(like)[None]
        if dense is None:
            dense = self.perceive(images, projection, previous, motion)
        alignments: tuple[RemoteAlignment, ...] = ()
        rows, before = torch.arange(len(start), device=like.device), start.refs
        if self.query_fusion is not None:
            start, alignments, rows = self.query_fusion(start, remotes, self.learnt.embed)
        bev = dense.bev
        if self.bev_fusion is not None:
            bev = self.bev_fusion.fuse_all(bev, remotes)
        decoded = self.decode(bev, start.feats[None], start.refs[None], start.embeds[None])
        queries = self._after_decoder(start, decoded)
        embeds, mdfe = queries.embeds, None
        reasoned: QuerySet | None = None
        if self.mdfe is not None and self.reasoning is not None:
            mdfe = self.mdfe(queries.boxes) * float(self.config.parts.mdfe)
            reasoned = queries = self.reasoning(queries.replace(motion=mdfe))
        if self.cooperation is not None:
            before = queries.refs
            matching = matching or self._matching(self.cooperation.config)
            queries, alignments, rows = self.cooperation(queries, remotes, matching)
        fused = queries
        if self.refine is not None:
            queries = self.refine(queries)
            queries = judged(
                queries, fused, rows, remotes, projection[0], self.config, self.training
            )
        if memory is not None and not self.training:
            seconds = (frame.stamp_ns - memory.stamp_ns) * 1e-9
            gains = (
                self.config.tracking.velocity_gain,
                self.config.tracking.first_velocity_gain,
            )
            queries = corrected_velocity(queries, start, rows, seconds, *gains)
        if not self.training:
            queries = rolling_velocity(queries, self.config.tracking.across_velocity)
        nothing = torch.zeros(len(queries), dtype=torch.bool, device=like.device)
        return FrameOutputs(
            queries=self._recorded(queries, start).in_full_precision(),
            output=nothing,
            live=nothing,
            decoder_rows=rows,
            reset=memory is None,
            start=start,
            dense=dense,
            decoder=decoded,
            decoder_embeds=embeds,
            mdfe_motion=mdfe,
            reasoned_feats=None if reasoned is None else reasoned.feats,
            reasoned_motion=None if reasoned is None else reasoned.motion,
            remotes=alignments,
            unfused_refs=before,
            fused_feats=fused.feats,
            fused_motion=fused.motion,
            fused_refs=fused.refs,
        )

    def remember(
        self, frame: FrameInputs, outputs: FrameOutputs, live: QuerySet, next_id: int
    ) -> TrackMemory:
        """Memory for the next frame from this one's outputs and the chosen survivors."""
        return TrackMemory(
            bev=outputs.dense.bev[0],
            live=live,
            stamp_ns=frame.stamp_ns,
            scene_id=frame.scene_id,
            world_T_agent=frame.world_T_agent,
            world_T_body=frame.world_T_body,
            can_bus=_can_bus(frame),
            next_id=next_id,
        )

    def _matching(self, config: CooperationConfig) -> Matching:
        rule = self.training and self.config.quirks.rule_pairs_in_training
        return 'supervised' if rule else config.matching

    def continues(self, frame: FrameInputs, memory: TrackMemory) -> bool:
        """Whether a frame continues the memory: same scene, time forward, no large gap."""
        gap = frame.stamp_ns - memory.stamp_ns
        half = self.config.quirks.resets_above_half_a_second
        limit = round((0.5 if half else self.config.tracking.reset_after_s) * 1e9)
        return frame.scene_id == memory.scene_id and 0 <= gap <= limit

    def ego_motion(
        self, frame: FrameInputs, memory: TrackMemory | None, like: Tensor
    ) -> tuple[Tensor, EgoMotion]:
        """Previous agent frame to the current one (4, 4), and the motion for the encoder."""
        q = self.config.quirks
        previous = None if memory is None else memory.can_bus
        can_bus = can_bus_delta(_can_bus(frame), previous, q.unwrapped_yaw_delta)
        current_T_previous = np.eye(4)
        if memory is not None:
            current_T_previous = np.linalg.inv(frame.world_T_agent) @ memory.world_T_agent
        motion = EgoMotion(
            torch.from_numpy(can_bus).to(like.device)[None],
            torch.from_numpy(np.linalg.inv(current_T_previous)).to(like)[None],
        )
        return torch.from_numpy(current_T_previous).to(like), motion

    def _start(
        self, frame: FrameInputs, memory: TrackMemory | None, current_T_previous: Tensor
    ) -> QuerySet:
        """Queries of this frame: learnt ones, then the carried tracks."""
        c = self.config
        learnt_refs = self.learnt.refs.weight
        classes, history = len(c.classes), c.history
        if memory is None or not c.tracking.carry:
            every = torch.arange(len(learnt_refs), device=learnt_refs.device)
            return self.learnt.fresh(every, classes, history)
        seconds = (frame.stamp_ns - memory.stamp_ns) * 1e-9
        poses: tuple[Tensor, Tensor] | None = None
        if c.quirks.float32_poses:
            then, now = (
                torch.from_numpy(pose.astype(np.float32)).to(learnt_refs)
                for pose in (memory.world_T_agent, frame.world_T_agent)
            )
            poses = then, now
        live = propagate(
            memory.live, current_T_previous, seconds, c.range, c.quirks.box_heading_stays, poses
        )
        live = live.replace(
            embeds=self.learnt.embed(live.refs),
            remote_bits=torch.zeros_like(live.remote_bits),
            learnt=torch.full_like(live.learnt, -1),
        )
        keep = choose_learnt(learnt_refs, live.refs, c.quirks.random_empty_queries)
        return QuerySet.concatenate([self.learnt.fresh(keep, classes, history), live])

    def _after_decoder(self, start: QuerySet, decoded: DecoderOutputs) -> QuerySet:
        logits, refs = decoded.logits[-1, 0], decoded.last_refs[0]
        return start.replace(
            feats=decoded.feats[-1, 0],
            embeds=self.learnt.embed(refs),
            refs=refs,
            boxes=decoded.boxes[-1, 0],
            logits=logits,
            scores=logits.detach().sigmoid().max(-1).values,
        )

    def _recorded(self, queries: QuerySet, start: QuerySet) -> QuerySet:
        """Queries below the record threshold keep the state they entered the frame with."""
        threshold = self.config.tracking.record_threshold
        if self.training or threshold <= 0:
            return queries
        low = queries.scores < threshold
        fields = ('feats', 'embeds', 'refs', 'boxes', 'logits', 'scores')
        old = {name: getattr(start, name) for name in fields}
        return queries.replace(
            **{
                name: torch.where(low if old[name].dim() == 1 else low[:, None], old[name], new)
                for name, new in ((name, getattr(queries, name)) for name in fields)
            }
        )


def _can_bus(frame: FrameInputs) -> NDArray[np.float64]:
    return can_bus_of(frame.world_T_body) if frame.can_bus is None else frame.can_bus
