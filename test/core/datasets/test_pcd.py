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

"""Point clouds: all encodings, the field lists of both sides, damage."""

from __future__ import annotations

import numpy as np
import pytest
from builder import write_pcd
from hypothesis import given
from hypothesis import strategies as st

from cooptrack_core.datasets.pcd import decompress_lzf, read_pcd, read_points
from cooptrack_core.errors import InputError

ENCODINGS = ('ascii', 'binary', 'binary_compressed')


def compress_lzf(data: bytes) -> bytes:
    """Greedy LZF, slow and simple: longest match within 8 KiB, overlapping matches included."""
    out, literals, at = bytearray(), bytearray(), 0

    def flush():
        for i in range(0, len(literals), 32):
            run = literals[i : i + 32]
            out.extend([len(run) - 1, *run])
        literals.clear()

    while at < len(data):
        best, best_offset = 0, 0
        for start in range(max(0, at - 8192), at):
            length = 0
            while (
                at + length < len(data)
                and length < 264
                and data[start + length] == data[at + length]
            ):
                length += 1
            if length > best:
                best, best_offset = length, at - start - 1
        if best < 3:
            literals.append(data[at])
            at += 1
            continue
        flush()
        code = best - 2
        if code < 7:
            out.append((code << 5) | (best_offset >> 8))
        else:
            out.extend([(7 << 5) | (best_offset >> 8), code - 7])
        out.append(best_offset & 255)
        at += best
    flush()
    return bytes(out)


@given(st.lists(st.integers(0, 3), max_size=400).map(bytes))
def test_lzf_unpacks_what_was_packed(data):
    assert decompress_lzf(compress_lzf(data), len(data)) == data


def test_lzf_repeats_a_reference_that_overlaps_itself():
    # One literal, then 264 bytes copied from one byte back.
    assert decompress_lzf(b'\x00A\xe0\xff\x00', 265) == b'A' * 265


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_every_encoding_gives_the_same_points(tmp_path, encoding):
    points = np.random.default_rng(1).normal(0, 50, (200, 4)).astype(np.float32)
    path = tmp_path / 'cloud.pcd'
    write_pcd(path, points, encoding)
    np.testing.assert_array_equal(read_points(path), points)


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_an_empty_cloud_is_read(tmp_path, encoding):
    write_pcd(tmp_path / 'cloud.pcd', np.zeros((0, 4)), encoding)
    assert read_points(tmp_path / 'cloud.pcd').shape == (0, 4)


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_a_cut_off_cloud_is_named_in_the_error(tmp_path, encoding):
    path = tmp_path / 'cloud.pcd'
    write_pcd(path, np.ones((50, 4)), encoding)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match=r'cloud\.pcd.*Remedy'):
        read_points(path)


def test_fields_of_other_types_and_counts_are_kept(tmp_path):
    dtype = np.dtype(
        [('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('intensity', 'u1'), ('timestamp', '<f8'),
         ('normal', '<f4', (3,))]
    )  # fmt: skip
    cloud = np.zeros(7, dtype=dtype)
    cloud['intensity'] = np.arange(7)
    cloud['timestamp'] = 1626155122.981522 + np.arange(7)
    cloud['normal'] = np.arange(21).reshape(7, 3)
    header = (
        'VERSION 0.7\nFIELDS x y z intensity timestamp normal\nSIZE 4 4 4 1 8 4\n'
        'TYPE F F F U F F\nCOUNT 1 1 1 1 1 3\nWIDTH 7\nHEIGHT 1\nPOINTS 7\nDATA binary\n'
    )
    path = tmp_path / 'vehicle.pcd'
    path.write_bytes(header.encode() + cloud.tobytes())
    np.testing.assert_array_equal(read_pcd(path), cloud)
    np.testing.assert_array_equal(read_points(path)[:, 3], np.arange(7))


def test_returns_without_a_hit_are_left_out(tmp_path):
    points = np.ones((5, 4))
    points[2, 1] = np.nan
    write_pcd(tmp_path / 'cloud.pcd', points, 'binary')
    assert len(read_pcd(tmp_path / 'cloud.pcd')) == 5
    assert len(read_points(tmp_path / 'cloud.pcd')) == 4


@pytest.mark.parametrize(
    ('before', 'after', 'field'),
    [
        (b'FIELDS x y z intensity', b'FIELDS x y intensity w', "'z'"),
        (b'SIZE 4 4 4 4', b'SIZE 4 4 4', "'FIELDS'"),
        (b'TYPE F F F F', b'TYPE F F F Q', "'TYPE'"),
        (b'POINTS 50', b'POINTS many', "'POINTS'"),
        (b'DATA binary', b'DATA zipped', "'DATA'"),
        (b'POINTS 50\n', b'', "'POINTS'"),
    ],
)
def test_a_wrong_header_line_is_named_in_the_error(tmp_path, before, after, field):
    path = tmp_path / 'cloud.pcd'
    write_pcd(path, np.ones((50, 4)), 'binary')
    path.write_bytes(path.read_bytes().replace(before, after))
    with pytest.raises(InputError, match=field):
        read_points(path)


def test_a_picture_is_no_cloud(tmp_path):
    path = tmp_path / 'cloud.pcd'
    path.write_bytes(b'\xff\xd8' + b'\0' * 9000)
    with pytest.raises(InputError, match='not a PCD'):
        read_points(path)


def test_real_clouds_hold_their_known_points(shared_dir):
    data = shared_dir / 'data'
    pair = data / 'dair_v2x_pair/data/DAIR-V2X'
    vehicle = read_pcd(pair / 'vehicle-side/velodyne/017314.pcd')
    roadside = read_pcd(pair / 'infrastructure-side/velodyne/001366.pcd')
    assert len(vehicle) == 62199
    assert len(roadside) == 53653
    assert vehicle.dtype['intensity'] == np.uint8
    assert vehicle.dtype['timestamp'] == np.float64
    assert roadside.dtype['intensity'] == np.float32
    # A sweep lasts a tenth of a second and its stamps are of the year it was recorded.
    stamps = vehicle['timestamp']
    assert 1.6e9 < stamps.min() < stamps.max() < stamps.min() + 0.2 < 1.7e9
    others = data / 'dair_v2x_pair/traditional_registration/files'
    assert len(read_points(others / '000289.pcd')) == 61156
    assert len(read_points(others / '007489.pcd')) == 56313
    assert len(read_points(data / 'v2xr_agents/0_lidar.pcd')) == 43488
