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

"""Baseline: queries fused before the decoder."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import config, frame, model, remote

from cooptrack_core.errors import InputError
from cooptrack_core.geometry import SE3
from cooptrack_core.models.checkpoint import load_weights, save_weights
from cooptrack_core.models.cooptrack import box_code
from cooptrack_core.models.cooptrack.config import CooperationConfig, ModelConfig
from cooptrack_core.models.cooptrack.interface import RemoteInstances, TrackMemory
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.structures import Source


def settings_of(**changes: object) -> ModelConfig:
    base = CooperationConfig(fusion='queries', score_threshold=0.05)
    return config(cooperation=dataclasses.replace(base, **changes))


def network(**changes: object) -> CoopTrack:
    return model(settings_of(**changes), confident=1.5)


def at(points: torch.Tensor, agent_id: str = 'roadside') -> RemoteInstances:
    """Instances at points (metres, receiver's frame)."""
    base = remote(len(points), agent_id=agent_id, pose=SE3.identity())
    return dataclasses.replace(base, ref_pts=box_code.normalise(points, base.range))


def after_one_frame(fusing: CoopTrack) -> TrackMemory:
    with torch.no_grad():
        memory = fusing(frame(0))[1]
    assert len(memory.live) > 3
    return memory


NETWORK = network()
MEMORY = after_one_frame(NETWORK)


def place(refs: torch.Tensor, fusing: CoopTrack) -> torch.Tensor:
    return box_code.denormalise(refs, fusing.config.range)


def test_without_messages_it_is_the_single_agent_model() -> None:
    fusing = network()
    alone = CoopTrack(dataclasses.replace(fusing.config, cooperation=None)).eval()
    alone.load_state_dict(fusing.state_dict(), strict=False)
    with torch.no_grad():
        for messages in ([], [remote(0)]):
            outputs = fusing(frame(0), None, messages)[0]
            expected = alone(frame(0))[0]
            assert torch.equal(outputs.queries.boxes, expected.queries.boxes)
            assert torch.equal(outputs.queries.ids, expected.queries.ids)


def test_instances_without_a_partner_are_decoded_as_further_queries() -> None:
    fusing = network()
    with torch.no_grad():
        outputs = fusing(frame(0), None, [remote(6)])[0]
    kept = int(outputs.remotes[0].kept.sum())
    assert kept > 0
    assert len(outputs.remotes[0].ego_rows) == 0, 'learnt queries have no score'
    assert outputs.decoder.boxes.shape[2] == len(outputs.queries) == 20 + kept
    assert outputs.sources.tolist() == [Source.EGO] * 20 + [Source.REMOTE] * kept
    # They start where the sender saw them and the decoder moves them.
    assert torch.equal(outputs.start.refs[20:], outputs.remotes[0].refs)
    assert not torch.equal(outputs.decoder.last_refs[0, 20:], outputs.remotes[0].refs)
    # The output of the decoder is all of their history.
    history = outputs.queries.hist_padding[20:]
    assert history[:, :-1].all() and not history[:, -1].any()


def test_an_added_instance_lives_on_under_its_id_and_is_matched_again() -> None:
    fusing = network()
    with torch.no_grad():
        outputs, memory = fusing(frame(0), None, [remote(2)])
        ids = outputs.queries.ids[20:].tolist()
        assert set(ids) <= set(memory.live.ids.tolist())
        start = fusing.step(frame(1), memory).start
        row = start.ids.tolist().index(ids[0])
        again = at(place(start.refs[row : row + 1], fusing))
        outputs, _ = fusing(frame(1), memory, [again])
    assert outputs.remotes[0].ego_rows.tolist() == [row]
    assert outputs.queries.ids[row] == ids[0]
    assert outputs.sources[row] == Source.FUSED
    assert outputs.remote_agents[row] == ('roadside',)


@pytest.mark.parametrize('weight', [0.5, 0.8])
def test_a_matched_track_adds_the_feature_and_meets_in_between(weight: float) -> None:
    fusing = network(remote_weight=weight)
    memory = after_one_frame(fusing)
    with torch.no_grad():
        before = fusing.step(frame(1), memory)
        row = int(before.start.tracked.nonzero()[0])
        shift = torch.tensor([[0.2, -0.1, 0.0]])
        message = at(place(before.start.refs[row : row + 1], fusing) + shift)
        outputs = fusing.step(frame(1), memory, [message])
    (aligned,) = outputs.remotes
    assert aligned.ego_rows.tolist() == [row]
    own = place(before.start.refs[row], fusing)
    torch.testing.assert_close(
        place(outputs.start.refs[row], fusing), own + weight * shift[0], atol=1e-4, rtol=0
    )
    added = outputs.start.feats[row] - before.start.feats[row]
    fuse = fusing.query_fusion.fuse_feats
    torch.testing.assert_close(added, aligned.feats[0] + fuse.bias)  # the layer starts as this
    torch.testing.assert_close(
        outputs.start.embeds[row], fusing.learnt.embed(outputs.start.refs[row])
    )
    others = torch.arange(len(before.start)) != row
    assert torch.equal(outputs.start.feats[others], before.start.feats[others])
    torch.testing.assert_close(outputs.unfused_refs, before.start.refs)


def test_learnt_queries_are_candidates_under_a_threshold_below_zero_only() -> None:
    for threshold, expected in ((0.05, 0), (-1.0, 1)):
        fusing = network(score_threshold=threshold)
        point = place(fusing.learnt.refs.weight[7:8].detach(), fusing)
        with torch.no_grad():
            outputs = fusing(frame(0), None, [at(point)])[0]
        assert len(outputs.remotes[0].ego_rows) == expected


@settings(deadline=None, max_examples=20)
@given(st.floats(0.0, 6.0), st.floats(-math.pi, math.pi))
def test_pairs_are_within_the_gate(distance: float, angle: float) -> None:
    shift = torch.tensor([math.cos(angle), math.sin(angle), 0.0]) * distance
    fusion = NETWORK.query_fusion
    track = MEMORY.live.select(torch.tensor([0]))
    track = track.replace(refs=torch.full((1, 3), 0.6))
    message = at(place(track.refs, NETWORK) + shift)
    aligned = fusion.match(track, fusion.align(message, NETWORK.learnt.embed))
    assert aligned.kept.all()
    if abs(distance - 3.5) > 1e-3:
        assert (len(aligned.ego_rows) == 1) == (distance < 3.5)


def test_an_instance_of_one_agent_is_matched_by_the_next() -> None:
    points = torch.tensor([[20.0, 5.0, -1.0], [30.0, -8.0, -1.0]])
    with torch.no_grad():
        outputs = NETWORK(frame(0), None, [at(points, 'b'), at(points, 'a')])[0]
    assert [r.agent_id for r in outputs.remotes] == ['a', 'b']
    assert outputs.remotes[1].ego_rows.tolist() == [20, 21]
    assert len(outputs.queries) == 22
    assert outputs.remote_agents[20] == ('a', 'b')
    assert outputs.sources[20] == Source.REMOTE, 'the ego itself had nothing there'


def test_instances_move_by_the_relative_pose_and_keep_their_features_at_the_start() -> None:
    fusion, embed = NETWORK.query_fusion, NETWORK.learnt.embed
    message = remote(5)
    aligned = fusion.align(message, embed)
    points = box_code.denormalise(message.ref_pts, message.range).double()
    moved = points @ torch.from_numpy(message.ego_T_remote[:3, :3].T)
    moved = (moved + torch.from_numpy(message.ego_T_remote[:3, 3])).float()
    torch.testing.assert_close(
        place(aligned.refs, NETWORK), moved[aligned.kept], atol=1e-4, rtol=0
    )
    sent = message.query_feats[aligned.kept]
    torch.testing.assert_close(aligned.feats, sent + fusion.align_feats.bias)


def test_every_part_of_the_fusion_gets_a_gradient() -> None:
    fusing = network().train()
    start = fusing.step(frame(1), MEMORY).start
    row = int(start.tracked.nonzero()[0])
    near = place(start.refs[row : row + 1], fusing).detach()
    far = torch.tensor([[40.0, 30.0, -1.0]])
    message = at(torch.cat([near, far]))
    outputs = fusing.step(frame(1), MEMORY, [message])
    outputs.queries.logits.sum().backward()
    assert len(outputs.remotes[0].ego_rows) == 1
    for name, parameter in fusing.query_fusion.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_weights_know_which_fusion_they_belong_to(tmp_path) -> None:
    path = tmp_path / 'w.safetensors'
    fusing = network()
    save_weights(fusing, path)
    assert load_weights(path).query_fusion is not None
    other = dataclasses.replace(fusing.config, cooperation=CooperationConfig())
    with pytest.raises(InputError, match='cooperation'):
        load_weights(path, other)
