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


"""Bags written without ROS: a dataset scene and a run, whole or not at all."""

from __future__ import annotations

import resource
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import Reader

from cooptrack_core.datasets.v2x_seq import V2XSeqDataset
from cooptrack_core.errors import InputError
from cooptrack_core.geometry import SE3
from cooptrack_core.v2x import MessageInbox, encode_message
from cooptrack_ros.bags import (
    BagReader,
    BagWriter,
    RunWriter,
    bag_types,
    labels_as_tracks,
    typestore,
    write_dataset_bag,
)
from cooptrack_ros.bags.places import map_near
from cooptrack_ros.conversions import features_from_message, header, stamp_to_ns

for room in ('datasets', 'v2x'):
    sys.path.insert(0, str(Path(__file__).parents[1] / 'core' / room))
from builder import Extra, Spec, build_v2x_seq  # noqa: E402
from v2x_messages import MODEL, make_message  # noqa: E402


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    spec = Spec(frames=4, skew=1e-3, extras=(Extra('vehicle_1', 'vehicle', (5, 5, 0)),))
    return build_v2x_seq(tmp_path_factory.mktemp('dataset'), spec)


@pytest.fixture(scope='module')
def scene(built):
    return V2XSeqDataset(built.root).scenes[0]


@pytest.fixture(scope='module')
def bag(scene, tmp_path_factory):
    path = tmp_path_factory.mktemp('bags') / 'scene.mcap'
    return path, write_dataset_bag(scene, path)


def messages(path, topic):
    store = typestore()
    with Reader(path) as reader:
        connections = [c for c in reader.connections if c.topic == topic]
        return [
            (stamp, store.deserialize_cdr(data, c.msgtype))
            for c, stamp, data in reader.messages(connections)
        ]


def test_images_are_the_stored_bytes_at_their_own_capture_time(bag, scene, built):
    path, _ = bag
    for agent_id in ('vehicle', 'roadside', 'vehicle_1'):
        frame_ids = scene.frame_ids(agent_id)
        got = messages(path, f'/{agent_id}/front/image_raw/compressed')
        assert len(got) == len(frame_ids)
        for frame_id, (bag_ns, message) in zip(frame_ids, got, strict=True):
            record = scene.record(agent_id, frame_id)
            assert stamp_to_ns(message.header.stamp) == record.image_stamp_ns == bag_ns
            stored = (built.directory(agent_id) / record.image).read_bytes()
            assert bytes(message.data) == stored
            assert message.header.frame_id == f'{agent_id}/front_optical_frame'


def test_agents_keep_the_skew_between_their_clocks(bag):
    path, _ = bag
    first = {
        agent: messages(path, f'/{agent}/front/camera_info')[0][0]
        for agent in ('vehicle', 'roadside', 'vehicle_1')
    }
    assert first['vehicle'] - first['roadside'] == 20_000_000
    assert first['vehicle_1'] - first['vehicle'] == 10_000_000


def test_the_map_is_near_the_scene_and_says_where_it_is_in_the_world(bag, built):
    path, summary = bag
    origin = np.array(summary.map_origin)
    assert np.abs(origin - [457000, 4404000, 20]).max() < 100
    assert (origin == origin.round()).all()
    ((_, static),) = messages(path, '/tf_static')
    links = {t.child_frame_id: t for t in static.transforms}
    shift = links['world'].transform.translation
    np.testing.assert_array_equal([shift.x, shift.y, shift.z], -origin)
    assert links['world'].header.frame_id == 'map'
    # The roadside unit does not move, so its pose is static.
    assert links['roadside/base_link'].header.frame_id == 'map'
    moving = [t.child_frame_id for _, m in messages(path, '/tf') for t in m.transforms]
    assert set(moving) == {'vehicle/base_link', 'vehicle_1/base_link'}


def test_skewed_rotations_are_made_rigid_and_the_residual_is_told(bag):
    path, summary = bag
    assert 1e-4 < summary.largest_residual < 1e-2
    ((_, static),) = messages(path, '/tf_static')
    for transform in static.transforms:
        q = transform.transform.rotation
        assert np.isclose(np.linalg.norm([q.w, q.x, q.y, q.z]), 1, atol=1e-12)


def test_a_world_that_is_near_stays_the_map():
    assert (map_near(SE3.from_yaw(1.0, [300, -20, 5])).translation == 0).all()


def test_ground_truth_is_in_the_map(bag, scene, built):
    path, summary = bag
    truth = messages(path, '/gt/tracks')
    assert len(truth) == len(scene.pairs)
    for (stamp_ns, message), pair in zip(truth, scene.pairs, strict=True):
        assert stamp_ns == scene.record('vehicle', pair.ego_frame_id).stamp_ns
        assert message.header.frame_id == 'map'
        labels = scene.cooperative_labels(pair.ego_frame_id)
        assert [o.track_id for o in message.objects] == list(labels.track_ids)
        world_SE3_agent = scene.frame('vehicle', pair.ego_frame_id).world_SE3_agent
        expected = labels.boxes.transformed(world_SE3_agent).centers - summary.map_origin
        places = [o.pose.position for o in message.objects]
        np.testing.assert_allclose([[p.x, p.y, p.z] for p in places], expected, atol=1e-6)
    assert len(messages(path, '/gt/detections')) == len(truth)
    assert len(messages(path, '/gt/roadside/tracks')) == 4


@pytest.mark.parametrize('name', ['scene.mcap', 'scene.db3', 'directory', 'old'])
def test_every_kind_of_bag_gives_the_frames_of_the_dataset(scene, tmp_path, name):
    path = tmp_path / name
    storage = 'sqlite3' if name == 'old' else 'mcap'
    summary = write_dataset_bag(scene, path, storage=storage)
    assert path.is_dir() == (name in ('directory', 'old'))
    if path.is_dir():
        assert {p.suffix for p in path.iterdir()} == {
            '.yaml', '.db3' if storage == 'sqlite3' else '.mcap',
        }  # fmt: skip
    with BagReader(path) as reader:
        frames = list(reader.frames())
        assert not reader.counts
        assert {str(role) for role in reader.agents.values()} == {'vehicle', 'roadside'}
        assert reader.ego_id == 'vehicle'
        assert reader.frame_count == len(frames) == 12
    stamps = [f.stamp_ns for f in frames]
    assert stamps == sorted(stamps)
    for frame in frames:
        frame_id = next(
            i for i in scene.frame_ids(frame.agent_id)
            if scene.record(frame.agent_id, i).image_stamp_ns == frame.stamp_ns
        )  # fmt: skip
        stored = scene.frame(frame.agent_id, frame_id)
        np.testing.assert_array_equal(frame.images[0].image, stored.images[0].image)
        np.testing.assert_allclose(
            frame.images[0].camera.intrinsic, stored.images[0].camera.intrinsic
        )
        np.testing.assert_allclose(
            frame.images[0].camera.camera_T_agent, stored.images[0].camera.camera_T_agent,
            atol=2e-3,  # the dataset's rotation is skewed by 1e-3, TF is rigid
        )  # fmt: skip
        # Poses hold at LiDAR time, 4 ms before the image: TF is interpolated to the image.
        moved = frame.world_SE3_agent.translation + summary.map_origin
        if frame.agent_id == 'vehicle':
            number = scene.frame_ids('vehicle').index(frame_id)
            last = scene.record('vehicle', frame_id).stamp_ns
            seconds = (frame.stamp_ns - last) / 1e9
            truth = stored.world_SE3_agent.translation + seconds * np.array([4.0, 1.0, 0])
            assert np.abs(moved - truth).max() < 5e-3, number
            assert np.abs(moved - stored.world_SE3_agent.translation).max() > 0.01 * seconds


def test_progress_is_told_to_the_end(scene, tmp_path):
    news = []
    write_dataset_bag(scene, tmp_path / 'x.mcap', progress=lambda *a: news.append(a))
    assert news[-1] == (24, 24)
    assert len(news) == 24


def test_an_existing_bag_is_not_replaced_unless_asked(scene, tmp_path):
    path = tmp_path / 'x.mcap'
    path.write_text('mine')
    with pytest.raises(InputError, match='exists'):
        write_dataset_bag(scene, path)
    assert path.read_text() == 'mine'
    write_dataset_bag(scene, path, overwrite=True)
    with BagReader(path) as reader:
        assert reader.frame_count == 12


def test_a_missing_image_leaves_no_bag(tmp_path):
    built = build_v2x_seq(tmp_path / 'data', Spec(frames=3))
    scene = V2XSeqDataset(built.root).scenes[0]
    record = scene.record('vehicle', scene.frame_ids('vehicle')[2])
    (built.directory('vehicle') / record.image).unlink()
    with pytest.raises(InputError, match=r'\.jpg|\.png'):
        write_dataset_bag(scene, tmp_path / 'out' / 'x.mcap')
    assert list((tmp_path / 'out').iterdir()) == []


@contextmanager
def disk_of(size: int):
    """Let the kernel refuse to make files larger than this, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize('name', ['x.mcap', 'x.db3', 'x'])
def test_a_full_disk_leaves_the_old_bag_or_none(tmp_path, name):
    types = bag_types()
    path = tmp_path / name

    def fill(count):
        with BagWriter(path, overwrite=True) as bag:
            for i in range(count):
                message = types.new('std_msgs/msg/String', data='x' * 100_000)
                bag.write('/chatter', 'std_msgs/msg/String', message, i)

    with disk_of(1_500_000), pytest.raises(InputError, match='cannot be written') as error:
        fill(40)
    assert str(path) in str(error.value)
    assert list(tmp_path.iterdir()) == []
    fill(3)
    with disk_of(1_500_000), pytest.raises(InputError):
        fill(40)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    with Reader(path) as reader:
        assert reader.message_count == 3


def test_an_exception_in_the_block_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), BagWriter(tmp_path / 'x.mcap') as bag:
        head = header(bag.types, 1, 'map')
        bag.write('/head', 'std_msgs/msg/Header', head, 1)
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_an_empty_bag_is_a_bag(tmp_path):
    with BagWriter(tmp_path / 'empty'):
        pass
    with Reader(tmp_path / 'empty') as reader:
        assert reader.message_count == 0
    with pytest.raises(InputError, match='no camera images'):
        BagReader(tmp_path / 'empty')


def test_latched_topics_are_offered_as_latched(bag):
    path, _ = bag
    with Reader(path) as reader:
        durability = {
            c.topic: c.ext.offered_qos_profiles[0].durability.name for c in reader.connections
        }
    assert durability['/tf_static'] == durability['/roadside/agent_info'] == 'TRANSIENT_LOCAL'
    assert durability['/gt/tracks'] == durability['/tf'] == 'VOLATILE'


@pytest.fixture
def run(scene, tmp_path):
    path = tmp_path / 'run.mcap'
    inbox = MessageInbox(MODEL, 'vehicle')
    sent = []
    with RunWriter(path) as out:
        for pair in scene.pairs:
            ego = scene.frame('vehicle', pair.ego_frame_id)
            remote = scene.remote_frame(pair, 'roadside')
            truth = labels_as_tracks(scene.cooperative_labels(pair.ego_frame_id), ego)
            message = make_message(
                2, 8, agent_id='roadside', stamp_ns=remote.stamp_ns,
                world_SE3_agent=remote.world_SE3_agent, sequence=len(sent),
            )  # fmt: skip
            sent.append(message)
            inbox.receive(encode_message(message, 'int8'), ego.stamp_ns)
            for frame in (remote, ego):
                out.write_frame(frame)
            out.write_message(message, 'int8', sent_ns=remote.stamp_ns + 1)
            out.write_tracks(replace(truth, scores=truth.scores * 0.5), 'vehicle')
            out.write_tracks(truth, 'vehicle', layer='ego_only')
            out.write_ground_truth(truth)
            out.write_status(inbox.stats, ego.stamp_ns, 'vehicle', MODEL)
        counts = out.counts
    return path, counts, sent


def test_a_run_holds_everything_a_viewer_needs(run, scene):
    path, counts, _ = run
    n = len(scene.pairs)
    with Reader(path) as reader:
        types = {c.topic: c.msgtype for c in reader.connections}
        assert {c.topic: c.msgcount for c in reader.connections} == counts
        embedded = {c.msgtype: c.msgdef.data for c in reader.connections}
    assert 'float32[] reference_points' in embedded['cooptrack_msgs/msg/InstanceFeatures']
    assert types['/v2x/roadside/instance_features'] == 'cooptrack_msgs/msg/InstanceFeatures'
    assert types['/cooptrack/tracks'] == 'cooptrack_msgs/msg/TrackedObjects'
    assert types['/cooptrack/detections'] == 'vision_msgs/msg/Detection3DArray'
    assert types['/cooptrack/markers'] == 'visualization_msgs/msg/MarkerArray'
    assert types['/vehicle/front/image_raw/compressed'] == 'sensor_msgs/msg/CompressedImage'
    for topic in ('/cooptrack/tracks', '/cooptrack/ego_only/markers', '/gt/markers',
                  '/cooptrack/fusion_status', '/cooptrack/agents'):  # fmt: skip
        assert counts[topic] == n
    assert counts['/tf'] == 2 * n


def test_the_radio_messages_of_a_run_are_those_that_were_sent(run):
    path, _, sent = run
    got = messages(path, '/v2x/roadside/instance_features')
    assert len(got) == len(sent)
    for (stamp_ns, message), original in zip(got, sent, strict=True):
        assert stamp_ns == original.stamp_ns + 1
        read = features_from_message(message)
        assert (read.sequence, read.stamp_ns) == (original.sequence, original.stamp_ns)
        assert message.world_frame_id == 'world'


def test_tracks_of_a_run_lie_on_its_agents(run):
    """Boxes, images and agents of the viewer agree: the same objects as in the ground truth."""
    path, _, _ = run
    result, truth = messages(path, '/cooptrack/tracks'), messages(path, '/gt/tracks')
    for (_, a), (_, b) in zip(result, truth, strict=True):
        assert [o.pose for o in a.objects] == [o.pose for o in b.objects]
        assert all(o.score == 0.5 for o in a.objects)
    spread = [abs(o.pose.position.x) for _, m in truth for o in m.objects]
    assert max(spread) < 200  # near the origin of the map


def test_a_run_can_be_run_again(run):
    path, _, _ = run
    with BagReader(path) as reader:
        frames = list(reader.frames())
        assert [str(r) for r in reader.agents.values()] == ['roadside', 'vehicle']
    assert len(frames) == 8


def test_the_mcap_of_foxglove_reads_the_run(run):
    mcap = pytest.importorskip('mcap.reader')
    path, counts, _ = run
    with path.open('rb') as handle:
        reader = mcap.make_reader(handle, validate_crcs=True)
        summary = reader.get_summary()
        assert summary.statistics.message_count == sum(counts.values())
        stamps = [m.log_time for _, _, m in reader.iter_messages()]
    assert stamps == sorted(stamps)
