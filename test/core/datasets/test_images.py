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

"""Image files: colours, sizes, and files that are not whole."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cooptrack_core.datasets.images import image_size, read_image
from cooptrack_core.errors import InputError


@pytest.fixture(params=['jpg', 'png'])
def image_path(request, tmp_path):
    rgb = np.zeros((40, 60, 3), dtype=np.uint8)
    rgb[..., 0] = 210
    rgb[:, 30:, 2] = 90
    path = tmp_path / f'frame.{request.param}'
    cv2.imwrite(str(path), rgb[..., ::-1])
    return path


def test_an_image_comes_back_as_rgb(image_path):
    image = read_image(image_path)
    assert image.shape == (40, 60, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    np.testing.assert_allclose(image[20, 10], [210, 0, 0], atol=6)
    np.testing.assert_allclose(image[20, 50], [210, 0, 90], atol=6)


def test_the_size_is_read_from_the_header(image_path):
    assert image_size(image_path) == (60, 40)


def test_the_header_is_enough_for_the_size_of_a_cut_off_file(image_path):
    data = image_path.read_bytes()
    image_path.write_bytes(data[: len(data) * 3 // 4])
    assert image_size(image_path) == (60, 40)


@pytest.mark.parametrize('keep', [0, 1, 3, 30, 0.5, 0.9, -1])
def test_a_truncated_image_is_named_in_the_error(image_path, keep):
    data = image_path.read_bytes()
    count = int(len(data) * keep) if isinstance(keep, float) else keep
    image_path.write_bytes(data[:count])
    with pytest.raises(InputError, match='Remedy') as error:
        read_image(image_path)
    assert str(image_path) in str(error.value)


def test_padding_after_the_end_marker_is_harmless(image_path):
    whole = read_image(image_path)
    with image_path.open('ab') as file:
        file.write(b'\0' * 16)
    np.testing.assert_array_equal(read_image(image_path), whole)


def test_an_end_marker_inside_a_thumbnail_does_not_make_a_file_whole(tmp_path):
    _, jpeg = cv2.imencode('.jpg', np.full((64, 64, 3), 127, dtype=np.uint8))
    data = jpeg.tobytes()
    # An APP1 segment that carries a complete small JPEG, then the cut-off picture.
    segment = b'\xff\xe1' + (len(data) + 2).to_bytes(2, 'big') + data
    path = tmp_path / 'thumbnail.jpg'
    path.write_bytes(data[:2] + segment + data[2:-2])
    with pytest.raises(InputError, match='cut off'):
        read_image(path)
    path.write_bytes(data[:2] + segment + data[2:])
    assert read_image(path).shape == (64, 64, 3)


def test_a_progressive_jpeg_is_read_and_its_truncation_found(tmp_path):
    path = tmp_path / 'progressive.jpg'
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (48, 80, 3), dtype=np.uint8)
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert read_image(path).shape == (48, 80, 3)
    assert image_size(path) == (80, 48)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match='cut off'):
        read_image(path)


def test_a_missing_image_is_named_in_the_error(tmp_path):
    with pytest.raises(InputError, match=r'nowhere\.jpg.*Remedy'):
        read_image(tmp_path / 'nowhere.jpg')


def test_a_text_file_is_no_image(tmp_path):
    path = tmp_path / 'note.jpg'
    path.write_text('this is not a picture at all')
    with pytest.raises(InputError, match='neither a JPEG nor a PNG'):
        read_image(path)


def test_real_images_are_whole(shared_dir):
    data = shared_dir / 'data'
    paths = sorted(p for p in data.rglob('*') if p.suffix in ('.jpg', '.png'))
    assert len(paths) >= 11
    for path in paths:
        height, width, _ = read_image(path).shape
        assert image_size(path) == (width, height)
