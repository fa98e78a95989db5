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


"""Reading bags: what a robot records, in any storage, with everything that can be wrong in it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from cooptrack_core.errors import InputError
from cooptrack_core.geometry import SE3, CameraModel
from cooptrack_core.structures import Role
from cooptrack_ros.bags import BagOptions, BagReader, BagWriter
from cooptrack_ros.conversions import (
    agent_info_to_message,
    compressed_to_message,
    image_to_message,
    info_to_message,
    transform_to_message,
)

MS = 1_000_000
T0 = 1_700_000_000_000_000_000
SIZE = (32, 24)
K = np.array([[30.0, 0, 15.5], [0, 30.0, 11.5], [0, 0, 1]])
LOOK_X = SE3(np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]]), np.zeros(3))


class Recorder:
    """Records a bag as a robot would, message by message."""

    def __init__(self, bag: BagWriter) -> None:
        self.bag = bag
        self.types = bag.types

    def transform(self, parent, child, ms, pose, static=False):
        message = transform_to_message(self.types, pose, parent, child, T0 + round(ms * MS))
        array = self.types.new('tf2_msgs/msg/TFMessage', transforms=[message])
        topic = '/tf_static' if static else '/tf'
        self.bag.write(topic, 'tf2_msgs/msg/TFMessage', array, T0 + round(ms * MS))

    def place(self, agent='car', camera='front', until_ms=1000, speed=10.0):
        """Drive along x of the map; the camera looks ahead from 1 m in front."""
        mount = SE3(np.eye(3), np.array([1.0, 0, 0])) @ LOOK_X.inverse()
        self.transform(f'{agent}/base_link', f'{agent}/{camera}_optical_frame', 0, mount, True)
        for ms in range(0, until_ms + 1, 50):
            pose = SE3.from_yaw(0.001 * ms, [speed * ms / 1000, 0, 0])
            self.transform('map', f'{agent}/base_link', ms, pose)

    def info(self, agent='car', camera='front', ms=0.0, **changes):
        model = CameraModel(camera, *SIZE, K, np.eye(4))
        message = info_to_message(self.types, model, T0, f'{agent}/{camera}_optical_frame')
        message = replace(message, **changes)
        topic = f'/{agent}/{camera}/camera_info'
        self.bag.write(topic, 'sensor_msgs/msg/CameraInfo', message, T0 + round(ms * MS))

    def image(
        self, ms, agent='car', camera='front', *, raw=False, at_ms=None, cut=None, size=SIZE
    ):
        """Record an image whose brightness tells its time; ``at_ms`` is its place in the bag."""
        value = round(abs(ms)) % 200 + 20
        rgb = np.full((size[1], size[0], 3), value, np.uint8)
        frame = f'{agent}/{camera}_optical_frame'
        stamp_ns, bag_ns = T0 + round(ms * MS), T0 + round((ms if at_ms is None else at_ms) * MS)
        topic = f'/{agent}/{camera}/image_raw'
        if raw:
            message = image_to_message(self.types, rgb, stamp_ns, frame)
            self.bag.write(topic, 'sensor_msgs/msg/Image', message, bag_ns)
            return
        data = cv2.imencode('.png' if cut is None else '.jpg', rgb)[1].tobytes()[:cut]
        message = compressed_to_message(self.types, data, stamp_ns, frame)
        self.bag.write(f'{topic}/compressed', 'sensor_msgs/msg/CompressedImage', message, bag_ns)


@pytest.fixture
def record(tmp_path):
    """Return a function that records with the calls given to it and opens nothing."""

    def make(*steps, storage='mcap', name='bag'):
        path = tmp_path / name
        with BagWriter(path, storage) as bag:
            recorder = Recorder(bag)
            for step in steps:
                step(recorder)
        return path

    return make


def place(**options):
    return lambda r: r.place(**options)


def info(**options):
    return lambda r: r.info(**options)


def images(*stamps, **options):
    return lambda r: [r.image(ms, **options) for ms in stamps]


def read(path, **options):
    warnings = []
    with BagReader(path, BagOptions(**options), on_warning=warnings.append) as reader:
        return list(reader.frames()), reader.counts, warnings


def times(frames):
    return [round((f.stamp_ns - T0) / MS) for f in frames]


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
@pytest.mark.parametrize('raw', [True, False])
def test_frames_have_image_camera_and_interpolated_pose(record, storage, raw):
    path = record(place(), info(), images(0, 125, 500, raw=raw), storage=storage)
    frames, counts, _ = read(path)
    assert times(frames) == [0, 125, 500]
    assert not counts
    for frame, ms in zip(frames, (0, 125, 500), strict=True):
        assert (frame.agent_id, frame.role) == ('car', Role.VEHICLE)
        (image,) = frame.images
        assert (image.image == ms % 200 + 20).all()
        np.testing.assert_array_equal(image.camera.intrinsic, K)
        np.testing.assert_allclose(frame.world_SE3_agent.translation, [ms / 100, 0, 0], atol=1e-9)
        assert frame.world_SE3_agent.yaw == pytest.approx(0.001 * ms)
        # A point straight ahead of the camera is in its middle.
        np.testing.assert_allclose(image.camera.project([9.0, 0, 0])[0], [15.5, 11.5], atol=1e-9)
        assert image.camera.project([9.0, 0, 0])[1] == pytest.approx(8.0)


def test_the_lidar_frame_is_the_perception_frame_where_there_is_one(record):
    up = SE3(np.eye(3), np.array([0, 0, 2.0]))
    path = record(
        place(), info(), images(100),
        lambda r: r.transform('car/base_link', 'car/lidar', 0, up, True),
    )  # fmt: skip
    (frame,), _, _ = read(path)
    assert frame.world_SE3_agent.translation[2] == pytest.approx(2.0)
    assert frame.world_SE3_body.translation[2] == pytest.approx(0.0)
    assert frame.images[0].camera.position[2] == pytest.approx(-2.0)
    (frame,), _, _ = read(path, agent_frame='{agent}/base_link')
    assert frame.world_SE3_agent.translation[2] == pytest.approx(0.0)


def test_transforms_may_come_after_the_images(record):
    frames, counts, _ = read(record(info(), images(0, 100), place()))
    assert times(frames) == [0, 100]
    assert not counts


def test_agents_are_told_by_their_info_their_name_or_the_caller(record):
    def say(r):
        message = agent_info_to_message(
            r.types, stamp_ns=T0, frame_id='', agent_id='tower', role=Role.ROADSIDE, cameras=[]
        )
        r.bag.write('/tower/agent_info', 'cooptrack_msgs/msg/AgentInfo', message, T0)

    steps = [say]
    for agent in ('tower', 'roadside_2', 'car', 'mast'):
        steps += [place(agent=agent), info(agent=agent), images(0, agent=agent)]
    path = record(*steps)
    with BagReader(path, BagOptions(roles={'mast': Role.ROADSIDE})) as reader:
        roadside = {a for a, role in reader.agents.items() if role is Role.ROADSIDE}
        assert roadside == {'tower', 'roadside_2', 'mast'}
        assert reader.ego_id == 'car'
        assert [f.agent_id for f in reader.frames()] == sorted(reader.agents)


def test_a_bag_without_a_vehicle_has_no_ego(record):
    path = record(place(agent='rsu'), info(agent='rsu'), images(0, agent='rsu'))
    with BagReader(path) as reader, pytest.raises(InputError, match='no vehicle'):
        _ = reader.ego_id


def test_frames_of_all_agents_come_in_order_of_their_stamps_not_of_arrival(record):
    path = record(
        place(), info(), place(agent='bus'), info(agent='bus'),
        *(images(ms, at_ms=ms + 300) for ms in (0, 100, 200, 300)),
        *(images(ms, agent='bus', at_ms=ms + 20) for ms in (50, 150, 250, 350)),
    )  # fmt: skip
    frames, _, _ = read(path)
    assert times(frames) == [0, 50, 100, 150, 200, 250, 300, 350]


def test_stamps_that_go_back_a_little_are_dropped_and_counted(record):
    path = record(
        place(), info(), images(0, 100), images(100, at_ms=110), images(50, at_ms=120), images(200)
    )
    frames, counts, warnings = read(path)
    assert times(frames) == [0, 100, 200]
    assert counts == {'stamp_backwards': 2}
    assert len(warnings) == 1
    assert 'stamp_backwards' in warnings[0]


def test_a_jump_back_in_time_goes_on_from_there(record):
    path = record(
        place(until_ms=3000), info(), images(0, 1500, 3000),
        images(0, at_ms=4000), images(500, at_ms=4500),
    )  # fmt: skip
    frames, counts, _ = read(path)
    assert times(frames) == [0, 1500, 3000, 0, 500]
    assert not counts


def test_images_outside_of_the_transforms_are_dropped_and_counted(record):
    path = record(place(until_ms=500), info(), images(-300, -40, 0, 540, 900))
    frames, counts, warnings = read(path)
    assert times(frames) == [-40, 0, 540]  # motion is carried on for 0.1 s
    np.testing.assert_allclose(frames[2].world_SE3_agent.translation, [5.4, 0, 0], atol=1e-9)
    assert counts == {'no_pose': 2}
    assert 'record /tf as long' in warnings[0]


def cameras(*names):
    steps = []
    for name in names:
        steps += [place(camera=name), info(camera=name)]
    return steps


def test_images_of_several_cameras_make_one_frame(record):
    path = record(
        *cameras('front', 'left', 'rear'),
        *(images(ms, ms + 100) for ms in (0,)),
        images(8, 95, camera='left'), images(-3, 104, camera='rear'),
    )  # fmt: skip
    frames, counts, _ = read(path)
    assert times(frames) == [0, 100]
    assert not counts
    for frame in frames:
        assert [i.camera.name for i in frame.images] == ['front', 'left', 'rear']
    assert [round((i.stamp_ns - T0) / MS) for i in frames[1].images] == [100, 95, 104]


def test_a_missing_camera_image_leaves_a_partial_frame_and_is_counted(record):
    path = record(
        *cameras('front', 'left'), images(0, 100, 300), images(2, 102, 202, 302, camera='left')
    )
    frames, counts, _ = read(path)
    assert times(frames) == [0, 100, 202, 300]
    assert [len(f.images) for f in frames] == [2, 2, 1, 2]
    assert counts == {'camera_missing': 1}


def test_a_camera_that_dies_does_not_stop_the_others(record):
    path = record(
        *cameras('front', 'left'), images(0), images(*range(0, 1000, 100), camera='left')
    )
    frames, counts, _ = read(path)
    assert len(frames) == 10
    assert counts['camera_missing'] == 9


def test_raw_images_are_taken_where_a_camera_has_both(record):
    path = record(place(), info(), images(0, raw=True), images(0))
    frames, _, _ = read(path)
    assert len(frames) == 1


def test_a_calibration_that_changes_holds_from_then_on(record):
    half = K.copy()
    half[0, 0] = 60
    path = record(place(), info(), images(0), info(ms=50, k=half.reshape(9)), images(100, 200))
    frames, _, _ = read(path)
    assert [f.images[0].camera.intrinsic[0, 0] for f in frames] == [30, 60, 60]


def error_of(path, **options):
    with pytest.raises(InputError) as error:
        read(path, **options)
    text = str(error.value)
    assert path.name in text
    assert 'Remedy' in text
    return text


def test_a_missing_camera_info_is_named(record):
    text = error_of(record(place(), images(0)))
    assert '/car/front/camera_info' in text


def test_a_camera_without_calibration_is_named(record):
    text = error_of(record(place(), info(k=np.zeros(9)), images(0)))
    assert 'not calibrated' in text
    assert '/car/front/camera_info' in text


def test_an_image_of_another_size_than_its_calibration_is_named(record):
    text = error_of(record(place(), info(), images(0, size=(16, 12))))
    assert '32 x 24' in text
    assert '16 x 12' in text


def test_missing_transforms_are_named(record):
    assert '/tf' in error_of(record(info(), images(0)))
    text = error_of(record(place(), info(), images(0), name='b'), world_frame='earth')
    assert "'earth'" in text
    assert 'car/base_link' in text  # the known frames help to find the right name


def test_a_camera_that_hangs_nowhere_is_named(record):
    path = record(place(camera='other'), info(), images(0))
    text = error_of(path)
    assert 'front_optical_frame' in text


def test_a_truncated_jpeg_in_a_bag_is_named(record):
    text = error_of(record(place(), info(), images(0, cut=200)))
    assert 'cut off' in text
    assert 'image_raw/compressed' in text


def test_a_frame_with_two_parents_is_named(record):
    path = record(
        place(), info(), images(0),
        lambda r: r.transform('odom', 'car/base_link', 0, SE3.identity()),
    )  # fmt: skip
    assert 'two parents' in error_of(path)


def test_what_is_no_bag_is_named(tmp_path, record):
    for name, content in (('a.mcap', b''), ('b.mcap', b'x' * 100), ('c.db3', b'x' * 5000)):
        path = tmp_path / name
        path.write_bytes(content)
        error_of(path)
    error_of(tmp_path / 'missing.mcap')
    (tmp_path / 'directory').mkdir()
    error_of(tmp_path / 'directory')
    (tmp_path / 'notes.txt').write_text('hello')
    error_of(tmp_path / 'notes.txt')


def test_a_bag_cut_off_in_the_middle_is_named(record):
    path = record(place(), info(), images(*range(0, 1000, 50)), name='whole.mcap')
    data = path.read_bytes()
    for share in (0.3, 0.7, 0.999):
        cut = path.with_name(f'cut_{share}.mcap')
        cut.write_bytes(data[: int(len(data) * share)])
        error_of(cut)


def test_a_bag_without_cameras_says_what_it_has(shared_dir):
    path = shared_dir / 'data/rosbag2_small/test/data/nav2_turtlebot.mcap'
    with pytest.raises(InputError, match='no camera images') as error:
        BagReader(path)
    assert '/odom' in str(error.value)


def test_transforms_of_a_real_bag_are_interpolated_between_their_neighbours(shared_dir):
    from rosbags.rosbag2 import Reader

    from cooptrack_ros.bags import typestore
    from cooptrack_ros.bags.transforms import TransformHistory
    from cooptrack_ros.conversions import transform_from_message

    history, store = TransformHistory(), typestore()
    count = 0
    with Reader(shared_dir / 'data/rosbag2_small/test/data/tf_example') as reader:
        connections = [c for c in reader.connections if c.topic in ('/tf', '/tf_static')]
        for connection, _, data in reader.messages(connections):
            message = store.deserialize_cdr(data, connection.msgtype)
            count += connection.topic == '/tf'
            for transform in message.transforms:
                parent, child, stamp_ns, pose = transform_from_message(transform)
                static = connection.topic == '/tf_static'
                history.add(parent, child, stamp_ns, pose, static=static)
    assert count == 517
    checked = 0
    for child, edge in history._edges.items():
        if edge.static or len(edge.stamps) < 3:
            continue
        a, b = edge.stamps[1], edge.stamps[2]
        middle = history.lookup(edge.parent, child, (a + b) // 2)
        ends = [history.lookup(edge.parent, child, s) for s in (a, b)]
        np.testing.assert_allclose(
            middle.translation, (ends[0].translation + ends[1].translation) / 2, atol=1e-6
        )
        np.testing.assert_allclose(ends[0].matrix, edge.poses[1].matrix, atol=1e-12)
        back = history.lookup(child, edge.parent, a).matrix @ ends[0].matrix
        np.testing.assert_allclose(back, np.eye(4), atol=1e-9)
        checked += 1
    assert checked
