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

"""Maps, frame by frame: parity with the whole model, alignment, sources, and bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from map_frames import SECOND, SMALL, ring_frame, small_model

from cooptrack_core.errors import InputError
from cooptrack_core.geometry import SE3, MapGrid
from cooptrack_core.models.cobevt.preprocess import prepare_scene
from cooptrack_core.perception import BevMapper, load_map_model, semantic_ids, static_ids
from cooptrack_core.structures import BevFeature, BevMap, Source
from cooptrack_core.v2x import InboxSettings, MapInbox, decode_bev, encode_bev


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory):
    return small_model(tmp_path_factory.mktemp('maps') / 'small.safetensors')


def sent(model, frame) -> BevFeature:
    found = BevMapper(model, frame.agent_id, 7).sense(frame)
    assert found is not None
    return found


def fused(model, frame, others=(), **settings):
    mapper = BevMapper(model, frame.agent_id, **settings)
    return mapper.fuse(frame, mapper.sense(frame), others)


def test_two_agents_step_by_step_give_the_map_of_the_whole_model(model):
    ego, other = ring_frame(yaw=0.3), ring_frame('b', 20.0, 2.0)
    with torch.inference_mode():
        logits = model.network(prepare_scene([ego, other], model.config)).logits
    made = fused(model, ego, [sent(model, other)]).map
    vehicle = logits['dynamic'][0].softmax(0)[1].numpy()
    static = logits['static'][0].softmax(0).numpy()
    expected = np.stack([vehicle, static[1] + static[2], static[2]])
    assert made.class_names == ('vehicle', 'drivable', 'lane')
    np.testing.assert_allclose(made.probabilities, expected, atol=2e-5)
    sure = np.abs(np.diff(np.sort(static, 0)[-2:], axis=0)[0]) > 1e-4
    np.testing.assert_array_equal(static_ids(made)[sure], static.argmax(0)[sure])
    assert made.remote_agents == ('b',)
    assert made.world_SE3_agent is ego.world_SE3_body


def test_the_message_survives_the_radio_and_changes_the_map_little(model):
    ego, other = ring_frame(), ring_frame('b', 15.0)
    message = sent(model, other)
    over_the_air = decode_bev(encode_bev(message, 'fp32'), model.limits)
    exact = fused(model, ego, [message]).map.probabilities
    np.testing.assert_array_equal(fused(model, ego, [over_the_air]).map.probabilities, exact)
    rounded = decode_bev(encode_bev(message, 'int8'), model.limits)
    difference = np.abs(fused(model, ego, [rounded]).map.probabilities - exact)
    assert difference.max() > 0 and difference.mean() < 0.02


def test_an_old_map_lies_where_its_sender_was(model):
    """The sender drove on and the ego drove on: only where each was and is counts."""
    message = sent(model, ring_frame('b', 20.0, 0.4))
    late = replace(message, stamp_ns=message.stamp_ns - SECOND // 3)
    ego = ring_frame(x=4.0)
    made, again = fused(model, ego, [message]).map, fused(model, ego, [late]).map
    np.testing.assert_array_equal(made.probabilities, again.probabilities)
    elsewhere = fused(model, ring_frame(x=8.0), [message]).map
    # 4 m of the ego's own motion move the border of what the other covers by 4 m.
    ahead = [np.flatnonzero((m.source == Source.FUSED)[:, 128])[0] for m in (made, elsewhere)]
    behind = [np.flatnonzero((m.source == Source.FUSED)[:, 128])[-1] for m in (made, elsewhere)]
    assert ahead == [0, 0]
    assert (behind[0] - behind[1]) * made.grid.cell == pytest.approx(-4.0, abs=0.4)


def test_each_cell_names_whose_maps_cover_it(model):
    ego, other = ring_frame(), ring_frame('b', 40.0)
    message = sent(model, other)
    both = fused(model, ego, [message]).map
    rows = np.arange(256)
    x = (127.5 - rows) * both.grid.cell
    np.testing.assert_array_equal((both.source == Source.FUSED)[:, 10], x > -10)
    assert set(np.unique(both.source)) == {Source.EGO, Source.FUSED}
    assert set(np.unique(fused(model, ego).map.source)) == {Source.EGO}
    blind = fused(model, replace(ego, images=()), [message]).map
    assert set(np.unique(blind.source)) == {Source.UNKNOWN, Source.REMOTE}
    ids = semantic_ids(blind)
    np.testing.assert_array_equal(ids == 255, blind.source == Source.UNKNOWN)
    nobody = fused(model, replace(ego, images=())).map
    assert not nobody.probabilities.any() and not nobody.source.any()
    assert (semantic_ids(nobody) == 255).all()


def test_vehicles_are_painted_over_lanes_over_drivable_ground():
    drivable = np.array([[0.9, 0.9, 0.1, 0.9]], np.float32)
    lane = np.array([[0.1, 0.6, 0.0, 0.6]], np.float32)
    vehicle = np.array([[0.1, 0.1, 0.9, 0.9]], np.float32)
    made = BevMap(
        's', 'f', 0, MapGrid(1, 4, 1.0), SE3.identity(), np.stack([vehicle, drivable, lane]),
        ('vehicle', 'drivable', 'lane'), np.full((1, 4), int(Source.EGO)),
    )  # fmt: skip
    assert semantic_ids(made).tolist() == [[1, 2, 3, 3]]
    assert static_ids(made).tolist() == [[1, 2, 0, 2]]


def test_maps_that_cannot_take_part_are_left_out_with_their_reason(model):
    ego, good = ring_frame(), sent(model, ring_frame('good', 15.0))
    other = replace(good, agent_id='bad')
    nan, vast = good.features.copy(), good.features.copy()
    nan[0, 3, 3], vast[0, 3, 3] = np.nan, 1e30
    lying = SE3(np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]), other.world_SE3_agent.translation)
    far = SE3(np.eye(3), good.world_SE3_agent.translation + np.array([500.0, 0, 0]))
    coarse = replace(good.grid, cell=2 * good.grid.cell)
    cases = {
        'model': replace(other, model_id='another'),
        'grid': replace(other, grid=coarse),
        'channels': replace(other, features=good.features[:-1]),
        'not_finite': replace(other, features=nan),
        'out_of_bounds': replace(other, features=vast),
        'out_of_reach': replace(other, world_SE3_agent=far),
        'own_echo': replace(other, agent_id='ego'),
        'superseded': replace(good, stamp_ns=good.stamp_ns - 1),
    }
    expected = fused(model, ego, [good]).map
    for reason, bad in cases.items():
        mapper = BevMapper(model, 'ego')
        result = mapper.fuse(ego, mapper.sense(ego), [bad, good])
        assert [str(one.reason) for one in result.left_out] == [reason]
        np.testing.assert_array_equal(result.map.probabilities, expected.probabilities)
        assert mapper.stats.left_out == {reason: 1} and mapper.stats.fused == 1
    leaning = fused(model, ego, [replace(other, world_SE3_agent=lying), good])
    assert [str(one.reason) for one in leaning.left_out] == ['out_of_bounds']
    np.testing.assert_array_equal(leaning.map.probabilities, expected.probabilities)


def test_the_farthest_agents_are_left_out_when_there_are_too_many(model):
    others = [sent(model, ring_frame(name, x)) for name, x in (('a', 30), ('b', 5), ('c', 12))]
    result = fused(model, ring_frame(), others, max_agents=3)
    assert result.map.remote_agents == ('b', 'c')
    assert [(one.agent_id, str(one.reason)) for one in result.left_out] == [
        ('a', 'too_many_agents')
    ]


def test_the_largest_values_a_message_can_hold_leave_the_map_finite(model):
    message = sent(model, ring_frame('b', 10.0))
    random = np.random.default_rng(0)
    signs = random.choice([-65504.0, 65504.0], message.features.shape).astype(np.float32)
    made = fused(model, ring_frame(), [replace(message, features=signs)]).map
    assert np.isfinite(made.probabilities).all()


def test_a_missing_camera_is_counted_and_the_rest_of_the_ring_makes_the_map(model):
    mapper = BevMapper(model, 'ego')
    whole = mapper.sense(ring_frame())
    part = mapper.sense(ring_frame(cameras=('front', 'left')))
    assert not np.array_equal(whole.features, part.features)
    assert mapper.stats.cameras_missing == {'back': 1, 'right': 1}
    assert mapper.sense(ring_frame(cameras=())) is None
    assert (mapper.stats.frames, mapper.stats.blind) == (3, 1)
    # Another scene may have another ring; numbers go on, and only what is sent is numbered.
    following = mapper.sense(ring_frame(cameras=('front',), scene='next'))
    assert mapper.stats.cameras_missing['left'] == 1 and following.sequence == 2


def test_weights_that_give_no_number_send_nothing(model, tmp_path):
    broken = small_model(tmp_path / 'broken.safetensors')
    next(broken.network.compressor.parameters()).data.fill_(float('nan'))
    mapper = BevMapper(broken, 'ego')
    assert mapper.sense(ring_frame()) is None and mapper.stats.unusable == 1


def test_weights_without_fusion_map_alone_and_say_so(tmp_path):
    alone = small_model(tmp_path / 'alone.safetensors', replace(SMALL, operator='no_fusion'))
    ego, message = ring_frame(), sent(alone, ring_frame('b', 5.0))
    result = fused(alone, ego, [message])
    assert [str(one.reason) for one in result.left_out] == ['model']
    np.testing.assert_array_equal(result.map.probabilities, fused(alone, ego).map.probabilities)
    assert not fused(alone, replace(ego, images=()), [message]).map.probabilities.any()


def test_frames_of_others_and_stale_own_maps_are_errors(model):
    mapper, ego = BevMapper(model, 'ego'), ring_frame()
    with pytest.raises(ValueError, match='was given to ego'):
        mapper.sense(ring_frame('b'))
    own = mapper.sense(ego)
    with pytest.raises(ValueError, match='not of the frame'):
        mapper.fuse(replace(ego, stamp_ns=ego.stamp_ns + 1), own)
    with pytest.raises(InputError, match='no weights of CoBEVT'):
        from cooptrack_core.resources import weights_path

        load_map_model(weights_path('tiny_agent.safetensors'))


def test_a_map_takes_part_in_several_cycles_while_it_is_young(model):
    box = MapInbox(model.model_id, 'ego', InboxSettings(), model.limits)
    message = sent(model, ring_frame('b', 10.0))
    assert box.receive(encode_bev(message), SECOND)
    taken = []
    for later in (0, 200, 400, 600):
        frame = ring_frame(stamp_ns=SECOND + later * 1_000_000)
        others = box.latest(frame.stamp_ns, new_only=False)
        taken.append(fused(model, frame, others).map.remote_agents)
    assert taken == [('b',), ('b',), ('b',), ()]


@settings(max_examples=4)
@given(order=st.permutations(range(3)), yaw=st.floats(-3.0, 3.0))
def test_the_order_in_which_maps_are_at_hand_does_not_matter(model, order, yaw):
    message = sent(model, ring_frame('a', 8.0, 1.0))
    poses = [ring_frame('x', 5.0 * i, i).world_SE3_body for i in range(3)]
    others = [
        replace(message, agent_id=f'a{i}', world_SE3_agent=pose) for i, pose in enumerate(poses)
    ]
    ego = ring_frame(yaw=yaw)
    first = fused(model, ego, others).map
    second = fused(model, ego, [others[i] for i in order]).map
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    np.testing.assert_array_equal(first.source, second.source)
