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

"""Frames of a live agent: the same as the bag reader's; what is missing or wrong is named."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import Reader

from cooptrack_core.datasets.v2x_seq import V2XSeqDataset
from cooptrack_core.errors import InputError
from cooptrack_core.structures import Role
from cooptrack_ros.bags import BagReader, names, typestore, write_dataset_bag
from cooptrack_ros.bags.transforms import NoTransformError, TransformHistory
from cooptrack_ros.conversions import rgb_from_compressed, stamp_to_ns, transform_from_message
from cooptrack_ros.nodes.aligner import Sighting
from cooptrack_ros.nodes.frames import FrameBuilder, NoCalibrationError

sys.path.insert(0, str(Path(__file__).parents[1] / 'core' / 'datasets'))
from builder import Spec, build_v2x_seq

IMAGE = names.image_topic('vehicle', 'front')


class Bag:
    """All messages of a bag, and TF as a live node would have it."""

    def __init__(self, path):
        self.path = path
        self.messages, self.tf = {}, TransformHistory()
        store = typestore()
        with Reader(path) as reader:
            for connection, _, data in reader.messages():
                message = store.deserialize_cdr(data, connection.msgtype)
                self.messages.setdefault(connection.topic, []).append(message)
        for topic in ('/tf', '/tf_static'):
            for message in self.messages[topic]:
                for one in message.transforms:
                    parent, child, stamp_ns, pose = transform_from_message(one)
                    self.tf.add(parent, child, stamp_ns, pose, static=topic == '/tf_static')

    def builder(self, info):
        return FrameBuilder(
            agent_id='vehicle',
            role=Role.VEHICLE,
            lookup=self.tf.lookup,
            info_of=lambda camera: info,
            read_image=rgb_from_compressed,
            world_frame='map',
            agent_frame='vehicle/lidar',
            body_frame='vehicle/base_link',
            rectified=False,
        )

    @property
    def info(self):
        return copy.deepcopy(self.messages['/vehicle/front/camera_info'][0])

    def sighting(self, index=0):
        message = copy.deepcopy(self.messages[IMAGE][index])
        return Sighting('front', IMAGE, stamp_to_ns(message.header.stamp), message)


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    root = build_v2x_seq(tmp_path_factory.mktemp('dataset'), Spec(frames=3)).root
    path = tmp_path_factory.mktemp('bag') / 'scene.mcap'
    write_dataset_bag(V2XSeqDataset(root).scenes[0], path)
    return Bag(path)


def test_a_live_frame_is_the_frame_that_the_bag_reader_makes(bag):
    with BagReader(bag.path) as reader:
        offline = [f for f in reader.frames() if f.agent_id == 'vehicle']
    builder = bag.builder(bag.info)
    assert len(offline) == 3
    for index, expected in enumerate(offline):
        frame = builder.build((bag.sighting(index),))
        assert (frame.stamp_ns, frame.role) == (expected.stamp_ns, expected.role)
        np.testing.assert_array_equal(
            frame.world_SE3_agent.matrix, expected.world_SE3_agent.matrix
        )
        np.testing.assert_array_equal(frame.world_SE3_body.matrix, expected.world_SE3_body.matrix)
        np.testing.assert_array_equal(frame.images[0].image, expected.images[0].image)
        np.testing.assert_array_equal(
            frame.images[0].camera.agent_to_image, expected.images[0].camera.agent_to_image
        )


def test_a_jump_back_starts_another_sequence(bag):
    builder = bag.builder(bag.info)
    before = builder.build((bag.sighting(),)).sequence_id
    builder.lap += 1
    assert builder.build((bag.sighting(),)).sequence_id != before


def test_a_changed_calibration_is_taken_over(bag):
    info = bag.info
    builder = bag.builder(info)
    first = builder.build((bag.sighting(),)).images[0].camera.intrinsic[0, 0]
    info.k = np.array(info.k)
    info.k[0] *= 1.5
    assert builder.build((bag.sighting(1),)).images[0].camera.intrinsic[0, 0] == first * 1.5


def test_no_camera_info_can_still_come(bag):
    with pytest.raises(NoCalibrationError, match='camera_info'):
        bag.builder(None).build((bag.sighting(),))


def test_an_uncalibrated_camera_is_refused_and_named(bag):
    info = bag.info
    info.k = np.zeros(9)
    with pytest.raises(InputError, match='not calibrated') as error:
        bag.builder(info).build((bag.sighting(),))
    assert IMAGE in str(error.value)
    assert not isinstance(error.value, NoCalibrationError)


def test_an_image_of_another_size_is_refused(bag):
    info = bag.info
    info.width += 2
    with pytest.raises(InputError, match='pixels'):
        bag.builder(info).build((bag.sighting(),))


def test_a_truncated_jpeg_is_refused(bag):
    cut = bag.sighting()
    cut.message.data = cut.message.data[: len(cut.message.data) // 2]
    with pytest.raises(InputError, match='vehicle'):
        bag.builder(bag.info).build((cut,))


def test_a_pose_that_tf_does_not_know_is_told_apart_from_what_is_wrong(bag):
    image = bag.sighting()
    late = Sighting('front', IMAGE, image.stamp_ns + 10**10, image.message)
    with pytest.raises(NoTransformError):
        bag.builder(bag.info).build((late,))
