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

"""Feature flow: how instances change until a delayed message is fused.

Source: CoopTrack's supplement, C.4 (history of queries, calibrated to a time stamp), with the
linear form of FFNet (Yu et al., NeurIPS 2023): feature(t + dt) = feature(t) + flow * dt. The
sender computes the flow from its queries' histories and may send it along; the receiver adds it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cooptrack_core.models.cooptrack.config import LatencyConfig
from cooptrack_core.models.cooptrack.interface import Flow, QuerySet, RemoteInstances
from cooptrack_core.models.precision import full_precision

STATE_SIZE = 4  # velocity correction x, y (m/s), acceleration x, y (m/s^2)
# Features are carried on for as long as training did; places are for any age.
HORIZON_S = 0.6


class FeatureFlow(nn.Module):
    """Flow from the short history of every query.

    It begins as no flow at all: plain constant velocity.

    Args:
        dims: Embedding size D.
        history: Slots L of the queries' histories.
        config: Width.
    """

    def __init__(self, dims: int, history: int, config: LatencyConfig) -> None:
        super().__init__()
        self.dims, self.config = dims, config
        self.features = self._head(history * 2 * dims + history, 2 * dims)
        # Places follow from what is known of a track, not from what it looks like: few numbers
        # cannot be learnt by heart.
        self.state = self._head(history + 7, STATE_SIZE)

    def _head(self, inputs: int, outputs: int) -> nn.Sequential:
        width = self.config.width
        last = nn.Linear(width, outputs)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), last)

    @full_precision
    def forward(self, queries: QuerySet) -> Flow:
        """Flow of queries whose newest history slot is the present."""
        known = ~queries.hist_padding  # (n, L)
        slots = torch.cat([queries.hist_feats, queries.hist_motion], -1)  # (n, L, 2D)
        now = torch.cat([queries.feats, queries.motion], -1)
        # The past as differences from the present: their size is the change that goes on.
        past = (slots[:, :-1] - now[:, None]) * known[:, :-1, None]
        seen = torch.cat([past.flatten(1), now, known.to(now)], -1)
        feats, motion = self.features(seen).chunk(2, -1)
        boxes = queries.boxes  # sizes are logarithms
        track = torch.cat([boxes[:, 8:10] / 5.0, boxes[:, 6:8], boxes[:, 2:4], boxes[:, 5:6]], -1)
        state = self.state(torch.cat([track, known.to(now)], -1))
        return Flow(feats, motion, state)


@full_precision
def carried_on(
    remote: RemoteInstances, points: Tensor, boxes: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Instances of a message at the receiver's time, still in the sender's frame.

    Args:
        remote: The message; an age of 0 leaves all as it is.
        points: (M, 3) its reference points, metres.
        boxes: (M, 10) its box codes.

    Returns:
        Semantic features (M, D), motion features (M, D), points and boxes.
    """
    feats, motion = remote.query_feats.to(points), remote.motion_feats.to(points)
    age, flow = remote.age_s, remote.flow
    if not age:
        return feats, motion, points, boxes
    velocity = boxes[:, 8:10]
    step = velocity * age
    if flow is not None:
        seconds = max(min(age, HORIZON_S), -HORIZON_S)
        feats = feats + flow.feats.to(feats) * seconds
        motion = motion + flow.motion.to(motion) * seconds
        state = flow.state.to(boxes)
        step = step + state[:, :2] * age + state[:, 2:] * (0.5 * seconds**2)
        velocity = velocity + state[:, :2] + state[:, 2:] * seconds
    points = torch.cat([points[:, :2] + step, points[:, 2:]], -1)
    boxes = torch.cat([boxes[:, :2] + step, boxes[:, 2:8], velocity], -1)
    return feats, motion, points, boxes
