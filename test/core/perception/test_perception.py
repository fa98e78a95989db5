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

"""One agent alone and the ego with messages: what streaming promises, with untrained weights."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_models import camera_frame, save_pair

from cooptrack_core.errors import InputError
from cooptrack_core.geometry import SE3, Boxes3D
from cooptrack_core.models.cooptrack.preprocess import prepare_frame
from cooptrack_core.perception import (
    AgentPerception,
    CooperativePerception,
    ModelSet,
    PerceptionModel,
    RadioStream,
    StreamOptions,
    load_model,
)
from cooptrack_core.perception.cooperative import to_remote
from cooptrack_core.perception.methods import METHODS, make_methods, roadside_only
from cooptrack_core.perception.stream import EgoMoment
from cooptrack_core.perception.viewpoint import in_view, seen_by_ego
from cooptrack_core.structures import InstanceMessage, Source, TrackedObjects
from cooptrack_core.tracking.permanence import PermanenceConfig
from cooptrack_core.v2x import decode_message, encode_message
from cooptrack_core.v2x.inbox import MessageInbox

ROADSIDE_AT = (430.0, -190.0, 20.0)


@pytest.fixture(scope='module')
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[PerceptionModel, PerceptionModel]:
    agent, cooperative = save_pair(tmp_path_factory.mktemp('weights'))
    return load_model(agent), load_model(cooperative)


def message_of(
    model: PerceptionModel, agent_id: str, ms: float, **changes: object
) -> InstanceMessage:
    frame = camera_frame(agent_id, ms, position=ROADSIDE_AT, yaw=-2.5)
    sent = AgentPerception(model, agent_id, 1).process(frame).message
    assert len(sent) > 0
    return replace(sent, **changes)  # type: ignore[arg-type]


def numbers(tracks: TrackedObjects) -> list[bytes]:
    boxes = tracks.boxes
    arrays = (boxes.centers, boxes.sizes, boxes.yaws, boxes.velocities, tracks.scores)
    return [a.tobytes() for a in (*arrays, tracks.track_ids, tracks.labels, tracks.sources)]


def test_the_message_holds_exactly_the_live_instances_in_the_senders_frame(models) -> None:
    agent = AgentPerception(models[0], 'roadside', 7)
    result = agent.process(camera_frame('roadside', 0))
    message = result.message
    assert message.model_id == models[0].model_id
    assert (message.session_id, message.sequence, message.stamp_ns) == (7, 0, 0)
    expected = models[0].network.config.range.denormalise(message.reference_points)
    np.testing.assert_allclose(message.boxes.centers[:, :2], expected[:, :2], atol=1e-3)
    assert agent.process(camera_frame('roadside', 100)).message.sequence == 1
    threshold = models[0].network.config.tracking.score_threshold
    assert (message.class_scores.max(-1) > threshold).all()
    assert 0 < len(message) < models[0].network.config.decoder.queries


def test_tracks_keep_their_ids_and_a_reset_starts_anew(models) -> None:
    agent = AgentPerception(models[0], 'vehicle', 1)
    first = agent.process(camera_frame('vehicle', 0))
    second = agent.process(camera_frame('vehicle', 100))
    assert first.reset
    assert not second.reset
    assert set(first.message.track_ids) & set(second.message.track_ids)
    agent.reset()
    assert agent.process(camera_frame('vehicle', 200)).reset


@pytest.mark.parametrize('within', [0.0, 1.0])
def test_what_turns_up_again_where_it_was_lost_has_its_id_again(models, within) -> None:
    network = copy.deepcopy(models[0].network)
    tracking = replace(network.config.tracking, reappear_within=within)
    network.config = replace(network.config, tracking=tracking)
    agent = AgentPerception(replace(models[0], network=network), 'vehicle', 1)
    seen = agent.process(camera_frame('vehicle', 0)).tracks
    assert len(seen) > 0
    live = agent._memory.live  # every query loses its object
    agent._memory = replace(agent._memory, live=live.select(live.ids < 0))
    again = agent.process(camera_frame('vehicle', 100)).tracks
    assert bool(set(again.track_ids) & set(seen.track_ids)) == (within > 0)


def remembering(model: PerceptionModel) -> PerceptionModel:
    network = copy.deepcopy(model.network)
    sure = PermanenceConfig(seconds=5.0, speed=100.0, fewest=2, near=0.01)
    tracking = replace(network.config.tracking, permanence=sure)
    network.config = replace(network.config, tracking=tracking)
    return replace(model, network=network)


def test_what_a_blind_agent_remembers_is_reported_and_not_sent(models) -> None:
    agent = AgentPerception(remembering(models[0]), 'vehicle', 1)
    ego = CooperativePerception(remembering(models[1]), 'vehicle')
    for k in range(4):
        frame = camera_frame('vehicle', 100 * k)
        alone, fused = agent.process(frame), ego.process(frame)
        for result in (alone, fused):
            assert not (result.tracks.sources == Source.REMEMBERED).any()
    for one in (agent, ego):  # every query loses its object
        live = one._memory.live
        one._memory = replace(one._memory, live=live.select(live.ids < 0))
    dark = camera_frame('vehicle', 400, image=False)
    alone, fused = agent.process(dark), ego.process(dark)
    for result in (alone, fused):
        from_memory = result.tracks.sources == Source.REMEMBERED
        assert from_memory.any()
        assert len(set(result.tracks.track_ids)) == len(result.tracks)
        assert (result.detections.sources == Source.REMEMBERED).sum() == from_memory.sum()
    silent = set(alone.tracks.track_ids[alone.tracks.sources == Source.REMEMBERED].tolist())
    assert not silent & set(alone.message.track_ids.tolist())
    agent.reset()
    again = agent.process(camera_frame('vehicle', 500, image=False))
    assert not (again.tracks.sources == Source.REMEMBERED).any()


@pytest.mark.parametrize(
    ('ms', 'sequence_id', 'reset'),
    [(100, 'a', False), (-100, 'a', True), (900, 'a', True), (100, 'b', True)],
)
def test_memory_is_dropped_when_time_or_the_scene_jumps(models, ms, sequence_id, reset) -> None:
    agent = AgentPerception(models[0], 'vehicle', 1)
    agent.process(camera_frame('vehicle', 5000))
    assert (
        agent.process(camera_frame('vehicle', 5000 + ms, sequence_id=sequence_id)).reset is reset
    )


def test_the_same_frames_give_the_same_tracks_bit_for_bit(models) -> None:
    def run() -> list[bytes]:
        ego = CooperativePerception(models[1], 'vehicle')
        out = []
        for t in (0, 100, 200):
            messages = [message_of(models[0], name, t) for name in ('roadside', 'roadside_1')]
            out += numbers(ego.process(camera_frame('vehicle', t), messages).tracks)
        return out

    assert run() == run()


def test_the_order_of_messages_does_not_matter(models) -> None:
    messages = [message_of(models[0], name, 0) for name in ('roadside', 'roadside_1')]
    results = [
        CooperativePerception(models[1], 'vehicle').process(camera_frame('vehicle', 0), order)
        for order in (messages, messages[::-1])
    ]
    assert numbers(results[0].tracks) == numbers(results[1].tracks)


def test_a_message_adds_objects_and_says_whose_they_are(models) -> None:
    alone = CooperativePerception(models[1], 'vehicle').process(camera_frame('vehicle', 0))
    assert all(agents == () for agents in alone.tracks.remote_agents)
    message = message_of(models[0], 'roadside', 0)
    together = CooperativePerception(models[1], 'vehicle').process(
        camera_frame('vehicle', 0), [message]
    )
    assert ('roadside',) in together.detections.remote_agents


def test_an_empty_message_changes_no_more_than_none(models) -> None:
    message = message_of(models[0], 'roadside', 0)
    empty = replace(
        message,
        query_features=message.query_features[:0],
        query_embeddings=message.query_embeddings[:0],
        motion_features=message.motion_features[:0],
        reference_points=message.reference_points[:0],
        boxes=Boxes3D.empty(),
        class_scores=message.class_scores[:0],
        track_ids=message.track_ids[:0],
    )
    frame = camera_frame('vehicle', 0)
    without = CooperativePerception(models[1], 'vehicle').process(frame, [])
    with_empty = CooperativePerception(models[1], 'vehicle').process(
        frame, [decode_message(encode_message(empty))]
    )
    assert numbers(without.tracks) == numbers(with_empty.tracks)


def test_no_detections_give_an_empty_message_and_no_tracks(tmp_path: Path) -> None:
    blind = tuple(load_model(path) for path in save_pair(tmp_path, bias=-12.0))
    agent, ego = (
        AgentPerception(blind[0], 'roadside', 1),
        CooperativePerception(blind[1], 'vehicle'),
    )
    for t in (0, 100, 200):
        sent = encode_message(agent.process(camera_frame('roadside', t)).message)
        received = decode_message(sent)
        assert len(received) == 0
        assert len(ego.process(camera_frame('vehicle', t), [received]).tracks) == 0


def test_a_missing_image_lets_tracks_age_and_messages_work_on(models) -> None:
    ego = CooperativePerception(models[1], 'vehicle')
    ego.process(camera_frame('vehicle', 0))
    blind = ego.process(
        camera_frame('vehicle', 100, image=False), [message_of(models[0], 'roadside', 100)]
    )
    assert not blind.reset
    assert ('roadside',) in blind.detections.remote_agents
    assert not ego.process(camera_frame('vehicle', 200)).reset


def test_a_late_message_is_moved_to_the_time_of_the_ego(models) -> None:
    message = message_of(models[0], 'roadside', 0)
    boxes = message.boxes
    speed = np.tile([10.0, 0.0], (len(message), 1))
    now = replace(message, boxes=Boxes3D(boxes.centers, boxes.sizes, boxes.yaws, speed))
    late = replace(now, stamp_ns=-200_000_000)
    network, frame = models[1].network, camera_frame('vehicle', 0)
    inputs = prepare_frame(frame, network.config, models[1].device)
    aligned = [
        network(inputs, None, [to_remote(sent, frame, models[1].device)])[0].remotes[0]
        for sent in (late, now)
    ]
    both = (aligned[0].kept & aligned[1].kept).numpy()
    points = [
        network.config.range.denormalise(a.refs.detach().numpy())[both[a.kept.numpy()]]
        for a in aligned
    ]
    # The sender's x axis in the ego frame: 10 m/s for 0.2 s along it.
    step = SE3.from_yaw(-2.5 - 0.3).rotate_vectors([2.0, 0.0, 0.0])
    assert len(points[0]) > 0
    np.testing.assert_allclose(
        points[0] - points[1], np.tile(step, (len(points[0]), 1)), atol=0.02
    )


def test_a_frame_of_another_agent_is_refused(models) -> None:
    with pytest.raises(ValueError, match='roadside'):
        AgentPerception(models[0], 'vehicle', 1).process(camera_frame('roadside', 0))
    with pytest.raises(ValueError, match='roadside'):
        CooperativePerception(models[1], 'vehicle').process(camera_frame('roadside', 0))


def test_roadside_tracks_stand_where_they_stand_in_the_world(models) -> None:
    ego = camera_frame('vehicle', 100)
    frame = camera_frame('roadside', 100, position=ROADSIDE_AT, yaw=-2.5)
    seen = AgentPerception(models[0], 'roadside', 1).process(frame).detections
    moved = seen_by_ego(seen, ego)
    np.testing.assert_allclose(
        ego.world_SE3_agent.transform_points(moved.boxes.centers),
        frame.world_SE3_agent.transform_points(seen.boxes.centers),
        atol=1e-6,
    )


def test_a_point_is_in_view_where_an_image_shows_it() -> None:
    points = np.array([[10.0, 0, 0], [-10.0, 0, 0], [10.0, 9.0, 0], [10.0, 10.0, 0], [9.0, 0, 6]])
    shown = in_view(camera_frame('vehicle', 0))(points)
    assert shown.tolist() == [True, False, True, False, False]
    assert not in_view(camera_frame('vehicle', 0, image=False))(points).any()
    assert in_view(camera_frame('vehicle', 0))(points[:0]).shape == (0,)


def test_all_methods_run_on_the_same_moments_and_the_radio_really_carries_bytes(models) -> None:
    names = METHODS
    methods = make_methods(names, ModelSet(models[0], models[0], models[1]))
    inbox = MessageInbox(models[0].model_id, 'vehicle')
    stream = RadioStream(
        'vehicle', lambda f: AgentPerception(models[0], f.agent_id, 1), inbox, StreamOptions()
    )
    frames = [
        frame
        for t in (0, 100, 200)
        for frame in (
            camera_frame('vehicle', t),
            camera_frame('roadside', t + 20, position=ROADSIDE_AT, yaw=-2.5, seed=1),
        )
    ]
    moments = list(stream.replay(frames))
    assert [len(m.messages) for m in moments] == [1, 1, 1]
    assert all(event.size > 100 for m in moments for event in m.events)
    for moment in moments:
        for name, method in methods.items():
            output = method(moment)
            assert output.tracks.stamp_ns == moment.frame.stamp_ns, name
            assert output.tracks.frame_id == moment.frame.frame_id, name
    assert len(roadside_only(moments[-1]).detections) > 0


def test_the_ego_is_no_track_of_the_roadside_unit_for_itself(models) -> None:
    ego = camera_frame('vehicle', 100)
    frame = camera_frame('roadside', 100, position=ROADSIDE_AT, yaw=-2.5)
    result = AgentPerception(models[0], 'roadside', 1).process(frame)
    places = np.array([[0.4, -0.2, 0.0], [0.4, 3.0, 0.0], [-9.0, 0.0, 0.0]])
    roadside_SE3_ego = frame.world_SE3_agent.inverse() @ ego.world_SE3_agent
    seen = result.detections.select(np.arange(len(result.detections)) < 3)
    boxes = Boxes3D(
        roadside_SE3_ego.transform_points(places),
        seen.boxes.sizes,
        seen.boxes.yaws,
        np.zeros((3, 2)),
    )
    seen = replace(seen, boxes=boxes)
    result = replace(result, tracks=seen, detections=seen)
    moment = EgoMoment(ego, 0, (), (), {'roadside': frame}, {'roadside': result})
    output = roadside_only(moment)
    for objects in (output.tracks, output.detections):
        np.testing.assert_allclose(objects.boxes.centers, places[1:], atol=1e-6)


def test_messages_of_another_model_are_not_fused(models) -> None:
    inbox = MessageInbox('another model', 'vehicle')
    stream = RadioStream(
        'vehicle', lambda f: AgentPerception(models[0], f.agent_id, 1), inbox, StreamOptions()
    )
    frames = [camera_frame('roadside', 0), camera_frame('vehicle', 10)]
    (moment,) = stream.replay(frames)
    assert moment.messages == ()
    assert [event.outcome for event in moment.events] == ['model']


def test_an_unknown_method_or_device_is_named(models) -> None:
    with pytest.raises(InputError, match='late_fusoin'):
        make_methods(('late_fusoin',), ModelSet(models[0], models[0], models[1]))
    with pytest.raises(InputError, match='gpu'):
        load_model(models[0].path, 'gpu')


def test_single_agent_weights_cannot_fuse(models) -> None:
    with pytest.raises(InputError, match='single-agent'):
        models[0].with_rule_matching()


def test_a_truncated_weights_file_is_named(models, tmp_path: Path) -> None:
    broken = tmp_path / 'broken.safetensors'
    broken.write_bytes(Path(models[0].path).read_bytes()[:1000])
    with pytest.raises(InputError, match=r'broken\.safetensors'):
        load_model(broken)
