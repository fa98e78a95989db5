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


"""Tracks as messages, detections and markers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cooptrack_core.errors import InputError
from cooptrack_core.geometry import SE3, Boxes3D
from cooptrack_core.structures import Role, Source, TrackedObjects
from cooptrack_ros.bags import bag_types
from cooptrack_ros.conversions import (
    MarkerBuilder,
    agent_markers,
    tracks_from_message,
    tracks_to_detections,
    tracks_to_message,
)
from cooptrack_ros.conversions.markers import COLOURS, ROLE_COLOURS

TYPES = bag_types()
MAP_SE3_WORLD = SE3(np.eye(3), np.array([-1000.0, -2000.0, -10.0]))
WORLD_SE3_AGENT = SE3.from_yaw(np.pi / 2, [1010.0, 2000.0, 11.0])
ADD, DELETE, DELETE_ALL = 0, 2, 3


def tracks(ids=(7, 3), stamp_ns=5_000_000_000, sources=None, speed=4.0) -> TrackedObjects:
    n = len(ids)
    boxes = Boxes3D(
        np.array([[10.0 + i, 2.0, 0.5] for i in range(n)]),
        np.full((n, 3), (4.0, 2.0, 1.5)),
        np.full(n, 0.25),
        np.full((n, 2), (speed, 0.0)),
    )
    return TrackedObjects(
        '0001', '000005', stamp_ns, WORLD_SE3_AGENT, boxes, np.linspace(0.9, 0.5, n),
        np.arange(n) % 3, np.array(ids, dtype=np.int64),
        np.array(sources if sources is not None else [Source.FUSED] * n, dtype=np.int64),
        (('roadside',),) * n,
    )  # fmt: skip


def through_cdr(message, name):
    store = TYPES.store
    return store.deserialize_cdr(store.serialize_cdr(message, name), name)


def test_tracks_are_published_in_the_map_and_come_back():
    sent = tracks()
    name = 'cooptrack_msgs/msg/TrackedObjects'
    message = through_cdr(tracks_to_message(TYPES, sent, MAP_SE3_WORLD, agent_id='vehicle'), name)
    assert message.header.frame_id == 'map'
    assert (message.agent_id, message.sequence_id) == ('vehicle', '0001')
    first = message.objects[0]
    # 10 m ahead and 2 m left of an agent that looks along the map's y axis at (10, 0, 1).
    np.testing.assert_allclose(
        [first.pose.position.x, first.pose.position.y, first.pose.position.z], [8, 10, 1.5]
    )
    np.testing.assert_allclose([first.velocity.x, first.velocity.y], [0, 4], atol=1e-12)
    assert np.isnan(first.velocity.z)
    assert (first.class_name, first.source, first.remote_agents) == ('car', 3, ['roadside'])
    got = tracks_from_message(message)
    assert list(got.track_ids) == [7, 3]
    assert list(got.labels) == [0, 1]
    np.testing.assert_allclose(got.boxes.yaws, 0.25 + np.pi / 2)
    np.testing.assert_allclose(got.boxes.sizes, sent.boxes.sizes)
    np.testing.assert_allclose(got.scores, sent.scores, atol=1e-7)
    assert got.remote_agents == sent.remote_agents


def test_no_tracks_are_a_message_too():
    message = tracks_to_message(TYPES, tracks(()), MAP_SE3_WORLD)
    assert len(tracks_from_message(message)) == 0
    assert tracks_to_detections(TYPES, tracks(()), MAP_SE3_WORLD).detections == []


def test_an_object_of_an_unknown_class_is_an_input_error():
    message = tracks_to_message(TYPES, tracks(), MAP_SE3_WORLD)
    message.objects[0].class_name = 'elephant'
    with pytest.raises(InputError, match='elephant'):
        tracks_from_message(message)


def test_detections_carry_the_track_id_and_the_class_as_text():
    name = 'vision_msgs/msg/Detection3DArray'
    message = through_cdr(tracks_to_detections(TYPES, tracks(), MAP_SE3_WORLD), name)
    assert [d.id for d in message.detections] == ['7', '3']
    assert [d.results[0].hypothesis.class_id for d in message.detections] == ['car', 'bicycle']
    assert message.detections[0].results[0].hypothesis.score == pytest.approx(0.9)
    assert message.detections[0].bbox.size.x == 4.0
    q = message.detections[0].bbox.center.orientation
    assert 2 * np.arctan2(q.z, q.w) == pytest.approx(0.25 + np.pi / 2)
    assert message.detections[0].header == message.header


def by_action(array, action):
    return {(m.ns, m.id) for m in array.markers if m.action == action}


def show(builder, **options):
    array = builder.update(tracks(**options), MAP_SE3_WORLD)
    return through_cdr(array, 'visualization_msgs/msg/MarkerArray')


def test_the_first_array_clears_the_screen_and_later_ones_do_not():
    builder = MarkerBuilder(TYPES)
    assert [m.action for m in show(builder).markers].index(DELETE_ALL) == 0
    assert by_action(show(builder), DELETE_ALL) == set()
    cleared = builder.reset(6_000_000_000)
    assert [m.action for m in cleared.markers] == [DELETE_ALL]
    assert cleared.markers[0].header.frame_id == 'map'


def test_markers_of_tracks_that_are_gone_are_deleted_one_by_one():
    builder = MarkerBuilder(TYPES)
    show(builder, ids=(7, 3))
    added = by_action(show(builder, ids=(7, 3)), ADD)
    array = show(builder, ids=(3,))
    gone = by_action(array, DELETE)
    assert gone == added - by_action(array, ADD)
    assert {ns for ns, _ in gone} == {
        'track_box', 'track_edges', 'track_label', 'track_velocity', 'track_trail',
    }  # fmt: skip
    assert len({number for _, number in gone}) == 1
    assert by_action(show(builder, ids=(3,)), DELETE) == set()


def test_an_id_stays_with_its_track_and_is_used_again_after_it():
    builder = MarkerBuilder(TYPES)

    def numbers(ids):
        boxes = [m for m in show(builder, ids=ids).markers if m.ns == 'track_box' and not m.action]
        return [m.id for m in boxes]

    assert numbers((10**12, 5)) == [0, 1]
    assert numbers((5, 10**12)) == [1, 0]
    assert numbers((5, 77)) == [1, 0]
    assert numbers((77, 5, 6, 8)) == [0, 1, 2, 3]
    for i in range(200):  # ids never grow beyond what is on the screen
        assert max(numbers((1000 + i, 2000 + i))) <= 5


def test_colour_tells_what_a_track_rests_on_and_nothing_is_invisible():
    builder = MarkerBuilder(TYPES)
    sources = [Source.EGO, Source.REMOTE, Source.FUSED, Source.REMEMBERED]
    array = show(builder, ids=(1, 2, 3, 4), sources=sources)
    boxes = [m for m in array.markers if m.ns == 'track_box']
    for marker, source in zip(boxes, sources, strict=True):
        colour = (marker.color.r, marker.color.g, marker.color.b)
        np.testing.assert_allclose(colour, COLOURS[int(source)], atol=1e-6)
    assert len(set(COLOURS.values())) == len(Source)
    for marker in (m for m in array.markers if m.action == ADD):
        assert marker.color.a > 0
        assert marker.header.frame_id == 'map'
        assert not marker.frame_locked
        q = marker.pose.orientation
        assert np.isclose(np.linalg.norm([q.w, q.x, q.y, q.z]), 1)


def test_what_is_not_sure_is_drawn_faintly_without_label_and_arrow():
    builder = MarkerBuilder(TYPES)
    builder.update(tracks(), MAP_SE3_WORLD)
    array = builder.update(replace(tracks(), scores=np.array([0.9, 0.4])), MAP_SE3_WORLD)
    sure, unsure = (
        {m.ns: m for m in array.markers if m.action == ADD and m.id == number} for number in (0, 1)
    )
    assert set(sure) - set(unsure) == {'track_label', 'track_velocity'}
    assert 0 < unsure['track_box'].color.a < sure['track_box'].color.a / 2
    assert 0 < unsure['track_edges'].scale.x < sure['track_edges'].scale.x


def test_the_edges_are_those_of_the_box_and_the_arrow_is_one_second_long():
    array = show(MarkerBuilder(TYPES), ids=(1,))
    edges = next(m for m in array.markers if m.ns == 'track_edges')
    corners = np.array([[p.x, p.y, p.z] for p in edges.points])
    assert corners.shape == (24, 3)
    expected = tracks((1,)).boxes.transformed(MAP_SE3_WORLD @ WORLD_SE3_AGENT)
    centre = expected.centers[0]
    np.testing.assert_allclose(corners.mean(0), centre, atol=1e-12)
    lengths = np.linalg.norm(corners[0::2] - corners[1::2], axis=1)
    assert sorted(lengths.round(6)) == [1.5] * 4 + [2.0] * 4 + [4.0] * 4
    arrow = next(m for m in array.markers if m.ns == 'track_velocity')
    start, tip = ([p.x, p.y, p.z] for p in arrow.points)
    np.testing.assert_allclose(np.subtract(tip, start), [0, 4, 0], atol=1e-12)


def test_slow_tracks_have_no_arrow_and_the_trail_grows_to_its_length():
    builder = MarkerBuilder(TYPES, trail_length=4)
    array = show(builder, ids=(1,), speed=0.1)
    assert 'track_velocity' not in {m.ns for m in array.markers}
    assert 'track_trail' not in {m.ns for m in array.markers}
    sizes = []
    for _ in range(6):
        array = show(builder, ids=(1,))
        sizes.append(len(next(m for m in array.markers if m.ns == 'track_trail').points))
    assert sizes == [2, 3, 4, 4, 4, 4]


def test_the_label_names_the_track_its_class_and_who_helped():
    array = show(MarkerBuilder(TYPES), ids=(7,))
    label = next(m for m in array.markers if m.ns == 'track_label')
    assert label.text == '7 car 0.90\nroadside'
    quiet = show(MarkerBuilder(TYPES, labels=False), ids=(7,))
    assert 'track_label' not in {m.ns for m in quiet.markers}


def test_agents_are_shown_by_role():
    agents = {
        'vehicle': (Role.VEHICLE, SE3.identity()),
        'roadside': (Role.ROADSIDE, SE3.from_yaw(0.0, [5, 5, 5])),
    }
    array = through_cdr(
        agent_markers(TYPES, agents, 9, lifetime_ns=300_000_000),
        'visualization_msgs/msg/MarkerArray',
    )
    assert {(m.ns, m.id) for m in array.markers} == {
        ('agent', 0), ('agent', 1), ('agent_label', 0), ('agent_label', 1),
    }  # fmt: skip
    first = array.markers[0]
    np.testing.assert_allclose(
        (first.color.r, first.color.g, first.color.b), ROLE_COLOURS[Role.ROADSIDE], atol=1e-6
    )
    assert first.lifetime.nanosec == 300_000_000
