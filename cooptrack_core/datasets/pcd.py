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

"""Datasets room: point clouds in the PCD format (ascii, binary, binary_compressed)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.datasets.json_files import read_bytes
from cooptrack_core.errors import InputError

_REMEDY = 'copy the file anew from the dataset, or write it again as PCD 0.7'


def read_pcd(path: Path) -> NDArray[np.void]:
    """Read a PCD file with the fields that its own header lists.

    DAIR-V2X gives each side other fields (vehicle: one-byte intensity and a time per point).

    Returns:
        (m,) structured array, one named column per field.

    Raises:
        InputError: The file is missing, its header is wrong, or data are missing.
    """
    data = read_bytes(path, 'the point cloud')
    header, body = _split_header(data, path)
    dtype, count, encoding = _parse_header(header, path)
    if count == 0:
        return np.zeros(0, dtype=dtype)
    try:
        if encoding == 'ascii':
            # Padding columns are named _; every column is read, whatever it is called.
            table = np.array(body.split(), dtype=np.float64).reshape(count, -1)
            return _from_columns(table, dtype, count)
        if encoding == 'binary':
            return np.array(np.frombuffer(body, dtype=dtype, count=count))
        packed, unpacked = (int.from_bytes(body[i : i + 4], 'little') for i in (0, 4))
        if len(body) < 8 + packed or unpacked != dtype.itemsize * count:
            raise ValueError(f'{len(body) - 8} of {packed} compressed bytes are there')
        return _from_fields(decompress_lzf(body[8 : 8 + packed], unpacked), dtype, count)
    except (ValueError, IndexError) as error:
        raise InputError(
            f'the point data do not match the header ({error})', path=path, remedy=_REMEDY
        ) from error


def read_points(path: Path) -> NDArray[np.float32]:
    """Read x, y, z, intensity of a PCD file; returns that hit nothing (NaN) are left out.

    Returns:
        (m, 4) float32; metres in the frame of the file; the intensity as the sensor gives it
        (0 where the file has none).

    Raises:
        InputError: As ``read_pcd``, or there is no x, y or z.
    """
    cloud = read_pcd(path)
    names = cloud.dtype.names or ()
    for axis in 'xyz':
        if axis not in names:
            raise InputError(
                f'the point cloud has no such column, only {list(names)}',
                path=path,
                field=axis,
                remedy=_REMEDY,
            )
    points = np.zeros((len(cloud), 4), dtype=np.float32)
    for column, name in enumerate(('x', 'y', 'z', 'intensity')):
        if name in names:
            points[:, column] = cloud[name]
    return points[np.isfinite(points[:, :3]).all(1)]


def decompress_lzf(data: bytes, size: int) -> bytes:
    """Unpack the LZF format of Marc Lehmann's liblzf into ``size`` bytes.

    A control byte below 32 is followed by that many literal bytes plus one. Any other says: copy
    (its high three bits plus two) bytes from up to 8 KiB back; 7 there means one more length byte.

    Raises:
        ValueError: The data are damaged.
        IndexError: The data are cut off.
    """
    out = bytearray()
    at, end = 0, len(data)
    while at < end:
        control = data[at]
        at += 1
        if control < 32:
            out += data[at : at + control + 1]
            at += control + 1
            continue
        length = control >> 5
        if length == 7:
            length += data[at]
            at += 1
        start = len(out) - ((control & 31) << 8) - data[at] - 1
        at += 1
        length += 2
        if start < 0:
            raise ValueError('a back reference points before the start')
        piece = out[start : start + length]
        # A reference may reach into what it is just writing: then the piece repeats.
        if len(piece) < length:
            piece = (piece * (length // len(piece) + 1))[:length]
        out += piece
    if len(out) != size:
        raise ValueError(f'{len(out)} bytes unpacked instead of {size}')
    return bytes(out)


def _split_header(data: bytes, path: Path) -> tuple[dict[str, list[str]], bytes]:
    header: dict[str, list[str]] = {}
    at = 0
    while 'DATA' not in header:
        end = data.find(b'\n', at)
        if end < 0 or end - at > 4096:
            raise InputError('this is not a PCD file', path=path, field='DATA', remedy=_REMEDY)
        words = data[at:end].decode('ascii', 'replace').split()
        if words and not words[0].startswith('#'):
            header[words[0]] = words[1:]
        at = end + 1
    return header, data[at:]


def _parse_header(header: dict[str, list[str]], path: Path) -> tuple[np.dtype[np.void], int, str]:
    def wrong(field: str, message: str) -> InputError:
        return InputError(message, path=path, field=field, remedy=_REMEDY)

    for key in ('FIELDS', 'SIZE', 'TYPE', 'POINTS'):
        if not header.get(key):
            raise wrong(key, 'the header line is missing')
    names = header['FIELDS']
    counts = header.get('COUNT', ['1'] * len(names))
    columns: list[tuple[str, str] | tuple[str, str, tuple[int]]] = []
    if not len(names) == len(header['SIZE']) == len(header['TYPE']) == len(counts):
        raise wrong('FIELDS', 'FIELDS, SIZE, TYPE and COUNT differ in length')
    for i, (name, size, kind, repeat) in enumerate(
        zip(names, header['SIZE'], header['TYPE'], counts, strict=True)
    ):
        code = f'<{kind.lower()}{size}'
        if code[1:] not in ('f4', 'f8', 'u1', 'u2', 'u4', 'u8', 'i1', 'i2', 'i4', 'i8'):
            raise wrong('TYPE', f'unknown column type {kind}{size}')
        if not repeat.isdigit():
            raise wrong('COUNT', f'expected a number, found {repeat!r}')
        label = name if name != '_' else f'_{i}'
        columns.append((label, code) if repeat == '1' else (label, code, (int(repeat),)))
    points = header['POINTS'][0]
    if not points.isdigit():
        raise wrong('POINTS', f'expected a number, found {points!r}')
    encoding = (header['DATA'] or [''])[0]
    if encoding not in ('ascii', 'binary', 'binary_compressed'):
        raise wrong('DATA', f'unknown encoding {encoding!r}')
    try:
        return np.dtype(columns), int(points), encoding
    except (TypeError, ValueError) as error:
        raise wrong('FIELDS', f'unusable columns ({error})') from error


def _from_columns(
    table: NDArray[np.float64], dtype: np.dtype[np.void], count: int
) -> NDArray[np.void]:
    cloud = np.zeros(count, dtype=dtype)
    at = 0
    for name in dtype.names or ():
        width = int(np.prod(dtype[name].shape, dtype=int))
        cloud[name] = table[:, at : at + width].reshape(cloud[name].shape)
        at += width
    if at != table.shape[1]:
        raise ValueError(f'{table.shape[1]} columns instead of {at}')
    return cloud


def _from_fields(data: bytes, dtype: np.dtype[np.void], count: int) -> NDArray[np.void]:
    # Compressed files hold column after column instead of point after point.
    cloud = np.zeros(count, dtype=dtype)
    at = 0
    for name in dtype.names or ():
        size = dtype[name].itemsize * count
        cloud[name] = np.frombuffer(data[at : at + size], dtype=dtype[name])
        at += size
    return cloud
