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

"""V2X room: what a sender leaves out to save bytes, before anything is encoded.

Where2comm (Hu et al., NeurIPS 2022) sends what is sure and what the receiver asks for; here the
unit is the instance. Everything is decided with what a sender knows: its own scores, its clock,
and, if the receiver tells where it stands and looks, the receiver's camera.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.structures import AgentFrame, InstanceMessage
from cooptrack_core.v2x.flow import FLOW, FlowArrays, pack_flow, read_flow

_NS_PER_S = 1_000_000_000
# Captures of a 10 Hz camera are not exactly 100 ms apart; a tenth early is in time.
_EARLY = 0.9


@dataclass(frozen=True)
class Selection:
    """What is sent; by default every live instance of every frame.

    Attributes:
        min_score: Instances whose best class score is lower stay at home, 0 to 1.
        most: At most so many instances per message, the best ones; None for all.
        message_hz: At most so many messages per second; None for one per frame.
        outside_view_m: Leave out what stands in the image of the receiver no further than this
            from it, metres; 0 leaves out nothing. What hides it there, the sender does not know.
    """

    min_score: float = 0.0
    most: int | None = None
    message_hz: float | None = None
    outside_view_m: float = 0.0

    def __post_init__(self) -> None:
        """Reject what selects nothing or cannot be meant.

        Raises:
            ValueError: A value is out of range.
        """
        if not 0.0 <= self.min_score <= 1.0:
            raise ValueError(f'min_score must be from 0 to 1, not {self.min_score}')
        if self.most is not None and self.most < 0:
            raise ValueError(f'most must not be negative, is {self.most}')
        if self.message_hz is not None and not 0.0 < self.message_hz < math.inf:
            raise ValueError(f'message_hz must be positive, is {self.message_hz}')
        if not 0.0 <= self.outside_view_m < math.inf:
            raise ValueError(f'outside_view_m must not be negative, is {self.outside_view_m}')

    def due(self, stamp_ns: int, sent_ns: int | None) -> bool:
        """Whether a frame gives a message.

        Args:
            stamp_ns: Capture time of the frame, ns.
            sent_ns: Capture time of the last message, ns; None when none was sent.
        """
        if self.message_hz is None or sent_ns is None or stamp_ns < sent_ns:
            return True
        return (stamp_ns - sent_ns) * self.message_hz >= _EARLY * _NS_PER_S

    def apply(
        self, message: InstanceMessage, receiver: AgentFrame | None = None
    ) -> InstanceMessage:
        """Return the message with the instances that are worth their bytes.

        Args:
            message: All live instances.
            receiver: Newest known frame of the receiver (pose and cameras are used, no image);
                None when it says nothing, then nothing counts as seen by it.
        """
        scores = message.class_scores.max(1, initial=0.0)
        keep = scores >= self.min_score
        if self.outside_view_m and receiver is not None:
            keep &= ~self._in_view(message, receiver)
        if self.most is not None and keep.sum() > self.most:
            best = np.argsort(np.where(keep, -scores, np.inf), kind='stable')[: self.most]
            keep = np.isin(np.arange(len(scores)), best)
        return message if keep.all() else selected(message, keep)

    def _in_view(self, message: InstanceMessage, receiver: AgentFrame) -> NDArray[np.bool_]:
        """(m,) whether an instance stands in an image of the receiver, near enough."""
        receiver_SE3_sender = receiver.world_SE3_agent.inverse() @ message.world_SE3_agent
        centres = message.boxes.transformed(receiver_SE3_sender).centers
        near = np.linalg.norm(centres[:, :2], axis=1) <= self.outside_view_m
        seen = np.zeros(len(centres), dtype=bool)
        for image in receiver.images:
            pixels, depth = image.camera.project(centres)
            size = np.array([image.camera.width, image.camera.height])
            with np.errstate(invalid='ignore'):
                inside = ((pixels >= 0) & (pixels < size)).all(1)
            seen |= (depth > 0) & inside
        return np.asarray(near & seen)


class Outbox:
    """What one sender lets out: selection, and numbers without gaps.

    A receiver takes a gap in the sequence for a lost message, so a message that is not sent uses
    up no number.

    Args:
        selection: What is sent; may be exchanged at any time.
    """

    def __init__(self, selection: Selection | None = None) -> None:
        """Start with nothing sent; see the class."""
        self.selection = selection or Selection()
        self._sent_ns: int | None = None
        self._session_id: int | None = None
        self._skipped = 0

    def take(
        self, message: InstanceMessage, receiver: AgentFrame | None = None
    ) -> InstanceMessage | None:
        """Return what goes out of a frame's message; None when it is not due.

        Args:
            message: All live instances, numbered frame by frame.
            receiver: As in ``Selection.apply``.
        """
        if message.session_id != self._session_id:
            self._session_id, self._skipped, self._sent_ns = message.session_id, 0, None
        if not self.selection.due(message.stamp_ns, self._sent_ns):
            self._skipped += 1
            return None
        self._sent_ns = message.stamp_ns
        message = self.selection.apply(message, receiver)
        if self._skipped:
            message = replace(message, sequence=message.sequence - self._skipped)
        return message

    def reset(self) -> None:
        """Forget when the last message went out: time jumped. The numbers go on."""
        self._sent_ns = None


def selected(message: InstanceMessage, keep: NDArray[np.bool_]) -> InstanceMessage:
    """Return the message with some of its m instances.

    Args:
        message: The message.
        keep: (m,) which ones.
    """
    extensions = dict(message.extensions)
    flow = read_flow(message)
    if flow is not None:
        rows = FlowArrays(flow.features[keep], flow.motion[keep], flow.state[keep])
        extensions[FLOW] = pack_flow(rows)
    return replace(
        message,
        query_features=message.query_features[keep],
        query_embeddings=message.query_embeddings[keep],
        motion_features=message.motion_features[keep],
        reference_points=message.reference_points[keep],
        boxes=message.boxes[keep],
        class_scores=message.class_scores[keep],
        track_ids=message.track_ids[keep],
        extensions=extensions,
    )
