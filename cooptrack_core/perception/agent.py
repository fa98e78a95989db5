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

"""One agent alone: frames in, its own tracks and the message for the others out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from cooptrack_core.geometry import Boxes3D
from cooptrack_core.models.cooptrack import box_code
from cooptrack_core.models.cooptrack.interface import (
    FrameOutputs,
    QuerySet,
    TrackMemory,
    message_fields,
)
from cooptrack_core.models.cooptrack.preprocess import prepare_frame
from cooptrack_core.perception.loading import PerceptionModel
from cooptrack_core.perception.viewpoint import in_view
from cooptrack_core.structures import AgentFrame, InstanceMessage, TrackedObjects
from cooptrack_core.tracking.permanence import ObjectPermanence
from cooptrack_core.v2x.bev_extension import BEV, BevArray, pack_bev
from cooptrack_core.v2x.flow import FLOW, FlowArrays, pack_flow


@dataclass(frozen=True, eq=False)
class AgentResult:
    """What one agent makes of one frame.

    Attributes:
        tracks: Objects to report: score at or above the model's output threshold, and what is
            remembered (``tracking/permanence.py``), which goes into no message.
        detections: The best queries of the frame, whatever their score; for AP.
        message: The live instances, ready to be encoded.
        reset: Whether the memory was dropped at this frame.
    """

    tracks: TrackedObjects
    detections: TrackedObjects
    message: InstanceMessage
    reset: bool


class AgentPerception:
    """Streaming perception of one agent.

    Args:
        model: Single-agent model.
        agent_id: The agent; goes into its messages.
        session_id: Random per start, so that receivers notice a restart.
        share_bev: Whether messages carry the BEV map, for the baseline that fuses maps.
    """

    def __init__(
        self,
        model: PerceptionModel,
        agent_id: str,
        session_id: int,
        *,
        share_bev: bool = False,
    ) -> None:
        """Start without memory; see the class."""
        self.share_bev = share_bev
        self.model = model
        self.agent_id = agent_id
        self.session_id = session_id
        self.sequence = 0
        self._memory: TrackMemory | None = None
        self._permanence = ObjectPermanence(model.network.config.tracking.permanence)

    def reset(self) -> None:
        """Forget tracks and BEV; the message sequence goes on."""
        self._memory = None
        self._permanence.reset()

    @torch.inference_mode()
    def process(self, frame: AgentFrame) -> AgentResult:
        """Perceive one frame.

        Stamps that go backwards, a gap, or another sequence id reset the memory. A frame without
        an image is perceived blind: tracks age, nothing new appears.

        Raises:
            ValueError: The frame is of another agent, or its image does not fit the model.
        """
        if frame.agent_id != self.agent_id:
            raise ValueError(f'a frame of {frame.agent_id} was given to {self.agent_id}')
        network = self.model.network
        inputs = prepare_frame(frame, network.config, self.model.device)
        with self.model.autocast():
            outputs, self._memory = network(inputs, self._memory)
        message = self._message(frame, outputs)
        self.sequence += 1
        if outputs.reset:
            self._permanence.reset()
        tracks, detections = self._permanence.completed(
            to_tracks(frame, outputs, outputs.output),
            to_tracks(frame, outputs, best_rows(outputs, network.config.tracking.max_output)),
            in_view(frame),
        )
        return AgentResult(tracks, detections, message, outputs.reset)

    def _message(self, frame: AgentFrame, outputs: FrameOutputs) -> InstanceMessage:
        live = outputs.select_live()
        fields = {name: tensor.cpu().numpy() for name, tensor in message_fields(live).items()}
        return InstanceMessage(
            agent_id=self.agent_id,
            role=frame.role,
            model_id=self.model.model_id,
            session_id=self.session_id,
            sequence=self.sequence,
            stamp_ns=frame.stamp_ns,
            world_SE3_agent=frame.world_SE3_agent,
            pose_covariance=frame.pose_covariance,
            range=self.model.network.config.range,
            query_features=fields['query_feats'],
            query_embeddings=fields['query_embeds'],
            motion_features=fields['cache_motion_feats'],
            reference_points=fields['ref_pts'],
            boxes=live_boxes(live),
            class_scores=fields['class_scores'],
            track_ids=fields['ids'].astype(np.int64),
            extensions=self._flow(live) | self._bev(outputs),
        )

    def _flow(self, live: QuerySet) -> dict[str, bytes]:
        """Feature flow of the live instances, of models that have it."""
        if self.model.network.flow is None:
            return {}
        flow = self.model.network.flow(live)
        arrays = (t.float().cpu().numpy() for t in (flow.feats, flow.motion, flow.state))
        return {FLOW: pack_flow(FlowArrays(*arrays))}

    def _bev(self, outputs: FrameOutputs) -> dict[str, bytes]:
        """BEV map of the frame, if it is shared."""
        if not self.share_bev:
            return {}
        grid = self.model.network.config.bev.grid
        values = outputs.dense.bev[0].float().cpu().numpy()
        return {BEV: pack_bev(BevArray(values.reshape(grid.rows, grid.columns, -1), grid))}


def live_boxes(queries: QuerySet) -> Boxes3D:
    """Boxes of queries, agent frame."""
    return box_code.to_boxes(queries.boxes.cpu())


def best_rows(outputs: FrameOutputs, count: int) -> torch.Tensor:
    """Row indices of the ``count`` highest scores, best first."""
    order = torch.argsort(outputs.queries.scores, descending=True, stable=True)
    return order[:count]


def to_tracks(frame: AgentFrame, outputs: FrameOutputs, rows: torch.Tensor) -> TrackedObjects:
    """Queries as objects in the agent frame of their own time.

    Args:
        frame: The frame they belong to.
        outputs: What the model gave.
        rows: Boolean mask or row indices.
    """
    index = torch.nonzero(rows)[:, 0] if rows.dtype == torch.bool else rows
    chosen = outputs.queries.select(index)
    sources = outputs.sources[index].cpu().numpy()
    agents = outputs.remote_agents
    return TrackedObjects(
        sequence_id=frame.sequence_id,
        frame_id=frame.frame_id,
        stamp_ns=frame.stamp_ns,
        world_SE3_agent=frame.world_SE3_agent,
        boxes=live_boxes(chosen),
        scores=chosen.scores.cpu().numpy().astype(np.float64),
        labels=chosen.logits.argmax(-1).cpu().numpy().astype(np.int64),
        track_ids=chosen.ids.cpu().numpy().astype(np.int64),
        sources=sources.astype(np.int64),
        remote_agents=tuple(agents[i] for i in index.tolist()),
    )
