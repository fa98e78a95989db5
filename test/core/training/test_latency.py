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

"""The feature flow: what it changes, what it learns, how it crosses the air."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cooptrack_core.models.cooptrack import box_code
from cooptrack_core.models.cooptrack.config import LatencyConfig
from cooptrack_core.models.cooptrack.interface import QuerySet
from cooptrack_core.models.cooptrack.latency import FeatureFlow
from cooptrack_core.training.latency import Change, displacements, errors
from cooptrack_core.training.targets import GroundTruth

DIMS, HISTORY = 6, 3


def queries(count: int, seed: int = 0) -> QuerySet:
    draw = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw)

    number = torch.arange(count)
    return QuerySet(
        feats=noise(count, DIMS), embeds=noise(count, DIMS), motion=noise(count, DIMS),
        refs=torch.rand(count, 3, generator=draw), boxes=noise(count, box_code.CODE_SIZE),
        logits=noise(count, 3), scores=torch.rand(count, generator=draw), ids=number,
        missed=number * 0, tracked=number >= 0, learnt=number, remote_bits=number * 0,
        hist_feats=noise(count, HISTORY, DIMS), hist_motion=noise(count, HISTORY, DIMS),
        hist_padding=torch.zeros(count, HISTORY, dtype=torch.bool), best=torch.zeros(count),
    )  # fmt: skip


def flow_module(seed: int = 0, zero: bool = True) -> FeatureFlow:
    torch.manual_seed(seed)
    module = FeatureFlow(DIMS, HISTORY, LatencyConfig(width=16))
    if not zero:
        torch.nn.init.normal_(module.features[-1].weight)
        torch.nn.init.normal_(module.state[-1].weight)
    return module


def test_an_untrained_flow_is_none():
    flow = flow_module()(queries(4))
    for rates in (flow.feats, flow.motion, flow.state):
        assert not rates.any()


def test_empty_history_slots_do_not_matter():
    module, first = flow_module(zero=False), queries(3)
    padding = first.hist_padding.clone()
    padding[:, 0] = True
    hidden = first.replace(hist_padding=padding)
    other = hidden.hist_feats.clone()
    other[:, 0] += 100.0
    torch.testing.assert_close(
        module(hidden).feats, module(hidden.replace(hist_feats=other)).feats
    )
    assert not torch.allclose(module(first).feats, module(first.replace(hist_feats=other)).feats)


def steady(seconds: float, acceleration: float, seed: int) -> Change:
    """Instances whose features drift along their own history, objects that speed up."""
    now = queries(12, seed)
    rate = now.feats - now.hist_feats[:, -2]
    later = now.replace(feats=now.feats + rate * seconds)
    velocity = now.boxes[:, 8:10]
    direction = torch.tensor([1.0, 0.0]) * acceleration
    moved = velocity * seconds + 0.5 * direction * seconds**2
    return Change(now, seconds, torch.arange(12), later, moved)


def test_the_flow_learns_drift_and_acceleration_and_not_on_the_same_instances():
    module = flow_module()
    optimiser = torch.optim.Adam(module.parameters(), lr=3e-3)
    for step in range(600):
        losses = errors(module, steady(0.1 + 0.1 * (step % 5), 4.0, step))
        optimiser.zero_grad()
        torch.stack([v.mean() for v in losses.values()]).sum().backward()
        optimiser.step()
    unseen = steady(0.5, 4.0, 10_000)
    with torch.no_grad():
        learnt, still = errors(module, unseen), errors(flow_module(), unseen)
    assert learnt['feats'].mean() < 0.3 * still['feats'].mean()
    assert learnt['place'].mean() < 0.3 * still['place'].mean()


def test_objects_are_followed_from_the_first_to_the_second_frame():
    def truth(*rows: tuple[int, float, float]) -> GroundTruth:
        codes = torch.zeros(len(rows), box_code.CODE_SIZE)
        codes[:, :2] = torch.tensor([r[1:] for r in rows])
        codes[:, 7] = 1.0
        ids = torch.tensor([r[0] for r in rows])
        return GroundTruth(codes, torch.zeros(len(rows), dtype=torch.int64), ids)

    live = queries(3)
    boxes = live.boxes.clone()
    boxes[:, :2] = torch.tensor([[10.5, 0.0], [20.0, 5.0], [40.0, 0.0]])
    ahead = np.eye(4)
    ahead[0, 3] = 1.0  # the sender drove one metre
    now = truth((7, 10.0, 0.0), (8, 20.0, 5.0), (9, 50.0, 0.0))
    moved = displacements(live.replace(boxes=boxes), now, truth((7, 10.0, 0.0)), ahead)
    torch.testing.assert_close(moved[0], torch.tensor([1.0, 0.0]))
    assert moved[1].isnan().all()  # gone at the second frame
    assert moved[2].isnan().all()  # no object was near
    nothing = dataclasses.replace(now, codes=now.codes[:0], labels=now.labels[:0], ids=now.ids[:0])
    assert displacements(live, nothing, now, ahead).isnan().all()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 3), st.floats(0.1, 0.6))
def test_errors_are_finite_for_any_number_of_instances(count: int, seconds: float):
    now = queries(count)
    moved = torch.full((count, 2), float('nan'))
    change = Change(now, seconds, torch.full((count,), -1), now, moved)
    for values in errors(flow_module(zero=False), change).values():
        assert torch.isfinite(values).all()


def test_no_instance_gives_no_error():
    nothing = queries(0)
    change = Change(nothing, 0.1, torch.zeros(0, dtype=torch.int64), nothing, torch.zeros(0, 2))
    assert errors(flow_module(), change) == {}
