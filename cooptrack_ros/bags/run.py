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


"""Bags room: what a run makes, as one file that RViz, Foxglove and ``ros2 bag play`` open."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import cv2

from cooptrack_core.errors import InputError
from cooptrack_core.geometry import SE3
from cooptrack_core.structures import (
    AgentFrame,
    BevFeature,
    BevMap,
    CameraImage,
    InstanceMessage,
    Role,
    TrackedObjects,
)
from cooptrack_core.v2x import Dtype, InboxStats
from cooptrack_ros.bags import names
from cooptrack_ros.bags.places import AgentPlaces, map_near
from cooptrack_ros.bags.writer import BagWriter
from cooptrack_ros.conversions import (
    MapMarkers,
    MarkerBuilder,
    agent_info_to_message,
    agent_markers,
    bev_to_message,
    compressed_to_message,
    label_info,
    map_to_occupancy,
    map_to_semantic,
    message_to_features,
    status_to_message,
    tracks_to_detections,
    tracks_to_message,
)

_TRACKS = 'cooptrack_msgs/msg/TrackedObjects'
_DETECTIONS = 'vision_msgs/msg/Detection3DArray'
_MARKERS = 'visualization_msgs/msg/MarkerArray'
_GREY = (0.85, 0.85, 0.85)


class RunWriter:
    """Writes ``run.mcap``: images, TF, radio messages, tracks, markers, ground truth.

    Everything is shown in ``map``, which has the axes of the frames' world and, where that is
    far from its origin, an origin near the first frame; ``map`` -> ``world`` in ``/tf_static``
    holds the shift. Use as a context manager: the file appears when the block ends well, and not
    at all when it does not.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        overwrite: bool = True,
        jpeg_quality: int = 85,
        world_frame: str = names.WORLD,
    ) -> None:
        """Prepare; see the class.

        Args:
            path: The file, usually ``run.mcap``.
            overwrite: Replace an older run.
            jpeg_quality: Of images that come without their stored bytes, 1 to 100.
            world_frame: Name of the frame in which poses of radio messages are given.

        Raises:
            InputError: The file exists and must not be replaced.
        """
        self.bag = BagWriter(path, overwrite=overwrite)
        self.jpeg_quality = jpeg_quality
        self.world_frame = world_frame
        self._types = self.bag.types
        self._places: AgentPlaces | None = None
        self._agents: dict[str, tuple[Role, SE3]] = {}
        self._markers: dict[str, MarkerBuilder] = {}
        self._agents_shown_ns: int | None = None
        self._map_markers = MapMarkers(self._types)

    def __enter__(self) -> RunWriter:
        """Start the file under its temporary name.

        Raises:
            InputError: The place cannot be written.
        """
        self.bag.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file, or remove it after an exception.

        Raises:
            InputError: The disk is full.
        """
        self.bag.__exit__(kind, error, trace)

    @property
    def counts(self) -> dict[str, int]:
        """Messages written so far by topic."""
        return dict(sorted(self.bag.counts.items()))

    def write_frame(self, frame: AgentFrame, stored: dict[str, bytes] | None = None) -> None:
        """Write the pose, the calibrations and the images of any agent.

        Args:
            frame: The frame.
            stored: JPEG or PNG bytes by camera name; other images are compressed anew.

        Raises:
            InputError: The disk is full, or an image cannot be compressed.
        """
        places = self._places_for(frame)
        if frame.agent_id not in self._agents:
            info = agent_info_to_message(
                self._types,
                stamp_ns=frame.stamp_ns,
                frame_id=names.agent_frame(frame.agent_id),
                agent_id=frame.agent_id,
                role=frame.role,
                cameras=[image.camera.name for image in frame.images],
            )
            topic = names.agent_info_topic(frame.agent_id)
            self.bag.write(topic, 'cooptrack_msgs/msg/AgentInfo', info, frame.stamp_ns)
        places.write_frame(frame)
        self._agents[frame.agent_id] = (frame.role, places.map_SE3_world @ frame.world_SE3_agent)
        for image in frame.images:
            camera = image.camera.name
            places.write_camera(frame.agent_id, image.camera, image.stamp_ns)
            data = (stored or {}).get(camera) or self._jpeg(image)
            optical = names.optical_frame(frame.agent_id, camera)
            message = compressed_to_message(self._types, data, image.stamp_ns, optical)
            topic = names.image_topic(frame.agent_id, camera)
            self.bag.write(topic, 'sensor_msgs/msg/CompressedImage', message, image.stamp_ns)

    def write_message(
        self, message: InstanceMessage, dtype: Dtype = 'int8', sent_ns: int | None = None
    ) -> None:
        """Write a radio message as its receivers get it.

        Args:
            message: What is sent.
            dtype: Number format on the air.
            sent_ns: When it is sent; default: at its capture.
        """
        sent_ns = message.stamp_ns if sent_ns is None else sent_ns
        features = message_to_features(
            self._types,
            message,
            dtype,
            world_frame_id=self.world_frame,
            publish_stamp_ns=sent_ns,
            frame_id=names.agent_frame(message.agent_id),
        )
        topic = names.features_topic(message.agent_id)
        self.bag.write(topic, 'cooptrack_msgs/msg/InstanceFeatures', features, sent_ns)

    def write_bev(self, feature: BevFeature, dtype: Dtype = 'int8') -> None:
        """Write the features of a map as its receivers get them, at its capture."""
        message = bev_to_message(
            self._types,
            feature,
            dtype,
            world_frame_id=self.world_frame,
            publish_stamp_ns=feature.stamp_ns,
            frame_id=names.body_frame(feature.agent_id),
        )
        topic = names.bev_feature_topic(feature.agent_id)
        self.bag.write(topic, 'cooptrack_msgs/msg/BevFeature', message, feature.stamp_ns)

    def write_tracks(self, tracks: TrackedObjects, agent_id: str = '', layer: str = '') -> None:
        """Write tracks three times: as TrackedObjects, as detections, and as markers.

        Args:
            tracks: The tracks, in the frames' world.
            agent_id: Who tracks.
            layer: Empty for the result; otherwise a name under ``/cooptrack``, for example
                ``ego_only`` for a comparison.
        """
        base = f'/cooptrack/{layer}' if layer else '/cooptrack'
        self._write_objects(tracks, base, agent_id, prefix=layer or 'track')
        if not layer:
            self._write_agents(tracks.stamp_ns)

    def write_ground_truth(self, truth: TrackedObjects) -> None:
        """Write ground truth, as ``labels_as_tracks`` makes it, under ``/gt``."""
        self._write_objects(truth, '/gt', '', prefix='gt')

    def write_map(self, made: BevMap, agent_id: str) -> None:
        """Write a semantic map: a grid per class, the image of classes, markers.

        Args:
            made: The map, in the frames' world.
            agent_id: The agent around which it is.
        """
        place, stamp_ns = self._map(made.world_SE3_agent), made.stamp_ns
        for name in made.class_names:
            grid = map_to_occupancy(self._types, made, name, place)
            self.bag.write(names.bev_topic(name), 'nav_msgs/msg/OccupancyGrid', grid, stamp_ns)
        body = names.body_frame(agent_id)
        if names.BEV_LABEL_INFO not in self.bag.counts:
            labels = label_info(self._types, stamp_ns, body)
            self.bag.write(names.BEV_LABEL_INFO, 'vision_msgs/msg/LabelInfo', labels, stamp_ns)
        image = map_to_semantic(self._types, made, body)
        self.bag.write(names.BEV_SEMANTIC, 'sensor_msgs/msg/Image', image, stamp_ns)
        shown = self._map_markers.update(made, place)
        self.bag.write(names.BEV_MARKERS, _MARKERS, shown, stamp_ns)
        self._write_agents(stamp_ns)

    def write_status(self, stats: InboxStats, stamp_ns: int, agent_id: str, model_id: str) -> None:
        """Write the counters of the receiver's inbox."""
        message = status_to_message(self._types, stats, stamp_ns, agent_id, model_id)
        self.bag.write(names.STATUS, 'cooptrack_msgs/msg/FusionStatus', message, stamp_ns)

    def _write_agents(self, stamp_ns: int) -> None:
        if self._agents and stamp_ns != self._agents_shown_ns:
            shown = agent_markers(self._types, self._agents, stamp_ns)
            self.bag.write(names.AGENTS, _MARKERS, shown, stamp_ns)
            self._agents_shown_ns = stamp_ns

    def _write_objects(
        self, tracks: TrackedObjects, base: str, agent_id: str, *, prefix: str
    ) -> None:
        place, stamp_ns = self._map(tracks.world_SE3_agent), tracks.stamp_ns
        if prefix not in self._markers:
            truth = prefix == 'gt'
            self._markers[prefix] = MarkerBuilder(
                self._types,
                prefix=prefix,
                colour=_GREY if truth else None,
                trail_length=0 if truth else 20,
                labels=not truth,
            )
        message: Any = tracks_to_message(self._types, tracks, place, agent_id=agent_id)
        self.bag.write(f'{base}/tracks', _TRACKS, message, stamp_ns)
        message = tracks_to_detections(self._types, tracks, place)
        self.bag.write(f'{base}/detections', _DETECTIONS, message, stamp_ns)
        message = self._markers[prefix].update(tracks, place)
        self.bag.write(f'{base}/markers', _MARKERS, message, stamp_ns)

    def _places_for(self, frame: AgentFrame) -> AgentPlaces:
        if self._places is None:
            self._places = AgentPlaces(self.bag, map_near(frame.world_SE3_agent))
        return self._places

    def _map(self, world_SE3_agent: SE3) -> SE3:
        if self._places is None:
            self._places = AgentPlaces(self.bag, map_near(world_SE3_agent))
        return self._places.map_SE3_world

    def _jpeg(self, image: CameraImage) -> bytes:
        done, data = cv2.imencode(
            '.jpg', image.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality]
        )
        if not done:
            raise InputError(
                'the image cannot be compressed',
                field=image.camera.name,
                remedy='use images of at most 65535 x 65535 pixels',
            )
        return bytes(data.tobytes())
