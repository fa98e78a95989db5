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

"""Tracks find their velocity from where they turn up."""

from __future__ import annotations

import dataclasses
import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import config, frame, model

from cooptrack_core.models.cooptrack import box_code
from cooptrack_core.models.cooptrack.interface import QuerySet
from cooptrack_core.tracking.velocity import corrected_velocity, rolling_velocity

SECONDS = 0.1
_LEARNT = model().learnt
speeds = st.floats(-20.0, 20.0)


def queries(xy: torch.Tensor, velocity: torch.Tensor, tracked: torch.Tensor) -> QuerySet:
    """(n) queries at places (n, 2) with velocities (n, 2)."""
    n = len(xy)
    fresh = _LEARNT.fresh(torch.arange(n), 3, 4)
    boxes = box_code.with_centre(
        torch.zeros(n, box_code.CODE_SIZE), torch.cat([xy, torch.zeros(n, 1)], 1)
    )
    boxes[:, 8:10] = velocity
    return fresh.replace(boxes=boxes, tracked=tracked)


@settings(deadline=None, max_examples=25)
@given(vx=speeds, vy=speeds, gain=st.floats(0.1, 1.0))
def test_a_steady_object_is_soon_followed_without_lag(vx: float, vy: float, gain: float):
    true, place = torch.tensor([[vx, vy]]), torch.zeros(1, 2)
    velocity, here = torch.zeros(1, 2), torch.tensor([0])
    tracked = torch.ones(1, dtype=torch.bool)
    for _ in range(60):
        start = queries(place + velocity * SECONDS, velocity, tracked)
        place = place + true * SECONDS
        found = queries(place, torch.full((1, 2), 99.0), tracked)
        velocity = corrected_velocity(found, start, here, SECONDS, gain).boxes[:, 8:10]
    torch.testing.assert_close(velocity, true, atol=0.1, rtol=0.0)


def test_new_queries_and_other_fields_are_left_alone():
    tracked = torch.tensor([True, False, True])
    zeros = torch.zeros(3, 2)
    start = queries(zeros, zeros, tracked)
    found = queries(zeros + 1.0, zeros + 7.0, tracked)
    rows = torch.tensor([0, 1, -1])  # the last one is a remote instance
    result = corrected_velocity(found, start, rows, SECONDS, 0.5)
    assert result.boxes[:, 8].tolist() == [5.0, 7.0, 7.0]  # 0.5 x 1 m / 0.1 s
    assert torch.equal(result.boxes[:, :8], found.boxes[:, :8])
    for seconds, gain in ((SECONDS, 0.0), (0.0, 0.5)):
        assert corrected_velocity(found, start, rows, seconds, gain) is found


def test_the_first_innovation_counts_most():
    tracked, zeros = torch.ones(4, dtype=torch.bool), torch.zeros(4, 2)
    start, found = queries(zeros, zeros, tracked), queries(zeros + 1.0, zeros, tracked)
    filled = torch.arange(4)[:, None] >= 3 - torch.arange(4)[None]  # row k: k + 1 slots
    start = start.replace(hist_padding=~filled)
    result = corrected_velocity(found, start, torch.arange(4), SECONDS, 0.1, 0.4)
    torch.testing.assert_close(result.boxes[:, 8], torch.tensor([4.0, 3.0, 2.0, 1.0]))
    same = corrected_velocity(found, start, torch.arange(4), SECONDS, 0.1)
    torch.testing.assert_close(same.boxes[:, 8], torch.ones(4))


def test_a_streaming_model_uses_it_from_the_second_frame_on():
    plain = model(config('lift'), confident=1.0)
    tracking = dataclasses.replace(plain.config.tracking, velocity_gain=0.5)
    changed = model(dataclasses.replace(plain.config, tracking=tracking), confident=1.0)
    memories = [None, None]
    for step in range(2):
        outputs = []
        for i, network in enumerate((plain, changed)):
            with torch.inference_mode():
                out, memories[i] = network(frame(step), memories[i])
            outputs.append(out.queries)
        a, b = (q.boxes[:, 8:10] for q in outputs)
        assert torch.equal(a, b) == (step == 0)
        torch.testing.assert_close(outputs[0].boxes[:, :8], outputs[1].boxes[:, :8])
    assert outputs[0].tracked.any()


@settings(deadline=None, max_examples=25)
@given(yaw=st.floats(-3.1, 3.1), along=speeds, side=speeds, share=st.floats(0.0, 1.0))
def test_what_has_wheels_loses_its_sideways_velocity_and_a_pedestrian_does_not(
    yaw: float, along: float, side: float, share: float
):
    ahead = torch.tensor([math.cos(yaw), math.sin(yaw)])
    left = torch.tensor([-math.sin(yaw), math.cos(yaw)])
    velocity = (along * ahead + side * left).expand(3, 2)
    found = queries(torch.zeros(3, 2), velocity, torch.ones(3, dtype=torch.bool))
    boxes = found.boxes.clone()
    psi = -yaw - math.pi / 2
    boxes[:, 6], boxes[:, 7] = 0.7 * math.sin(psi), 0.7 * math.cos(psi)  # never of length one
    found = found.replace(boxes=boxes, logits=5 * torch.eye(3))  # a car, a bicycle, a pedestrian
    result = rolling_velocity(found, share).boxes
    expected = along * ahead + share * side * left
    torch.testing.assert_close(result[:2, 8:10], expected.expand(2, 2), atol=1e-4, rtol=1e-4)
    assert torch.equal(result[2], boxes[2])
    assert torch.equal(result[:, :8], boxes[:, :8])
    assert rolling_velocity(found, 1.0) is found
