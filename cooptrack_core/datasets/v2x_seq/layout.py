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

"""V2X-Seq reader: the index files (who, when, which files), without opening any frame."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cooptrack_core.datasets.json_files import Record, read_json, read_record, read_records
from cooptrack_core.errors import InputError
from cooptrack_core.structures import Role

EGO_ID = 'vehicle'
ROADSIDE_ID = 'roadside'
SPLIT_FILE = 'cooperative-split-data-spd.json'

# Agents without an entry of their own in a pair are matched to the nearest stamp within this.
MAX_PAIR_GAP_NS = 100_000_000


@dataclass(frozen=True)
class AgentInfo:
    """One side of the dataset.

    Attributes:
        agent_id: Unique name, for example ``roadside_1``.
        role: Vehicle or roadside; decides which calibration files there are.
        directory: Directory below the dataset's root.
    """

    agent_id: str
    role: Role
    directory: str


@dataclass(frozen=True)
class FrameRecord:
    """One row of a side's data_info.json; paths are relative to the side's directory.

    Attributes:
        frame_id: Unique inside the side.
        sequence_id: Scene.
        stamp_ns: LiDAR time; labels and pose belong to it.
        image_stamp_ns: Camera time.
        image: Image file.
        points: Point cloud file.
        intrinsic: Camera intrinsics.
        agent_to_camera: LiDAR (vehicle) or virtual LiDAR (roadside) to camera.
        poses: Vehicle: LiDAR to novatel, novatel to world. Roadside: virtual LiDAR to world.
        labels: Labels in the LiDAR frame.
    """

    frame_id: str
    sequence_id: str
    stamp_ns: int
    image_stamp_ns: int
    image: str
    points: str
    intrinsic: str
    agent_to_camera: str
    poses: tuple[str, ...]
    labels: str


@dataclass(frozen=True)
class FramePair:
    """An ego frame and the frames of the other agents that belong to it.

    Attributes:
        ego_frame_id: Frame of the ego.
        remote_frame_ids: Frame per remote agent; an agent without a frame here is absent.
        offsets: Per remote agent (delta_x, delta_y), metres, in the ego's LiDAR frame: what the
            dataset's ``system_error_offset`` adds to the remote agent's points there.
    """

    ego_frame_id: str
    remote_frame_ids: dict[str, str]
    offsets: dict[str, tuple[float, float]]


def read_agents(root: Path) -> tuple[AgentInfo, ...]:
    """List the sides: ego, roadside unit, then those of the optional ``agents.json``.

    Its format: ``{"agents": [{"agent_id": "roadside_1", "role": "roadside", "directory":
    "roadside_1"}]}``.

    Raises:
        InputError: A name twice, an unknown role, or a directory that is not there.
    """
    agents = [
        AgentInfo(EGO_ID, Role.VEHICLE, 'vehicle-side'),
        AgentInfo(ROADSIDE_ID, Role.ROADSIDE, 'infrastructure-side'),
    ]
    path = root / 'agents.json'
    if path.exists():
        listed = read_record(path, 'the list of agents').raw('agents')
        if not isinstance(listed, list):
            raise InputError('expected a list', path=path, field='agents', remedy='use [ … ]')
        for i, row in enumerate(listed):
            record = Record.of(row, path, f'agents[{i}]')
            try:
                role = Role.from_dataset(record.text('role'))
            except ValueError as error:
                raise record.error('role', str(error), 'use vehicle or roadside') from None
            agent = AgentInfo(record.text('agent_id'), role, record.text('directory'))
            if agent in agents[:2]:
                continue
            if agent.agent_id in {a.agent_id for a in agents}:
                raise record.error(
                    'agent_id',
                    f'{agent.agent_id!r} is listed twice',
                    'give each side its own name',
                )
            agents.append(agent)
    for agent in agents:
        if not (root / agent.directory).is_dir():
            raise InputError(
                f"the directory of agent '{agent.agent_id}' is missing",
                path=root / agent.directory,
                remedy='give the directory that holds vehicle-side, infrastructure-side and '
                'cooperative'
                if agent in agents[:2]
                else f'correct {path.name}',
            )
    return tuple(agents)


def read_frames(root: Path, agent: AgentInfo) -> tuple[FrameRecord, ...]:
    """Read a side's data_info.json, ordered by sequence and time.

    Raises:
        InputError: Missing file or key, a frame twice, or stamps that go backwards along the
            frame numbers of a sequence.
    """
    path = root / agent.directory / 'data_info.json'
    rows = read_records(path, 'the frame index')
    frames = [_frame(row, agent.role) for row in rows]
    order = sorted(
        range(len(rows)),
        key=lambda i: (frames[i].sequence_id, _running_number(frames[i].frame_id)),
    )
    seen: set[str] = set()
    for previous, i in zip([None, *order], order, strict=False):
        if frames[i].frame_id in seen:
            raise rows[i].error('frame_id', f'frame {frames[i].frame_id} is listed twice',
                                'remove one of the rows')  # fmt: skip
        seen.add(frames[i].frame_id)
        if previous is None or frames[previous].sequence_id != frames[i].sequence_id:
            continue
        if frames[i].stamp_ns <= frames[previous].stamp_ns:
            raise rows[i].error(
                'pointcloud_timestamp',
                f'the time does not advance from frame {frames[previous].frame_id} '
                f'({frames[previous].stamp_ns // 1000} us) to frame {frames[i].frame_id} '
                f'({frames[i].stamp_ns // 1000} us)',
                'correct the time, or give the frame a sequence_id of its own',
            )
    return tuple(frames[i] for i in order)


def _frame(row: Record, role: Role) -> FrameRecord:
    if role is Role.VEHICLE:
        camera = 'calib_lidar_to_camera_path'
        poses: tuple[str, ...] = ('calib_lidar_to_novatel_path', 'calib_novatel_to_world_path')
    else:
        camera = 'calib_virtuallidar_to_camera_path'
        poses = ('calib_virtuallidar_to_world_path',)
    return FrameRecord(
        frame_id=row.text('frame_id'),
        sequence_id=row.text('sequence_id'),
        stamp_ns=row.integer('pointcloud_timestamp') * 1000,
        image_stamp_ns=row.integer('image_timestamp') * 1000,
        image=row.text('image_path'),
        points=row.text('pointcloud_path'),
        intrinsic=row.text('calib_camera_intrinsic_path'),
        agent_to_camera=row.text(camera),
        poses=tuple(row.text(key) for key in poses),
        labels=row.text('label_lidar_std_path'),
    )


def read_pairs(
    root: Path, frames: dict[str, dict[str, FrameRecord]]
) -> dict[str, tuple[FramePair, ...]]:
    """Read cooperative/data_info.json: pairs per sequence, in the ego's time order.

    Beyond V2X-Seq a row may hold ``"frames": {agent_id: frame_id or null}`` and ``"offsets":
    {agent_id: {"delta_x": …, "delta_y": …}}`` for the extra sides. An extra side that ``frames``
    does not name gives the frame nearest in time, if there is one within 0.1 s.

    Args:
        root: The dataset.
        frames: Per agent, its frames by id; the ego first.

    Raises:
        InputError: A frame that no index lists, a pair across sequences, an ego frame twice.
    """
    path = root / 'cooperative' / 'data_info.json'
    extra = [agent_id for agent_id in frames if agent_id not in (EGO_ID, ROADSIDE_ID)]
    by_sequence = {agent_id: _by_sequence(frames[agent_id].values()) for agent_id in extra}
    pairs: dict[str, dict[str, FramePair]] = {}
    for row in read_records(path, 'the index of frame pairs'):
        ego = _listed(row, 'vehicle_frame', row.text('vehicle_frame'), frames[EGO_ID], EGO_ID)
        ids: dict[str, str] = {}
        offsets: dict[str, tuple[float, float]] = {}
        if row.raw('infrastructure_frame'):
            ids[ROADSIDE_ID] = row.text('infrastructure_frame')
            offsets[ROADSIDE_ID] = read_offset(row, 'system_error_offset')
        named = row.record('frames') if 'frames' in row else Record({}, path, '')
        given = row.record('offsets') if 'offsets' in row else Record({}, path, '')
        for agent_id in extra:
            if agent_id in named:
                found = named.text(agent_id) if named.raw(agent_id) else None
            else:
                found = _nearest(by_sequence[agent_id].get(ego.sequence_id, ()), ego.stamp_ns)
            if found is None:
                continue
            ids[agent_id] = found
            offsets[agent_id] = (0.0, 0.0)
            if agent_id in given:
                offsets[agent_id] = read_offset(given, agent_id)
        for agent_id, frame_id in ids.items():
            field = 'infrastructure_frame' if agent_id == ROADSIDE_ID else f'frames.{agent_id}'
            remote = _listed(row, field, frame_id, frames[agent_id], agent_id)
            if remote.sequence_id != ego.sequence_id:
                raise row.error(
                    field,
                    f'frame {frame_id} of {agent_id} is of sequence {remote.sequence_id}, the '
                    f'ego frame {ego.frame_id} of sequence {ego.sequence_id}',
                    'pair frames of one sequence',
                )
        sequence = pairs.setdefault(ego.sequence_id, {})
        if ego.frame_id in sequence:
            raise row.error('vehicle_frame', f'frame {ego.frame_id} is paired twice',
                            'remove one of the rows')  # fmt: skip
        sequence[ego.frame_id] = FramePair(ego.frame_id, ids, offsets)
    stamps = {frame_id: frame.stamp_ns for frame_id, frame in frames[EGO_ID].items()}
    return {
        sequence_id: tuple(sorted(rows.values(), key=lambda pair: stamps[pair.ego_frame_id]))
        for sequence_id, rows in pairs.items()
    }


def read_offset(row: Record, key: str) -> tuple[float, float]:
    """Read (delta_x, delta_y), metres; DAIR-V2X writes an empty text where none is known."""
    if row.raw(key) in ('', None):
        return (0.0, 0.0)
    offset = row.record(key)
    return (offset.number('delta_x'), offset.number('delta_y'))


def read_split(path: Path, split: str) -> frozenset[str]:
    """Read the sequence ids of one split from a file like V2X-Seq's own split file.

    Only ``batch_split`` counts: a frame belongs to the split of its sequence.

    Raises:
        InputError: The file is missing, or does not know the split.
    """
    if not path.exists():
        raise InputError(
            f'the split file, needed for split={split!r}, is missing',
            path=path,
            field='split_file',
            remedy=f"give split_file, or put V2X-Seq's {SPLIT_FILE} into the dataset, or read "
            'every sequence with split=None',
        )
    batches = Record.of(read_json(path, 'the split file'), path, '').record('batch_split')
    if split not in batches:
        raise batches.error(split, 'the split is unknown', f'use one of {sorted(batches.values)}')
    ids = batches.raw(split)
    if not isinstance(ids, list) or not all(isinstance(i, str) for i in ids):
        raise batches.error(split, 'expected a list of sequence ids', 'write them as text')
    return frozenset(ids)


def _listed(
    row: Record, field: str, frame_id: str, frames: dict[str, FrameRecord], agent_id: str
) -> FrameRecord:
    if frame_id not in frames:
        raise row.error(
            field,
            f'frame {frame_id!r} is not in the index of {agent_id}',
            f'add it to the data_info.json of {agent_id}, or remove the pair',
        )
    return frames[frame_id]


def _running_number(frame_id: str) -> tuple[int, str]:
    return (int(frame_id) if frame_id.isdecimal() else -1, frame_id)


def _by_sequence(frames: Iterable[FrameRecord]) -> dict[str, list[FrameRecord]]:
    result: dict[str, list[FrameRecord]] = {}
    for frame in frames:
        result.setdefault(frame.sequence_id, []).append(frame)
    return result


def _nearest(frames: Sequence[FrameRecord], stamp_ns: int) -> str | None:
    at = bisect.bisect_left(frames, stamp_ns, key=lambda frame: frame.stamp_ns)
    around = frames[max(0, at - 1) : at + 1]
    best = min(around, key=lambda frame: abs(frame.stamp_ns - stamp_ns), default=None)
    if best is None or abs(best.stamp_ns - stamp_ns) > MAX_PAIR_GAP_NS:
        return None
    return best.frame_id
