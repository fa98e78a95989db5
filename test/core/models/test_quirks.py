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

"""Each official quirk changes what it should, and nothing else does."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import torch
from small import config, frame, model, remote

import cooptrack_core.models.cooptrack.quirks as quirks_module
from cooptrack_core.geometry import SE3
from cooptrack_core.models.cooptrack.config import (
    CooperationConfig,
    ModelConfig,
    TrackingConfig,
)
from cooptrack_core.models.cooptrack.interface import FrameOutputs, RemoteInstances
from cooptrack_core.models.cooptrack.quirks import OfficialQuirks

# Switches that the training stages read; the model itself does not.
TRAINING = {
    'rule_pairs_in_training',
    'association_alpha_off',
    'cooperative_decoder_unsupervised',
    'stale_overlap',
}
# Switches with a test of their own, here or in the tests of fusion.
ELSEWHERE = {
    'accept_all_pairs',
    'no_score_mask_at_inference',
    'complement_drops_tracks',
    'temporal_attention_mixes_batch',
    'visibility_of_first_sample',
    'zero_bev_starts_training',
    'rule_matching_ignores_scores',
    'resets_above_half_a_second',
}
NAMES = [f.name for f in dataclasses.fields(OfficialQuirks)]


def settings(quirks: OfficialQuirks) -> ModelConfig:
    """Thresholds inside the range of what the random model answers."""
    cooperation = CooperationConfig(block=8, score_threshold=0.92, affinity_threshold=0.97)
    tracking = TrackingConfig(score_threshold=0.515, output_threshold=0.505)
    return config(quirks=quirks, cooperation=cooperation, tracking=tracking)


def run(quirks: OfficialQuirks) -> list[FrameOutputs]:
    """Three frames with a turn through north and two messages each."""
    torch.manual_seed(3)
    network = model(settings(quirks))
    with torch.no_grad():  # spread the scores
        network.refine.to_logits[-1].weight.mul_(2)
        network.refine.to_logits[-1].bias.fill_(-0.8)
        for head in network.decoder.class_heads:
            head[-1].weight.mul_(3)
        network.cooperation.associate.affinity[-1].weight.mul_(3)
    memory, outputs = None, []
    with torch.inference_mode():
        for i in range(3):
            pose = SE3.from_yaw(-0.15 + 0.1 * i, (500_000.3 + 3.0 * i, 4_000_000.7, 0.0))
            result, memory = network(frame(i, pose), memory, [remote(6, i), near_ego(i)])
            outputs.append(result)
    return outputs


def near_ego(i: int) -> RemoteInstances:
    message = remote(2, i, 'vehicle_1', SE3.identity())
    refs = torch.tensor([[0.502, 0.5, 0.5], [0.7, 0.6, 0.5]])
    return dataclasses.replace(message, ref_pts=refs)


def same(a: list[FrameOutputs], b: list[FrameOutputs]) -> bool:
    return all(
        x.queries.boxes.shape == y.queries.boxes.shape
        and torch.equal(x.queries.boxes, y.queries.boxes)
        and torch.equal(x.queries.ids, y.queries.ids)
        and torch.equal(x.start.boxes, y.start.boxes)
        for x, y in zip(a, b, strict=True)
    )


@pytest.fixture(scope='module')
def repaired() -> list[FrameOutputs]:
    return run(OfficialQuirks())


def test_the_default_is_repaired_and_official_is_everything() -> None:
    assert not any(dataclasses.astuple(OfficialQuirks()))
    assert all(dataclasses.astuple(OfficialQuirks.official()))


def test_every_switch_says_why_in_a_line() -> None:
    source = Path(quirks_module.__file__).read_text(encoding='utf-8')
    for name in NAMES:
        assert re.search(rf'#[^\n]+\n    {name}: bool = False', source), name


def test_some_queries_live_and_some_do_not(repaired: list[FrameOutputs]) -> None:
    assert 0 < int(repaired[0].live.sum()) < len(repaired[0].queries)


def test_the_repaired_model_is_deterministic(repaired: list[FrameOutputs]) -> None:
    assert same(repaired, run(OfficialQuirks()))


# Switched alone, the aliased shift has no shift to alias, so it goes with the wrong axis.
@pytest.mark.parametrize('name', sorted(set(NAMES) - TRAINING - ELSEWHERE - {'shift_both_queues'}))
def test_a_switch_changes_the_result(name: str, repaired: list[FrameOutputs]) -> None:
    assert not same(repaired, run(OfficialQuirks(**{name: True})))


def test_the_aliased_shift_moves_both_queues() -> None:
    one = run(OfficialQuirks(shift_along_wrong_axis=True))
    both = run(OfficialQuirks(shift_along_wrong_axis=True, shift_both_queues=True))
    assert not same(one, both)


def test_official_ids_jump_by_the_number_of_queries() -> None:
    official = run(OfficialQuirks.official())
    assert official[0].queries.ids.min() == 1
    assert official[0].queries.ids.max() == 20
    assert official[1].queries.ids.max() > 21


def test_batch_quirks_matter_for_batches_alone() -> None:
    images, matrices = torch.randn(2, 1, 3, 64, 96), frame(0).agent_to_image.expand(2, 1, 4, 4)
    matrices = matrices.clone()
    matrices[1, :, 0, 3] += 400.0  # the second camera sees other cells
    previous = torch.randn(2, 100, 32)
    results = {}
    for name in ('none', 'temporal_attention_mixes_batch', 'visibility_of_first_sample'):
        quirks = OfficialQuirks(**({} if name == 'none' else {name: True}))
        network = model(config(quirks=quirks))
        for layer in network.bev_encoder.layers:  # the start values would hide the mixing
            torch.nn.init.normal_(layer.temporal.attention_weights.weight)
        with torch.inference_mode():
            alone = network.perceive(images[1:], matrices[1:], previous[1:]).bev[0]
            results[name] = (alone, network.perceive(images, matrices, previous).bev[1])
    torch.testing.assert_close(*results['none'], atol=1e-4, rtol=1e-4)
    for name in ('temporal_attention_mixes_batch', 'visibility_of_first_sample'):
        alone, together = results[name]
        assert (alone - together).abs().max() > 1e-3, name


def test_a_zero_memory_starts_training_only_as_a_quirk() -> None:
    images, matrices = torch.randn(1, 1, 3, 64, 96), frame(0).agent_to_image[None]
    quirk = model(config(quirks=OfficialQuirks(zero_bev_starts_training=True)))
    with torch.inference_mode():
        evaluated = quirk.perceive(images, matrices).bev
        trained = quirk.train().perceive(images, matrices).bev
        plain = model(config()).train().perceive(images, matrices).bev
    torch.testing.assert_close(evaluated, plain)
    assert (trained - plain).abs().max() > 1e-3
