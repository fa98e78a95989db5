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

"""The ego: its own frames and the messages of others in, fused tracks out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cooptrack_core.geometry import PerceptionRange
from cooptrack_core.models.cooptrack import box_code
from cooptrack_core.models.cooptrack.interface import (
    Flow,
    FrameOutputs,
    RemoteInstances,
    TrackMemory,
)
from cooptrack_core.models.cooptrack.preprocess import prepare_frame
from cooptrack_core.perception.agent import best_rows, to_tracks
from cooptrack_core.perception.disturbance import MisalignedMessage
from cooptrack_core.perception.loading import PerceptionModel
from cooptrack_core.perception.standing import StandingPoses
from cooptrack_core.perception.viewpoint import in_view
from cooptrack_core.structures import AgentFrame, InstanceMessage, TrackedObjects
from cooptrack_core.tracking.heading import TravelHeadings
from cooptrack_core.tracking.permanence import ObjectPermanence
from cooptrack_core.v2x.flow import read_flow


@dataclass(frozen=True, eq=False)
class Association:
    """One pair of the association, for pictures.

    Attributes:
        agent_id: The remote agent.
        remote_position: (3,) reference point of its instance at the ego's time, ego agent frame,
            metres.
        ego_position: (3,) reference point of the instance it was matched with, before the two
            were fused: the ego's own, or one that an earlier remote agent added.
        affinity: Probability of the pair, in [0, 1]; NaN under rule matching.
        track_id: Id of what the pair became; -1 while it has none.
    """

    agent_id: str
    remote_position: np.ndarray
    ego_position: np.ndarray
    affinity: float
    track_id: int = -1


@dataclass(frozen=True, eq=False)
class Unmatched:
    """An instance that found no partner, for pictures.

    Attributes:
        agent_id: Whose it is; the ego has some too.
        position: (3,) its reference point at the ego's time, ego agent frame, metres.
        track_id: Id of what it became; -1 for none.
    """

    agent_id: str
    position: np.ndarray
    track_id: int


@dataclass(frozen=True, eq=False)
class CooperativeResult:
    """What the ego makes of one frame and the messages at hand.

    Attributes:
        tracks: Objects to report; what drives heads where it goes (``tracking/heading.py``), and
            what stood still when it left the images is still there (``tracking/permanence.py``).
        detections: The best queries of the frame, whatever their score; for AP.
        associations: Matched pairs.
        reset: Whether the memory was dropped at this frame.
        unmatched: Instances without a partner: of the ego those that live on, of remote agents
            all that were kept.
    """

    tracks: TrackedObjects
    detections: TrackedObjects
    associations: tuple[Association, ...]
    reset: bool
    unmatched: tuple[Unmatched, ...] = ()


class CooperativePerception:
    """Streaming cooperative perception of the ego.

    Args:
        model: Cooperative model.
        ego_id: The agent that fuses.
    """

    def __init__(self, model: PerceptionModel, ego_id: str) -> None:
        """Start without memory; see the class."""
        self.model = model
        self.ego_id = ego_id
        self._memory: TrackMemory | None = None
        self._standing = StandingPoses()
        self._headings = TravelHeadings()
        self._permanence = ObjectPermanence(model.network.config.tracking.permanence)

    def reset(self) -> None:
        """Forget tracks, BEV and what was learnt of senders."""
        self._memory = None
        self._headings.reset()
        self._permanence.reset()
        self._standing.reset()

    @torch.inference_mode()
    def process(
        self, frame: AgentFrame, messages: Sequence[InstanceMessage] = ()
    ) -> CooperativeResult:
        """Perceive one ego frame and fuse the messages into it.

        Stamps that go backwards, a gap, or another sequence id reset the memory. Messages are
        fused in the order of their agent ids, whatever their order here. They must have passed
        the checks of :class:`cooptrack_core.v2x.inbox.MessageInbox`.

        Raises:
            ValueError: The frame is of another agent, or its image does not fit the model.
        """
        if frame.agent_id != self.ego_id:
            raise ValueError(f'a frame of {frame.agent_id} was given to {self.ego_id}')
        network = self.model.network
        inputs = prepare_frame(frame, network.config, self.model.device)
        ordered = [self._standing.settled(m) for m in sorted(messages, key=lambda m: m.agent_id)]
        remotes = [to_remote(m, frame, self.model.device) for m in ordered]
        with self.model.autocast():
            outputs, self._memory = network(inputs, self._memory, remotes, self.model.matching)
        pairs, unmatched = _associations(outputs, self.ego_id, network.config.range)
        if outputs.reset:
            self._headings.reset()
            self._permanence.reset()
        tracks, detections = self._permanence.completed(
            self._headings.steered(to_tracks(frame, outputs, outputs.output)),
            to_tracks(frame, outputs, best_rows(outputs, network.config.tracking.max_output)),
            in_view(frame),
        )
        return CooperativeResult(tracks, detections, pairs, outputs.reset, unmatched)


def to_remote(
    message: InstanceMessage, frame: AgentFrame, device: torch.device
) -> RemoteInstances:
    """Express a decoded message for the model of the agent that took ``frame``.

    The transform is computed in float64: world coordinates are large.
    """
    ego_SE3_world = frame.world_SE3_agent.inverse()
    ego_SE3_remote = ego_SE3_world @ message.world_SE3_agent
    turn = np.eye(3)
    turn[:2, :2] = ego_SE3_world.matrix[:2, :2]
    planar = message.pose_covariance[np.ix_((0, 1, 5), (0, 1, 5))]

    believed = message.alignment_SE3_agent if isinstance(message, MisalignedMessage) else None
    caa_T_remote = None if believed is None else (ego_SE3_world @ believed).matrix

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(device)

    flow = read_flow(message)
    return RemoteInstances(
        agent_id=message.agent_id,
        query_feats=tensor(message.query_features),
        query_embeds=tensor(message.query_embeddings),
        motion_feats=tensor(message.motion_features),
        ref_pts=tensor(message.reference_points),
        boxes=box_code.from_boxes(message.boxes).to(device),
        range=message.range,
        ego_T_remote=ego_SE3_remote.matrix,
        age_s=(frame.stamp_ns - message.stamp_ns) / 1e9,
        caa_T_remote=caa_T_remote,
        role=message.role,
        pose_covariance=turn @ planar @ turn.T,
        logits=box_code.inverse_sigmoid(tensor(message.class_scores), 1e-3),
        flow=None
        if flow is None
        else Flow(*map(tensor, (flow.features, flow.motion, flow.state))),
    )


def _associations(
    outputs: FrameOutputs, ego_id: str, area: PerceptionRange
) -> tuple[tuple[Association, ...], tuple[Unmatched, ...]]:
    """Pairs and instances without a partner, with ids of the queries that they became."""

    def points(refs: torch.Tensor) -> list[np.ndarray]:
        return [*box_code.denormalise(refs.float(), area).cpu().numpy()]

    # In decoder order: the ego's queries, then what each remote agent added.
    places = points(outputs.unfused_refs)
    own = len(places)
    owners = [ego_id] * own
    found: list[tuple[int, str, np.ndarray, float]] = []
    for remote in outputs.remotes:
        theirs = points(remote.refs)
        matched = remote.remote_rows.tolist()
        judged = {row: i for i, row in enumerate(remote.candidates.tolist())}
        affinity = None if remote.affinity is None else remote.affinity.float().sigmoid().cpu()
        for row, column in zip(remote.ego_rows.tolist(), matched, strict=True):
            sure = float('nan')
            if affinity is not None and row in judged:
                sure = float(affinity[judged[row], column])
            found.append((row, remote.agent_id, theirs[column], sure))
        added = [theirs[i] for i in sorted(set(range(len(theirs))) - set(matched))]
        places += added
        owners += [remote.agent_id] * len(added)
    rows = outputs.decoder_rows.cpu().numpy().copy()
    rows[rows < 0] = own + np.arange((rows < 0).sum())
    ids = np.full(len(places), -1, dtype=np.int64)
    ids[rows] = outputs.queries.ids.cpu().numpy()
    shown = np.arange(len(places)) >= own
    shown[rows] |= outputs.live.cpu().numpy()
    shown[[row for row, *_ in found]] = False
    return (
        tuple(
            Association(agent_id, position, places[row], sure, int(ids[row]))
            for row, agent_id, position, sure in found
        ),
        tuple(Unmatched(owners[row], places[row], int(ids[row])) for row in np.flatnonzero(shown)),
    )
