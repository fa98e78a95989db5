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

"""Nodes room: the last inputs and outputs of a perceiving node as a file. Works without ROS.

A snapshot is a run as ``cooptrack run`` writes it: images (PNG, so nothing is lost), calibration,
poses, messages of the others and tracks. RViz and Foxglove open it, and ``cooptrack run``
perceives it again.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cooptrack_core.errors import InputError
from cooptrack_core.structures import (
    AgentFrame,
    BevFeature,
    BevMap,
    InstanceMessage,
    TrackedObjects,
)
from cooptrack_ros.bags import RunWriter
from cooptrack_ros.nodes.parameters import SensorParameters

# Files of one node; more are not written, for a disk is not a ring.
MAX_FILES = 50


@dataclass(frozen=True, eq=False)
class Moment:
    """A frame with all that came of it.

    Attributes:
        frame: What was seen.
        messages: What was heard and fused, or of an agent that sends: what it sent.
        tracks: What was published; None of a node that makes maps.
        map: The map that was published.
    """

    frame: AgentFrame
    messages: Sequence[InstanceMessage | BevFeature]
    tracks: TrackedObjects | None = None
    map: BevMap | None = None


class Snapshots:
    """Keeps the last frames and writes them when asked.

    ``keep`` and ``write`` may be called by different threads.
    """

    def __init__(self, node: str, parameters: SensorParameters) -> None:
        """Keep nothing yet.

        Args:
            node: Name of the node, part of the file names.
            parameters: How many frames are kept, and where files go.
        """
        self._name = f'{parameters.agent_id}_{node}'
        self._lock = threading.Lock()
        self._kept: deque[Moment] = deque()
        self.change(parameters)

    def change(self, parameters: SensorParameters) -> None:
        """Take other settings."""
        with self._lock:
            self._directory = snapshot_directory(parameters.snapshot_directory)
            self._kept = deque(self._kept, maxlen=parameters.snapshot_frames)

    def keep(self, moment: Moment) -> None:
        """Remember a frame; the oldest one goes."""
        with self._lock:
            self._kept.append(moment)

    def clear(self) -> None:
        """Forget all frames."""
        with self._lock:
            self._kept.clear()

    def write(self) -> str:
        """Write the frames that are kept; return what was written and where.

        Raises:
            InputError: There is nothing to write, there are too many files, or the place cannot
                be written.
        """
        with self._lock:
            moments, directory = list(self._kept), self._directory
        if not moments:
            raise InputError(
                'no frame is kept',
                field='snapshot_frames',
                remedy='wait for the first result; with snapshot_frames 0 nothing is kept',
            )
        if len(list(directory.glob(f'{self._name}_*.mcap'))) >= MAX_FILES:
            raise InputError(
                f'there are {MAX_FILES} snapshots of this node already',
                path=directory,
                remedy='remove some, or set snapshot_directory',
            )
        path = directory / f'{self._name}_{moments[-1].frame.stamp_ns}.mcap'
        heard: Counter[str] = Counter()
        with RunWriter(path) as writer:
            for moment in moments:
                stored = {i.camera.name: _png(i.image) for i in moment.frame.images}
                writer.write_frame(moment.frame, stored)
                for message in moment.messages:
                    if isinstance(message, BevFeature):
                        writer.write_bev(message, 'fp32')
                    else:
                        writer.write_message(message, 'fp32')
                    heard[message.agent_id] += 1
                if moment.tracks is not None:
                    writer.write_tracks(moment.tracks, moment.frame.agent_id)
                if moment.map is not None:
                    writer.write_map(moment.map, moment.frame.agent_id)
        said = ', '.join(f'{n} messages of {a}' for a, n in sorted(heard.items())) or 'no messages'
        return f'{path}: {len(moments)} frames, {said}, {path.stat().st_size / 1e6:.1f} MB'


def snapshot_directory(given: str) -> Path:
    """Where snapshots go: what is given, or a place beside the logs of ROS."""
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get('ROS_HOME') or '~/.ros').expanduser() / 'cooptrack_snapshots'


def _png(image: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode('.png', image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise InputError('an image cannot be compressed', remedy='use images of 8 bits')
    return bytes(data.tobytes())
