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


"""Bags room: a rosbag2 as the frames of its agents, without a ROS installation.

Topics tell the agents and cameras: ``/<agent>/<camera>/image_raw[/compressed]`` (or
``image_rect``) with ``camera_info`` beside it. TF tells where the cameras and agents are. The
transforms are read first; images stream through, decoded one frame at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.rosbag2 import Reader, ReaderError

from cooptrack_core.errors import InputError
from cooptrack_core.structures import AgentFrame, CameraImage, Role, TrackedObjects
from cooptrack_ros.bags import names
from cooptrack_ros.bags.sync import ImageSync, RawImage
from cooptrack_ros.bags.transforms import NoTransformError, TransformHistory
from cooptrack_ros.bags.typestore import typestore
from cooptrack_ros.conversions import (
    Calibration,
    calibration_from_info,
    rgb_from_compressed,
    rgb_from_image,
    role_from_agent_type,
    stamp_to_ns,
    tracks_from_message,
    transform_from_message,
)

_MS = 1_000_000


@dataclass(frozen=True)
class BagOptions:
    """How a bag is read.

    Attributes:
        world_frame: Frame that all agents share.
        agent_frame: Name of an agent's perception frame, ``{agent}`` stands for its id; where the
            bag has no such frame, ``body_frame`` is taken.
        body_frame: Name of an agent's body frame.
        camera_tolerance_ns: Images of one agent this close together form one frame.
        reorder_ns: How late an image may come in the bag, compared with its stamp.
        jump_ns: A stamp this much older than the last one means that time jumped back (the bag
            was recorded from a loop); less is a mistake, and the image is dropped and counted.
        roles: Role by agent id, where neither the bag nor the name tells it.
    """

    world_frame: str = names.MAP
    agent_frame: str = '{agent}/lidar'
    body_frame: str = '{agent}/base_link'
    camera_tolerance_ns: int = 40 * _MS
    reorder_ns: int = 500 * _MS
    jump_ns: int = 1_000 * _MS
    roles: Mapping[str, Role] | None = None


class BagReader:
    """Reads the frames of all agents of a bag in order of time. Use as a context manager.

    Attributes:
        path: The bag: a directory, or an .mcap or .db3 file.
        agents: Role by agent id, sorted.
        cameras: Names of the cameras by agent id; the first one triggers the frames.
        counts: What was left out, by reason; complete when ``frames`` has ended.
    """

    def __init__(
        self,
        path: str | Path,
        options: BagOptions | None = None,
        *,
        on_warning: Callable[[str], None] | None = None,
    ) -> None:
        """Open the bag and read who is in it and where.

        Args:
            path: A bag directory, or an .mcap or .db3 file.
            options: How it is read.
            on_warning: Called once for each kind of thing that is left out.

        Raises:
            InputError: This is no rosbag2, or it has no cameras, no calibration or no transforms.
        """
        self.path = Path(path)
        self.options = options or BagOptions()
        self.counts: Counter[str] = Counter()
        self._on_warning = on_warning
        self._store = typestore()
        try:
            self._reader = Reader(self.path)
            self._reader.open()
        except (ReaderError, OSError, ValueError) as error:
            raise self._error(
                f'this is no readable rosbag2 ({error})',
                remedy='give a bag directory, an .mcap or a .db3 file that was closed properly',
            ) from error
        try:
            self._discover()
        except BaseException:
            self._reader.close()
            raise

    def __enter__(self) -> BagReader:
        """Return the reader."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the bag."""
        self._reader.close()

    @property
    def ego_id(self) -> str:
        """The agent that fuses: ``vehicle`` where there is one, otherwise the first vehicle.

        Raises:
            InputError: There is no vehicle.
        """
        vehicles = [name for name, role in self.agents.items() if role is Role.VEHICLE]
        if not vehicles:
            raise self._error(
                'there is no vehicle among the agents', remedy='say which one is the ego'
            )
        return 'vehicle' if 'vehicle' in vehicles else vehicles[0]

    @property
    def frame_count(self) -> int:
        """How many images the triggering cameras have; frames at most."""
        return sum(
            connection.msgcount
            for connection in self._reader.connections
            if (camera := self._camera_topics.get(connection.topic)) is not None
            and self.cameras[camera.agent_id][0] == camera.camera
        )

    def frames(self) -> Iterator[AgentFrame]:
        """Yield the frames of all agents in order of their stamps; ties by agent id.

        After a jump back in time the stamps go on from the earlier time; whoever keeps memory
        resets it there.

        Raises:
            InputError: An image is damaged or does not fit its calibration, or a calibration or
                the place of a camera is missing.
        """
        sync = ImageSync(
            self.cameras,
            tolerance_ns=self.options.camera_tolerance_ns,
            reorder_ns=self.options.reorder_ns,
            jump_ns=self.options.jump_ns,
            leave_out=self._leave_out,
        )
        for group in sync.in_order(sync.groups(self._raw_images())):
            frame = self._frame(group)
            if frame is not None:
                yield frame

    def ground_truth(self) -> Iterator[TrackedObjects]:
        """Yield the ground truth of all agents together (``/gt/tracks``), in the world frame."""
        for _, message in self._messages({names.GROUND_TRUTH}):
            yield tracks_from_message(message)

    def _error(self, message: str, *, field: str | None = None, remedy: str) -> InputError:
        return InputError(message, path=self.path, field=field, remedy=remedy)

    def _discover(self) -> None:
        cameras = [
            camera
            for connection in self._reader.connections
            if (camera := names.parse_image_topic(connection.topic)) is not None
            and connection.msgcount
            and connection.msgtype in ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
        ]
        if not cameras:
            raise self._error(
                'there are no camera images',
                remedy='record /<agent>/<camera>/image_raw[/compressed] with camera_info beside; '
                f'the bag has {sorted({c.topic for c in self._reader.connections})}',
            )
        # One camera may be there twice: the first that exists of rectified, raw, compressed.
        best: dict[tuple[str, str], names.CameraTopic] = {}
        for camera in sorted(cameras, key=lambda c: (not c.rectified, c.compressed)):
            best.setdefault((camera.agent_id, camera.camera), camera)
        self._camera_topics = {camera.topic: camera for camera in best.values()}
        self.cameras: dict[str, tuple[str, ...]] = {}
        for agent_id, name in sorted(best):
            self.cameras[agent_id] = (*self.cameras.get(agent_id, ()), name)
        self._transforms = self._read_transforms()
        self._infos: dict[tuple[str, str], Any] = self._read_infos()
        self._calibrations: dict[tuple[str, str], tuple[tuple[Any, ...], Calibration]] = {}
        roles = dict(self._read_roles())
        roles.update(self.options.roles or {})
        self.agents = {a: roles.get(a) or names.guess_role(a) for a in sorted(self.cameras)}

    def _messages(self, topics: set[str]) -> Iterator[tuple[str, Any]]:
        connections = [c for c in self._reader.connections if c.topic in topics]
        if not connections:  # an empty list would mean: all of them
            return
        try:
            for connection, _, data in self._reader.messages(connections):
                message = self._store.deserialize_cdr(data, connection.msgtype)
                yield connection.topic, message
        except (ReaderError, OSError, KeyError, ValueError, AssertionError) as error:
            if isinstance(error, InputError):
                raise
            raise self._error(
                f'the bag is damaged ({type(error).__name__}: {error})',
                remedy='copy it anew, or repair it with "ros2 bag reindex"',
            ) from error

    def _read_transforms(self) -> TransformHistory:
        history = TransformHistory()
        for topic, message in self._messages({'/tf', '/tf_static'}):
            for transform in message.transforms:
                try:
                    parent, child, stamp_ns, pose = transform_from_message(transform)
                    history.add(parent, child, stamp_ns, pose, static=topic == '/tf_static')
                except InputError as error:
                    raise self._error(
                        error.message, field=topic, remedy=error.remedy or ''
                    ) from error
        if not history.frames:
            raise self._error(
                'there are no transforms', field='/tf', remedy='record /tf and /tf_static'
            )
        return history

    def _read_infos(self) -> dict[tuple[str, str], Any]:
        topics = {
            names.info_topic(c.agent_id, c.camera): (c.agent_id, c.camera)
            for c in self._camera_topics.values()
        }
        missing = dict(topics)
        found: dict[tuple[str, str], Any] = {}
        for topic, message in self._messages(set(topics)):
            found.setdefault(topics[topic], message)
            missing.pop(topic, None)
            if not missing:
                break
        if missing:
            raise self._error(
                'the calibration of a camera is missing',
                field=min(missing),
                remedy='record camera_info beside the images',
            )
        return found

    def _read_roles(self) -> Iterator[tuple[str, Role]]:
        topics = {names.agent_info_topic(agent_id): agent_id for agent_id in self.cameras}
        for topic, message in self._messages(set(topics)):
            role = role_from_agent_type(message.agent_type)
            if role is not None:
                yield topics[topic], role

    def _raw_images(self) -> Iterator[RawImage]:
        """Images as they come, calibrations kept up to date, stamps that go backwards dropped."""
        infos = {
            names.info_topic(c.agent_id, c.camera): (c.agent_id, c.camera)
            for c in self._camera_topics.values()
        }
        last: dict[str, int] = {}
        for topic, message in self._messages({*self._camera_topics, *infos}):
            if topic in infos:
                self._infos[infos[topic]] = message
                continue
            stamp_ns = stamp_to_ns(message.header.stamp)
            if topic in last and last[topic] - self.options.jump_ns < stamp_ns <= last[topic]:
                self._leave_out('stamp_backwards', f'{topic}: a stamp does not advance')
                continue
            last[topic] = stamp_ns
            frame_id = message.header.frame_id.lstrip('/')
            camera = self._camera_topics[topic]
            current = self._infos[camera.agent_id, camera.camera]
            yield RawImage(camera, stamp_ns, frame_id, message, current)

    def _frame(self, group: tuple[RawImage, ...]) -> AgentFrame | None:
        anchor = group[0]
        agent_id, stamp_ns = anchor.camera.agent_id, anchor.stamp_ns
        body = self.options.body_frame.format(agent=agent_id)
        perception = self._perception_frame(agent_id)
        world = self.options.world_frame
        try:
            world_SE3_agent = self._transforms.lookup(world, perception, stamp_ns)
            known = body in self._transforms.frames
            world_SE3_body = self._transforms.lookup(world, body, stamp_ns) if known else None
        except NoTransformError as error:
            if perception in self._transforms.frames and world in self._transforms.frames:
                self._leave_out('no_pose', str(error))
                return None
            raise self._error(error.message, field='/tf', remedy=error.remedy or '') from error
        images = tuple(self._image(raw, perception) for raw in group)
        return AgentFrame(
            agent_id=agent_id,
            role=self.agents[agent_id],
            sequence_id=self.path.stem,
            frame_id=str(stamp_ns),
            stamp_ns=stamp_ns,
            images=images,
            world_SE3_agent=world_SE3_agent,
            world_SE3_body=world_SE3_body or world_SE3_agent,
        )

    def _perception_frame(self, agent_id: str) -> str:
        wanted = self.options.agent_frame.format(agent=agent_id)
        if wanted in self._transforms.frames:
            return wanted
        return self.options.body_frame.format(agent=agent_id)

    def _image(self, raw: RawImage, perception: str) -> CameraImage:
        topic = f'{self.path}:{raw.camera.topic}'
        read = rgb_from_compressed if raw.camera.compressed else rgb_from_image
        calibration = self._calibration(raw, perception)
        image = calibration.undistort(read(raw.message, topic))
        return CameraImage(image, calibration.camera, raw.stamp_ns)

    def _calibration(self, raw: RawImage, perception: str) -> Calibration:
        key = (raw.camera.agent_id, raw.camera.camera)
        info = raw.info
        try:
            camera_SE3_agent = self._transforms.lookup(raw.frame_id, perception, raw.stamp_ns)
        except NoTransformError as error:
            raise self._error(
                error.message, field=raw.camera.topic, remedy=error.remedy or ''
            ) from error
        signature = (info_signature(info), camera_SE3_agent.matrix.tobytes())
        if key not in self._calibrations or self._calibrations[key][0] != signature:
            calibration = calibration_from_info(
                info,
                raw.camera.camera,
                camera_SE3_agent,
                rectified=raw.camera.rectified,
                source=f'{self.path}:{names.info_topic(*key)}',
            )
            self._calibrations[key] = (signature, calibration)
        return self._calibrations[key][1]

    def _leave_out(self, reason: str, detail: str) -> None:
        self.counts[reason] += 1
        if self.counts[reason] == 1 and self._on_warning is not None:
            self._on_warning(f'{reason}: {detail} (further ones are counted only)')


def info_signature(info: Any) -> tuple[Any, ...]:
    """Everything in a CameraInfo but its header."""
    roi = info.roi
    return (
        info.width, info.height, info.distortion_model, bytes(memoryview(info.d).cast('B')),
        bytes(memoryview(info.k).cast('B')), bytes(memoryview(info.r).cast('B')),
        bytes(memoryview(info.p).cast('B')), info.binning_x, info.binning_y,
        roi.x_offset, roi.y_offset, roi.width, roi.height,
    )  # fmt: skip
