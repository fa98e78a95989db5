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

"""Remote instances: any number of agents, empty messages, the receiver's own box."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from small import config, frame, model, remote

from cooptrack_core.geometry import SE3
from cooptrack_core.models.cooptrack import box_code
from cooptrack_core.models.cooptrack.aggregation import final_order
from cooptrack_core.models.cooptrack.config import CooperationConfig, PlacementConfig
from cooptrack_core.models.cooptrack.interface import FrameOutputs, QuerySet, RemoteInstances
from cooptrack_core.models.cooptrack.quirks import OfficialQuirks
from cooptrack_core.structures import Source

OFFICIAL = OfficialQuirks.official()


def cooperation(**changes: object) -> CooperationConfig:
    base = CooperationConfig(block=8, score_threshold=0.0, affinity_threshold=0.0)
    return dataclasses.replace(base, **changes)


def run(
    remotes: list[RemoteInstances], quirks: OfficialQuirks | None = None, **changes: object
) -> FrameOutputs:
    network = model(config(quirks=quirks, cooperation=cooperation(**changes)))
    with torch.inference_mode():
        return network(frame(0), None, remotes)[0]


def at(points: list[list[float]], agent_id: str = 'roadside') -> RemoteInstances:
    """Instances at points (metres, receiver's frame)."""
    base = remote(len(points), agent_id=agent_id, pose=SE3.identity())
    refs = box_code.normalise(torch.tensor(points), base.range)
    return dataclasses.replace(base, ref_pts=refs)


def test_the_order_of_messages_does_not_matter() -> None:
    remotes = [remote(4, 1, 'b'), remote(3, 2, 'a'), remote(5, 3, 'c')]
    first, second = run(remotes), run(remotes[::-1])
    assert [r.agent_id for r in first.remotes] == ['a', 'b', 'c']
    assert torch.equal(first.queries.boxes, second.queries.boxes)
    assert torch.equal(first.queries.ids, second.queries.ids)


@pytest.mark.parametrize('quirks', [None, OFFICIAL])
def test_an_empty_message_fuses_nothing(quirks: OfficialQuirks | None) -> None:
    empty, none = run([remote(0)], quirks), run([], quirks)
    assert len(empty.remotes[0].refs) == 0
    torch.testing.assert_close(empty.queries.boxes, none.queries.boxes)
    assert (empty.sources == Source.EGO).all()
    # The cross-domain layers still run, so the order is by decoder score as with instances.
    scores = empty.decoder.logits[-1, 0].sigmoid().max(-1).values[empty.decoder_rows]
    assert (scores.diff() <= 0).all()


@pytest.mark.parametrize('quirks', [None, OFFICIAL])
def test_all_instances_out_of_range_is_as_an_empty_message(quirks: OfficialQuirks | None) -> None:
    far = dataclasses.replace(remote(4), ego_T_remote=SE3.from_yaw(0.0, (500.0, 0, 0)).matrix)
    outputs = run([far], quirks)
    assert not outputs.remotes[0].kept.any()
    torch.testing.assert_close(outputs.queries.boxes, run([], quirks).queries.boxes)


@pytest.mark.parametrize('count', [1, 2, 12])
def test_official_matching_pairs_every_instance(count: int) -> None:
    outputs = run([remote(count)], OFFICIAL)
    kept = int(outputs.remotes[0].kept.sum())
    assert kept > 0
    assert outputs.remotes[0].remote_rows.sort().values.tolist() == list(range(kept))
    assert len(outputs.queries) == 20
    assert int((outputs.sources == Source.FUSED).sum()) == kept


@pytest.mark.parametrize('weight', [0.5, 0.8])
def test_a_matched_pair_meets_in_between(weight: float) -> None:
    outputs = run([remote(3)], remote_weight=weight)
    (aligned,) = outputs.remotes
    assert len(aligned.ego_rows) > 0
    before = outputs.decoder.last_refs[0]
    for ego, other in zip(aligned.ego_rows.tolist(), aligned.remote_rows.tolist(), strict=True):
        (row,) = (outputs.decoder_rows == ego).nonzero()[:, 0].tolist()
        place = (1 - weight) * before[ego] + weight * aligned.refs[other]
        torch.testing.assert_close(outputs.fused_refs[row], place)


def test_instances_below_the_affinity_threshold_become_queries() -> None:
    outputs = run([remote(4)], affinity_threshold=1.1)
    kept = int(outputs.remotes[0].kept.sum())
    alone = outputs.sources == Source.REMOTE
    assert int(alone.sum()) == kept > 0
    assert len(outputs.queries) == 20  # the weakest vehicle queries made room
    assert outputs.remote_agents[int(alone.nonzero()[0])] == ('roadside',)


def test_an_added_instance_can_be_matched_by_the_next_agent() -> None:
    places = [[20.0, 5.0, -1.0], [30.0, -8.0, -1.0]]
    outputs = run([at(places, 'a'), at(places, 'b')], score_threshold=1.1, matching='rule')
    assert outputs.remotes[0].ego_rows.tolist() == []
    assert outputs.remotes[1].ego_rows.tolist() == [20, 21]
    both = [agents for agents in outputs.remote_agents if agents == ('a', 'b')]
    assert len(both) == 2


def test_the_receiver_itself_is_dropped_unless_official() -> None:
    points = [[0.5, 0.2, -1.0], [20.0, 0.0, -1.0]]
    assert run([at(points)]).remotes[0].kept.tolist() == [False, True]
    assert run([at(points)], OFFICIAL).remotes[0].kept.tolist() == [True, True]


def test_rule_matching_takes_the_nearest_within_the_gate() -> None:
    network = model(config(cooperation=cooperation(matching='rule')))
    with torch.inference_mode():
        alone, _ = network(frame(0))
        points = box_code.denormalise(alone.decoder.last_refs[0, 7:8], network.config.range)
        near, far = points + torch.tensor([[0.01, 0, 0]]), points + torch.tensor([[0, 0, 40.0]])
        outputs, _ = network(frame(0), None, [at([*near.tolist(), *far.tolist()])])
    (aligned,) = outputs.remotes
    assert aligned.affinity is None
    assert (aligned.ego_rows.tolist(), aligned.remote_rows.tolist()) == ([7], [0])


def test_far_pairs_are_not_fused_under_a_distance_gate() -> None:
    outputs = run([remote(6)], max_distance=0.001)
    assert outputs.remotes[0].ego_rows.tolist() == []


def test_an_old_message_is_moved_on_by_its_velocities() -> None:
    message = remote(4, pose=SE3.identity())
    late = dataclasses.replace(message, age_s=0.2)
    with torch.inference_mode():
        align = model(config()).cooperation.align
        now, then = align(message), align(late)
    step = torch.zeros(4, 3)
    step[:, :2] = message.boxes[:, 8:10] * 0.2
    expected = box_code.denormalise(now.refs, message.range) + step[now.kept]
    torch.testing.assert_close(
        box_code.denormalise(then.refs, message.range), expected, atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(
        box_code.centre(then.boxes)[:, :2],
        box_code.centre(now.boxes)[:, :2] + step[now.kept][:, :2],
    )


def test_live_tracks_never_make_room_for_added_instances() -> None:
    # Tracks with a low decoder score survive 30 added instances on 20 queries.
    network = model(config(cooperation=cooperation(affinity_threshold=1.1)), confident=1.5)
    with torch.inference_mode():
        _, memory = network(frame(0))
        assert len(memory.live) > 10
        outputs, after = network(frame(1), memory, [remote(30)])
    carried = set(memory.live.ids.tolist())
    assert carried <= set(outputs.queries.ids.tolist())
    assert len(after.live) <= network.config.decoder.queries


def test_every_pair_is_accepted_only_as_a_quirk() -> None:
    official = OfficialQuirks(accept_all_pairs=True)
    assert run([remote(4)], affinity_threshold=1.1).remotes[0].ego_rows.tolist() == []
    (aligned,) = run([remote(4)], official, affinity_threshold=1.1).remotes
    assert len(aligned.ego_rows) == int(aligned.kept.sum())


def test_background_queries_are_candidates_only_as_a_quirk() -> None:
    official = OfficialQuirks(no_score_mask_at_inference=True)
    assert len(run([remote(4)], score_threshold=1.1).remotes[0].candidates) == 0
    assert len(run([remote(4)], official, score_threshold=1.1).remotes[0].candidates) == 20


def test_rule_matching_ignores_scores_only_as_a_quirk() -> None:
    official = OfficialQuirks(rule_matching_ignores_scores=True)
    plan = {'score_threshold': 1.1, 'matching': 'rule', 'rule_distance': 200.0}
    assert run([remote(4)], **plan).remotes[0].ego_rows.tolist() == []
    assert len(run([remote(4)], official, **plan).remotes[0].ego_rows) > 0


def test_tracks_make_room_only_as_a_quirk() -> None:
    network = model(config())
    fresh = network.learnt.fresh(torch.arange(4), 3, 4)
    queries = fresh.replace(
        scores=torch.tensor([0.1, 0.9, 0.8, 0.0]),
        tracked=torch.tensor([True, False, False, False]),
        remote_bits=torch.tensor([0, 0, 0, 1]),
    )
    added = queries.select(torch.tensor([3]))
    everything = QuerySet.concatenate([queries, added])
    assert final_order(everything, 4, drops_tracks=True).tolist() == [3, 4, 1, 2]
    assert final_order(everything, 4, drops_tracks=False).tolist() == [3, 4, 1, 0]


def test_scores_are_shifted_by_where_an_object_comes_from() -> None:
    remotes = [remote(6, seed=3)]
    gate = 50.0  # metres; some instances have a query nearby and some have not
    plain = run(remotes, max_distance=gate)
    shifted = run(remotes, max_distance=gate, score_bias=(-1.0, 0.5, 2.0))
    assert torch.equal(plain.sources, shifted.sources)
    assert len(plain.sources.unique()) == 3  # all three kinds are there
    wanted = torch.tensor([0.0, -1.0, 0.5, 2.0])[plain.sources]
    torch.testing.assert_close(
        shifted.queries.logits - plain.queries.logits, wanted[:, None].expand(-1, 3)
    )
    torch.testing.assert_close(
        shifted.queries.scores, shifted.queries.logits.sigmoid().max(1).values
    )
    assert torch.equal(plain.queries.boxes, shifted.queries.boxes)


def test_only_what_nobody_sees_is_doubted() -> None:
    remotes = [remote(4)]
    plain, doubted = run(remotes), run(remotes, unseen_bias=-2.0)
    points = box_code.denormalise(plain.queries.refs, remotes[0].range)
    ahead = points[:, 0] > 0.1
    u, v = (48 - 100 * points[:, 1] / points[:, 0], 32 - 100 * points[:, 2] / points[:, 0])
    shown = ahead & (u > -0.5) & (u < 95.5) & (v > -0.5) & (v < 63.5)
    unseen = ~shown & (plain.queries.remote_bits == 0)
    assert unseen.any()
    assert shown.any()
    assert (plain.queries.remote_bits > 0).any()
    expected = plain.queries.logits - 2.0 * unseen[:, None]
    torch.testing.assert_close(doubted.queries.logits, expected)


def test_nothing_is_doubted_while_no_message_is_there() -> None:
    plain, doubted = run([]), run([], unseen_bias=-2.0)
    torch.testing.assert_close(doubted.queries.logits, plain.queries.logits)


@pytest.mark.parametrize('share', [0.0, 0.5, 1.0])
def test_the_senders_word_enters_the_scores_of_what_rests_on_it(share: float) -> None:
    said = torch.full((4, 3), -4.0)
    said[:, 1] = 3.0
    heard = dataclasses.replace(remote(4), logits=said)
    plain, mixed = run([remote(4)]), run([heard], sender_word=share)
    resting = plain.sources != Source.EGO
    assert resting.any()
    judged = plain.queries.logits[resting]
    expected = torch.lerp(judged, said[:1].expand_as(judged), share)
    torch.testing.assert_close(mixed.queries.logits[resting], expected)
    torch.testing.assert_close(mixed.queries.logits[~resting], plain.queries.logits[~resting])
    best = mixed.queries.logits.sigmoid().max(-1).values
    torch.testing.assert_close(mixed.queries.scores, best)


def test_pairs_meet_by_uncertainty_when_the_configuration_says_so() -> None:
    spread = PlacementConfig(vehicle=(9.0, 0.0, 9.0, 0.0), roadside=(0.1, 0.0, 0.1, 0.0))
    outputs = run([remote(3)], placement=spread)
    (aligned,) = outputs.remotes
    assert len(aligned.ego_rows) > 0
    for ego, other in zip(aligned.ego_rows.tolist(), aligned.remote_rows.tolist(), strict=True):
        (row,) = (outputs.decoder_rows == ego).nonzero()[:, 0].tolist()
        # The receiver hardly knows, so the pair is where the sender says.
        torch.testing.assert_close(outputs.fused_refs[row], aligned.refs[other], rtol=0, atol=1e-3)
