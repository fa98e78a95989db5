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


"""Conversions room: CameraInfo, all of its fields, to an undistorted pinhole camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from cooptrack_core.errors import InputError
from cooptrack_core.geometry import SE3, CameraModel
from cooptrack_ros.conversions.geometry import header
from cooptrack_ros.conversions.message_types import MessageTypes

Array = NDArray[np.float64]
Lens = Literal['none', 'polynomial', 'fisheye']

_COEFFICIENTS = {'plumb_bob': (4, 5), 'rational_polynomial': (8, 12, 14), 'equidistant': (4,)}
_ALIASES = {'fisheye': 'equidistant', 'kannala_brandt4': 'equidistant'}


@dataclass(frozen=True, eq=False)
class Calibration:
    """A camera and the way from its images to undistorted ones.

    Attributes:
        camera: The undistorted camera.
        maps: Pixel maps of cv2.remap, or None when the images are undistorted already.
        source: Where the calibration came from, for error texts.
    """

    camera: CameraModel
    maps: tuple[NDArray[np.int16], NDArray[np.uint16]] | None
    source: str

    def undistort(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Undistort an image of the calibrated size; outside of the lens it becomes black.

        Raises:
            InputError: The image has another size than the calibration.
        """
        check_image_size(self.camera, image.shape[1], image.shape[0], self.source)
        if self.maps is None:
            return image
        return np.asarray(
            cv2.remap(image, self.maps[0], self.maps[1], cv2.INTER_LINEAR), dtype=np.uint8
        )


def check_image_size(
    camera: CameraModel, width: int, height: int, source: str | None = None
) -> None:
    """Check an image against its calibration; ``source`` is named in the error.

    Raises:
        InputError: The sizes differ.
    """
    if (width, height) != (camera.width, camera.height):
        raise InputError(
            f'the calibration is for {camera.width} x {camera.height} pixels (region of interest '
            f'and binning included), the image has {width} x {height}',
            path=source or camera.name,
            field='width',
            remedy='publish the camera_info that belongs to these images, or calibrate again',
        )


def calibration_from_info(
    info: Any,
    name: str,
    camera_SE3_agent: SE3,
    *,
    rectified: bool = False,
    source: str | None = None,
) -> Calibration:
    """Read a sensor_msgs/CameraInfo.

    ``width`` and ``height`` are the calibrated full resolution; the region of interest is cut
    out of it, then binning shrinks it, as the message is defined. Pixel centres follow
    ``CameraModel.resized`` (half a binned pixel more exact than image_geometry).

    Args:
        info: The message.
        name: Name of the camera on its agent.
        camera_SE3_agent: Optical frame from agent frame, of TF.
        rectified: The images come from ``image_rect``: P and R hold, D is spent.
        source: Topic, for error texts.

    Raises:
        InputError: The camera is not calibrated, or its distortion model or a field is unusable.
    """
    where = source or name

    def wrong(field: str, message: str, remedy: str) -> InputError:
        return InputError(message, path=where, field=field, remedy=remedy)

    k = np.array(info.k, dtype=np.float64).reshape(3, 3)
    p = np.array(info.p, dtype=np.float64).reshape(3, 4)
    camera_T_agent = camera_SE3_agent.matrix
    if k[0, 0] == 0 or info.width == 0 or info.height == 0:
        raise wrong('k', 'the camera is not calibrated', 'calibrate it, or fill camera_info')
    matrix, lens, d = k, 'none', np.zeros(0)
    if rectified:
        if p[0, 0] == 0:
            raise wrong('p', 'the projection matrix is empty', 'calibrate for rectified images')
        matrix = p[:, :3]
        camera_T_agent = _rectified_frame(info, p) @ camera_T_agent
    else:
        lens, d = _distortion(info, wrong)
    x, y, width, height, bin_x, bin_y = _window(info, wrong)
    crop = np.array([[1.0, 0, -x], [0, 1.0, -y], [0, 0, 1.0]])
    try:
        camera = CameraModel(name, width, height, crop @ matrix, camera_T_agent)
        if bin_x > 1 or bin_y > 1:
            camera = camera.resized(width // bin_x, height // bin_y)
    except ValueError as error:
        raise wrong('k', str(error), 'correct camera_info') from error
    return Calibration(camera, _maps(camera, lens, d), where)


def _rectified_frame(info: Any, p: Array) -> Array:
    """Optical frame of the rectified image from that of TF: turned by R, moved by P's column."""
    out = np.eye(4)
    r = np.array(info.r, dtype=np.float64).reshape(3, 3)
    if r.any():
        out[:3, :3] = r
    out[:3, 3] = np.linalg.solve(p[:, :3], p[:, 3])
    return out


def _distortion(info: Any, wrong: Any) -> tuple[str, Array]:
    d = np.array(info.d, dtype=np.float64)
    model = _ALIASES.get(info.distortion_model, info.distortion_model)
    if not np.isfinite(d).all():
        raise wrong('d', 'a distortion coefficient is not finite', 'calibrate the camera again')
    if not d.any() and model in ('', *_COEFFICIENTS):
        # An all-zero fisheye is not free of distortion: its image is equidistant.
        return ('fisheye', np.zeros(4)) if model == 'equidistant' else ('none', d)
    if model not in _COEFFICIENTS:
        raise wrong(
            'distortion_model',
            f'the distortion model {info.distortion_model!r} is not handled',
            f'use one of {list(_COEFFICIENTS)}, or subscribe to image_rect',
        )
    if len(d) not in _COEFFICIENTS[model]:
        raise wrong(
            'd',
            f'{model} has {" or ".join(map(str, _COEFFICIENTS[model]))} coefficients, '
            f'found {len(d)}',
            'calibrate the camera again',
        )
    return ('fisheye' if model == 'equidistant' else 'polynomial'), d


def _window(info: Any, wrong: Any) -> tuple[int, int, int, int, int, int]:
    """(x, y, width, height) of the region of interest at full resolution, and the binning."""
    roi = info.roi
    x, y, width, height = (int(v) for v in (roi.x_offset, roi.y_offset, roi.width, roi.height))
    if width == 0 or height == 0:  # zero means the full image
        width, height = int(info.width) - x, int(info.height) - y
    if width <= 0 or height <= 0 or x + width > info.width or y + height > info.height:
        raise wrong(
            'roi', 'the region of interest lies outside of the image', 'correct camera_info'
        )
    return x, y, width, height, max(int(info.binning_x), 1), max(int(info.binning_y), 1)


def _maps(
    camera: CameraModel, lens: str, d: Array
) -> tuple[NDArray[np.int16], NDArray[np.uint16]] | None:
    if lens == 'none':
        return None
    k, size = camera.intrinsic, (camera.width, camera.height)
    make = (
        cv2.fisheye.initUndistortRectifyMap if lens == 'fisheye' else (cv2.initUndistortRectifyMap)
    )
    first, second = make(k, d, np.eye(3), k, size, cv2.CV_16SC2)
    return np.asarray(first, dtype=np.int16), np.asarray(second, dtype=np.uint16)


def info_to_message(types: MessageTypes, camera: CameraModel, stamp_ns: int, frame_id: str) -> Any:
    """Make the sensor_msgs/CameraInfo of an undistorted camera."""
    k = camera.intrinsic
    return types.new(
        'sensor_msgs/msg/CameraInfo',
        header=header(types, stamp_ns, frame_id),
        height=camera.height,
        width=camera.width,
        distortion_model='plumb_bob',
        d=types.sequence(np.zeros(5)),
        k=k.reshape(9).copy(),
        r=np.eye(3).reshape(9),
        p=np.concatenate([k, np.zeros((3, 1))], -1).reshape(12),
        binning_x=0,
        binning_y=0,
        roi=types.new(
            'sensor_msgs/msg/RegionOfInterest',
            x_offset=0,
            y_offset=0,
            height=0,
            width=0,
            do_rectify=False,
        ),
    )
