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


"""Images, cameras, poses: core structures to ROS messages and back, good and bad input."""

from __future__ import annotations

import array
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cooptrack_core.errors import InputError
from cooptrack_core.geometry import SE3, CameraModel
from cooptrack_ros.bags import bag_types
from cooptrack_ros.conversions import (
    RosTypes,
    calibration_from_info,
    compressed_to_message,
    image_to_message,
    info_to_message,
    ns_to_stamp,
    pose_from_message,
    pose_to_message,
    rgb_from_compressed,
    rgb_from_image,
    stamp_to_ns,
    transform_from_message,
    transform_to_message,
)

TYPES = bag_types()
K = np.array([[300.0, 0, 159.5], [0, 310.0, 119.5], [0, 0, 1]])
LOOK_X = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])


def random_pose(seed: int) -> SE3:
    random = np.random.default_rng(seed)
    return SE3.from_quaternion(random.normal(size=4), random.uniform(-1e6, 1e6, 3))


def picture(height: int = 24, width: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def through_cdr(message, name):
    store = TYPES.store
    return store.deserialize_cdr(store.serialize_cdr(message, name), name)


@given(st.integers(-(2**31) * 10**9, 2**31 * 10**9 - 1))
def test_times_come_back(stamp_ns):
    assert stamp_to_ns(ns_to_stamp(TYPES, stamp_ns)) == stamp_ns


def test_a_time_beyond_2038_is_refused():
    with pytest.raises(ValueError, match='2038'):
        ns_to_stamp(TYPES, 2**31 * 10**9)


@given(st.integers(0, 2**32 - 1))
def test_poses_and_transforms_come_back(seed):
    pose = random_pose(seed)
    message = through_cdr(pose_to_message(TYPES, pose), 'geometry_msgs/msg/Pose')
    got = pose_from_message(message)
    np.testing.assert_allclose(got.matrix, pose.matrix, rtol=0, atol=1e-14 * 1e6)
    stamped = transform_to_message(TYPES, pose, 'map', 'car/base_link', 123456789)
    parent, child, stamp_ns, got = transform_from_message(stamped)
    assert (parent, child, stamp_ns) == ('map', 'car/base_link', 123456789)
    np.testing.assert_allclose(got.rotation, pose.rotation, atol=1e-12)


def test_a_zero_quaternion_is_an_input_error():
    message = pose_to_message(TYPES, SE3.identity())
    message.orientation.w = 0.0
    with pytest.raises(InputError, match='quaternion'):
        pose_from_message(message)


def image_message(pixels: np.ndarray, encoding: str, pad: int = 0, big: bool = False):
    height, width = pixels.shape[:2]
    data = pixels.astype(pixels.dtype.newbyteorder('>' if big else '<'))
    rows = np.ascontiguousarray(data).view(np.uint8).reshape(height, -1)
    rows = np.concatenate([rows, np.full((height, pad), 7, np.uint8)], 1)
    message = image_to_message(TYPES, np.zeros((1, 1, 3), np.uint8), 5, 'cam')
    message.height, message.width, message.step = height, width, rows.shape[1]
    message.encoding, message.is_bigendian, message.data = encoding, int(big), rows.reshape(-1)
    return message


@pytest.mark.parametrize('pad', [0, 5])
def test_raw_images_of_every_colour_order_come_out_as_rgb(pad):
    rgb = picture()
    grey = rgb[..., 0]
    alpha = np.full((*grey.shape, 1), 255, np.uint8)
    cases = {
        'rgb8': (rgb, rgb),
        'bgr8': (rgb[..., ::-1], rgb),
        '8UC3': (rgb[..., ::-1], rgb),
        'rgba8': (np.concatenate([rgb, alpha], -1), rgb),
        'bgra8': (np.concatenate([rgb[..., ::-1], alpha], -1), rgb),
        'mono8': (grey, np.repeat(grey[..., None], 3, -1)),
        '8UC1': (grey, np.repeat(grey[..., None], 3, -1)),
    }
    for encoding, (pixels, expected) in cases.items():
        got = rgb_from_image(through_cdr(image_message(pixels, encoding, pad),
                                         'sensor_msgs/msg/Image'))  # fmt: skip
        np.testing.assert_array_equal(got, expected, err_msg=encoding)
        assert got.flags.c_contiguous


@pytest.mark.parametrize('big', [False, True])
def test_16_bit_images_are_scaled(big):
    grey = (np.arange(24 * 32, dtype=np.uint16) * 85).reshape(24, 32)
    got = rgb_from_image(image_message(grey, 'mono16', 3, big))
    assert np.abs(got[..., 1].astype(float) - grey / 257).max() <= 1


def test_bayer_and_yuv_images_are_developed():
    flat = np.zeros((8, 8), np.uint8)
    flat[0::2, 0::2], flat[1::2, 1::2], flat[0::2, 1::2], flat[1::2, 0::2] = 200, 40, 90, 90
    got = rgb_from_image(image_message(flat, 'bayer_rggb8'))[3:5, 3:5].reshape(-1, 3)
    assert np.abs(got.astype(int) - [200, 90, 40]).max() <= 1
    yuv = np.full((8, 8, 2), 128, np.uint8)
    got = rgb_from_image(image_message(yuv, 'yuv422'))
    assert np.abs(got.astype(int) - 130).max() < 6


def test_a_raw_image_that_does_not_fit_its_sizes_is_an_input_error():
    rgb = picture()
    for change, word in (
        ({'encoding': 'nonsense'}, 'encoding'), ({'encoding': '32FC1'}, 'encoding'),
        ({'encoding': 'nv12'}, 'encoding'), ({'height': 25}, 'too few'),
        ({'step': 10}, 'too few'), ({'width': 0}, 'pixels'),
        ({'data': rgb[:3].reshape(-1)}, 'too few'),
    ):  # fmt: skip
        message = replace(image_message(rgb, 'rgb8'), **change)
        with pytest.raises(InputError, match=word) as error:
            rgb_from_image(message, '/car/front/image_raw')
        assert 'front' in str(error.value)


def test_an_image_comes_back_from_its_message():
    rgb = picture()
    message = through_cdr(image_to_message(TYPES, rgb, 7, 'cam'), 'sensor_msgs/msg/Image')
    np.testing.assert_array_equal(rgb_from_image(message), rgb)
    assert stamp_to_ns(message.header.stamp) == 7
    assert message.header.frame_id == 'cam'


def test_compressed_images_keep_their_bytes_and_are_decoded_as_rgb():
    rgb = np.full((16, 16, 3), (200, 20, 30), np.uint8)
    for suffix, kind in (('.png', 'png'), ('.jpg', 'jpeg')):
        data = cv2.imencode(suffix, rgb[..., ::-1])[1].tobytes()
        message = compressed_to_message(TYPES, data, 7, 'cam')
        assert message.format == kind
        got = through_cdr(message, 'sensor_msgs/msg/CompressedImage')
        assert bytes(got.data) == data
        assert np.abs(rgb_from_compressed(got).astype(int) - rgb).max() < 4


def test_a_truncated_jpeg_in_a_message_is_named_in_the_error():
    data = cv2.imencode('.jpg', picture(64, 64))[1].tobytes()
    message = compressed_to_message(TYPES, data[: len(data) // 2], 7, 'cam')
    with pytest.raises(InputError, match='cut off') as error:
        rgb_from_compressed(message, '/car/front/image_raw/compressed')
    assert '/car/front/image_raw/compressed' in str(error.value)
    message.format = '16UC1; compressedDepth png'
    with pytest.raises(InputError, match='depth'):
        rgb_from_compressed(message)


def info(**changes):
    camera = CameraModel('front', 320, 240, K, np.eye(4))
    return replace(info_to_message(TYPES, camera, 0, 'cam'), **changes)


def roi(**changes):
    return replace(info().roi, **changes)


def read(message, **options):
    return calibration_from_info(message, 'front', SE3(LOOK_X, np.array([0, 1.5, 0])), **options)


def test_a_camera_comes_back_from_its_camera_info():
    calibration = read(through_cdr(info(), 'sensor_msgs/msg/CameraInfo'))
    camera = calibration.camera
    assert calibration.maps is None
    np.testing.assert_array_equal(camera.intrinsic, K)
    assert (camera.name, camera.width, camera.height) == ('front', 320, 240)
    np.testing.assert_array_equal(camera.camera_T_agent[:3, :3], LOOK_X)
    image = picture(240, 320)
    assert calibration.undistort(image) is image


@pytest.mark.parametrize(
    ('changes', 'word'),
    [
        ({'k': np.zeros(9)}, 'not calibrated'),
        ({'width': 0, 'height': 0}, 'not calibrated'),
        ({'k': np.array([300, 0, 9, 0, -1, 9, 0, 0, 1.0])}, 'intrinsic'),
        ({'k': np.full(9, np.nan)}, 'finite'),
        ({'distortion_model': 'omnidirectional', 'd': np.ones(4)}, 'distortion model'),
        ({'distortion_model': '', 'd': np.array([0.1, 0, 0, 0, 0])}, 'distortion model'),
        ({'d': np.array([0.1, 0.2])}, 'coefficients'),
        ({'d': np.array([np.nan] * 5)}, 'finite'),
        ({'roi': roi(x_offset=300, width=100, height=10)}, 'region of interest'),
    ],
)
def test_a_camera_info_that_cannot_be_used_is_an_input_error(changes, word):
    with pytest.raises(InputError, match=word) as error:
        read(info(**changes), source='/car/front/camera_info')
    assert '/car/front/camera_info' in str(error.value)
    assert error.value.remedy


def test_an_image_of_another_size_than_its_calibration_is_an_input_error():
    with pytest.raises(InputError, match=r'320 x 240.*has 160 x 120'):
        read(info()).undistort(picture(120, 160))


def test_region_of_interest_and_binning_move_the_pixels_of_the_same_ray():
    point = np.array([[10.0, -1.0, 0.4], [20.0, 3.0, -2.0]])
    full, _ = read(info()).camera.project(point)
    cut = read(info(roi=roi(x_offset=40, y_offset=20, width=200, height=160))).camera
    assert (cut.width, cut.height) == (200, 160)
    np.testing.assert_allclose(cut.project(point)[0], full - [40, 20])
    binned = read(info(binning_x=2, binning_y=4)).camera
    assert (binned.width, binned.height) == (160, 60)
    np.testing.assert_allclose(
        binned.project(point)[0], (full + 0.5) / np.array([2, 4]) - 0.5, atol=1e-12
    )


def distorted_points(points, model, d):
    """Where OpenCV's forward model, not ours, sees points of the optical frame."""
    points = points.reshape(-1, 1, 3)
    if model == 'equidistant':
        return cv2.fisheye.projectPoints(points, np.zeros(3), np.zeros(3), K, d)[0].reshape(-1, 2)
    return cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, d)[0].reshape(-1, 2)


@pytest.mark.parametrize(
    ('model', 'd'),
    [
        ('plumb_bob', [-0.2, 0.05, 0.001, -0.002, 0.01]),
        ('rational_polynomial', [0.1, 0.02, 0.001, 0.001, 0.01, 0.3, 0.05, 0.01]),
        ('equidistant', [0.01, -0.005, 0.002, 0.0]),
        ('equidistant', [0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_a_distorted_dot_appears_where_the_undistorted_camera_projects_it(model, d):
    calibration = read(info(distortion_model=model, d=np.array(d)))
    optical = np.array([[0.25, -0.2, 1.0], [-0.3, 0.15, 1.0], [0.1, 0.2, 1.0]])
    agent = (optical - [0, 1.5, 0]) @ LOOK_X  # the inverse of read()'s extrinsics
    expected, _ = calibration.camera.project(agent)
    image = np.zeros((240, 320, 3), np.uint8)
    for u, v in distorted_points(optical, model, np.array(d)):
        cv2.circle(image, (round(u * 16), round(v * 16)), 3 * 16, (255, 255, 255), -1,
                   cv2.LINE_AA, 4)  # fmt: skip
    flat = calibration.undistort(image)[..., 0].astype(float)
    for u, v in expected:
        x, y = round(u), round(v)
        patch = flat[y - 8 : y + 9, x - 8 : x + 9]
        rows, columns = np.mgrid[-8:9, -8:9]
        centre = np.array([(columns * patch).sum(), (rows * patch).sum()]) / patch.sum()
        assert np.abs(centre + np.array([x, y]) - [u, v]).max() < 0.4


def test_a_rectified_image_uses_the_projection_matrix_and_spends_the_distortion():
    p = np.array([[290.0, 0, 150, -290 * 0.12], [0, 290, 118, 0], [0, 0, 1, 0]])
    turn = SE3.from_yaw(0.01).rotation
    message = info(p=p.reshape(12), r=turn.reshape(9), d=np.array([-0.2, 0.05, 0, 0, 0]))
    calibration = read(message, rectified=True)
    assert calibration.maps is None
    optical = np.array([0.3, -0.1, 4.0])
    homogeneous = p @ np.append(turn @ optical, 1)
    agent = (optical - [0, 1.5, 0]) @ LOOK_X
    np.testing.assert_allclose(
        calibration.camera.project(agent)[0], homogeneous[:2] / homogeneous[2]
    )
    with pytest.raises(InputError, match='projection matrix'):
        read(info(p=np.zeros(12)), rectified=True)


@given(values=st.lists(st.integers(0, 255), max_size=50))
@settings(max_examples=30)
def test_ros_classes_get_array_array_and_keyword_fields(values):
    made = []

    class Image(SimpleNamespace):
        def __init__(self, **fields):
            super().__init__(**fields)
            made.append(self)

    package = ModuleType('fake_sensor_msgs.msg')
    package.Image = Image
    sys.modules['fake_sensor_msgs'] = ModuleType('fake_sensor_msgs')
    sys.modules['fake_sensor_msgs.msg'] = package
    try:
        types = RosTypes()
        data = types.sequence(np.array(values, dtype=np.uint8))
        message = types.new('fake_sensor_msgs/msg/Image', data=data)
    finally:
        del sys.modules['fake_sensor_msgs'], sys.modules['fake_sensor_msgs.msg']
    assert made == [message]
    assert isinstance(message.data, array.array)
    assert message.data.typecode == 'B'
    assert list(message.data) == values
    floats = types.sequence(np.array([[1.5, 2.5]], dtype=np.float32))
    assert (floats.typecode, list(floats)) == ('f', [1.5, 2.5])
