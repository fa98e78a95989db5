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

"""Training frames out of datasets: images at network size, poses, targets, kept in memory."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cooptrack_core.datasets.v2x_seq import Scene, V2XSeqDataset
from cooptrack_core.datasets.v2x_seq.layout import FramePair
from cooptrack_core.errors import InputError
from cooptrack_core.geometry import CameraModel, PerceptionRange
from cooptrack_core.structures import Role
from cooptrack_core.training.targets import GroundTruth, ground_truth

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

EGO = 'vehicle'


@dataclass(frozen=True, eq=False)
class TrainingFrame:
    """One agent's view of one instant.

    Attributes:
        image: (H, W, 3) uint8 RGB, resized to the network's width.
        camera: Calibration of that image.
        stamp_ns: Time, ns.
        scene_id: Unique over all datasets of the run.
        world_T_agent: (4, 4) pose of the perception frame.
        world_T_body: (4, 4) pose of the body frame.
        truth: What this agent can see of the objects inside the range.
    """

    image: Image
    camera: CameraModel
    stamp_ns: int
    scene_id: str
    world_T_agent: Array
    world_T_body: Array
    truth: GroundTruth


@dataclass(frozen=True)
class ClipIndex:
    """Where a run of consecutive frames of one agent is."""

    scene: int
    agent_id: str
    frames: tuple[str, ...]


@dataclass(frozen=True)
class PairClip:
    """Where a run of consecutive frame pairs of one scene is."""

    scene: int
    pairs: tuple[int, ...]


class TrainingData:
    """Scenes of several datasets, with decoded frames kept up to a memory limit.

    JPEG decoding and label reading happen once per frame; the number of distinct scenes of a
    training set on a CPU is small enough to keep.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        width: int,
        extent: PerceptionRange,
        *,
        min_visible_pixels: int = 20,
        max_occlusion: int = 2,
        cache_bytes: int = 2 << 30,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        """Open the datasets (index files only).

        Args:
            roots: Dataset directories in the V2X-Seq layout.
            width: Network input width, pixels.
            extent: Perception range of the model.
            min_visible_pixels: See StageRecipe; counted at the stored image size.
            max_occlusion: See StageRecipe.
            cache_bytes: Decoded images kept in memory at most.
            part: (i, n): clips come from every n-th scene, beginning with the i-th.

        Raises:
            InputError: A dataset is unusable, or there are no scenes.
        """
        cv2.setNumThreads(0)
        # The ego is no object to itself: nobody tells it of its own box, so it cannot learn it.
        self._datasets = [V2XSeqDataset(root, remove_ego_from_cooperative=True) for root in roots]
        self.scenes: list[Scene] = [s for d in self._datasets for s in d.scenes]
        self.names = [
            f'{i}/{s.sequence_id}' for i, d in enumerate(self._datasets) for s in d.scenes
        ]
        if not self.scenes:
            raise InputError(
                'there is no sequence to train on',
                path=roots[0] if roots else None,
                remedy='make scenes with "cooptrack simulate" or give a V2X-Seq directory',
            )
        self._width = width
        self._extent = extent
        self._min_pixels = min_visible_pixels
        self._max_occlusion = max_occlusion
        self._cache: dict[tuple[int, str, str], TrainingFrame] = {}
        self._cache_left = cache_bytes
        self._pair_of: dict[int, dict[tuple[str, str], FramePair]] = {}
        first, step = part
        self._own = list(enumerate(self.scenes))[first::step]

    def agents(self, which: str) -> tuple[str, ...]:
        """Agent names of a role word (``vehicle``, ``roadside``, ``both``), in order."""
        found: dict[str, None] = {}
        for dataset in self._datasets:
            for agent in dataset.agents:
                if which == 'both' or agent.role is Role(which):
                    found[agent.agent_id] = None
        return tuple(found)

    def single_frames(self, which: str, per_scene: int = 0) -> list[ClipIndex]:
        """Every frame of the agents of a role as a clip of length one.

        Args:
            which: Role word.
            per_scene: At most this many frames of a scene and agent, evenly spread; 0 for all.
        """
        clips: list[ClipIndex] = []
        for number, scene in self._own:
            for agent_id in self._present(scene, which):
                ids = scene.frame_ids(agent_id)
                if 0 < per_scene < len(ids):
                    ids = tuple(
                        ids[i] for i in np.linspace(0, len(ids) - 1, per_scene).astype(int)
                    )
                clips += [ClipIndex(number, agent_id, (i,)) for i in ids]
        return clips

    def clips(self, which: str, length: int) -> list[ClipIndex]:
        """Consecutive groups of ``length`` frames of single agents; a scene's rest is left out."""
        return [
            ClipIndex(number, agent_id, ids[start : start + length])
            for number, scene in self._own
            for agent_id in self._present(scene, which)
            for ids in [scene.frame_ids(agent_id)]
            for start in range(0, len(ids) - length + 1, length)
        ]

    def pair_clips(self, length: int) -> list[PairClip]:
        """Consecutive groups of ``length`` frame pairs."""
        return [
            PairClip(number, tuple(range(start, start + length)))
            for number, scene in self._own
            for start in range(0, len(scene.pairs) - length + 1, length)
        ]

    def frame(
        self, scene: int, agent_id: str, frame_id: str, *, image: bool = True
    ) -> TrainingFrame:
        """Read one frame with the objects its agent can see.

        Args:
            scene: Its number.
            agent_id: The agent.
            frame_id: The frame.
            image: False where the image is not needed; it may then have no rows.

        Raises:
            InputError: A file of the frame is missing or wrong.
        """
        key = (scene, agent_id, frame_id)
        known = self._cache.get(key)
        if known is None:
            known = self._cache[key] = self._read(scene, agent_id, frame_id)
        if known.image.size or not image:
            return known
        found = replace(known, image=self._image(scene, agent_id, frame_id, known.camera))
        if found.image.nbytes <= self._cache_left:
            self._cache_left -= found.image.nbytes
            self._cache[key] = replace(found, image=_outside_the_heap(found.image))
        return found

    def describe(self, clips: Sequence[ClipIndex]) -> None:
        """Read all but the images of clips now, so that nothing that stays is read later.

        Objects that stay, between the arrays of training that come and go, leave holes in the
        heap that no array fits in: it grows to several times of what is kept.
        """
        for clip in clips:
            for frame_id in clip.frames:
                self.frame(clip.scene, clip.agent_id, frame_id, image=False)

    def forget_image(self, scene: int, agent_id: str, frame_id: str) -> None:
        """Make room: what was computed of this frame's image is kept elsewhere from now on."""
        key = (scene, agent_id, frame_id)
        if key in self._cache:
            frame = self._cache[key]
            self._cache_left += frame.image.nbytes
            self._cache[key] = replace(frame, image=frame.image[:0].copy())

    def cooperative_truth(self, scene: int, pair: int, agents: Sequence[str]) -> GroundTruth:
        """Objects inside the ego's range that a camera of one of ``agents`` shows.

        Without the simulator's side file every labelled object counts.
        """
        source = self.scenes[scene]
        ego_frame = source.pairs[pair].ego_frame_id
        labels = source.cooperative_labels(ego_frame)
        visibility = source.visibility(ego_frame)
        if visibility is not None:
            shown = {
                int(i)
                for agent_id in agents
                for i in visibility.track_ids[
                    visibility.visible_pixels.get(agent_id, np.zeros(len(visibility.track_ids)))
                    >= self._min_pixels
                ]
            }
            labels = labels.select(np.isin(labels.track_ids, sorted(shown)))
        return ground_truth(labels, self._extent)

    def _present(self, scene: Scene, which: str) -> list[str]:
        agents = [a for a in scene.dataset.agents if which == 'both' or a.role is Role(which)]
        return [a.agent_id for a in agents if scene.frame_ids(a.agent_id)]

    def _read(self, scene: int, agent_id: str, frame_id: str) -> TrainingFrame:
        source = self.scenes[scene]
        frame = source.frame(agent_id, frame_id, load_images=False)
        camera = source.camera(agent_id, frame_id)
        if camera.width != self._width:
            camera = camera.resized(self._width, round(camera.height * self._width / camera.width))
        return TrainingFrame(
            image=np.zeros((0, camera.width, 3), dtype=np.uint8),
            camera=camera,
            stamp_ns=frame.stamp_ns,
            scene_id=f'{self.names[scene]}/{agent_id}',
            world_T_agent=frame.world_SE3_agent.matrix,
            world_T_body=frame.world_SE3_body.matrix,
            truth=self._visible_truth(scene, agent_id, frame_id),
        )

    def _image(self, scene: int, agent_id: str, frame_id: str, camera: CameraModel) -> Image:
        """Image of a frame at the size of ``camera``."""
        source = self.scenes[scene]
        frame = source.frame(agent_id, frame_id)
        if not frame.images:
            raise InputError(
                f'frame {frame_id} of {agent_id} has no image',
                path=source.dataset.root,
                remedy='remove the frame from data_info.json',
            )
        image = frame.images[0].image
        if frame.images[0].camera.width == camera.width:
            return image
        size = (camera.width, camera.height)
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))

    def _visible_truth(self, scene: int, agent_id: str, frame_id: str) -> GroundTruth:
        source = self.scenes[scene]
        labels = source.labels(agent_id, frame_id)
        pair = self._pairs(scene).get((agent_id, frame_id))
        visibility = source.visibility(pair.ego_frame_id) if pair is not None else None
        if visibility is None:
            return ground_truth(
                labels.select(labels.occlusion <= self._max_occlusion), self._extent
            )
        pixels = visibility.visible_pixels.get(agent_id)
        shown = visibility.track_ids[:0]
        if pixels is not None:
            shown = visibility.track_ids[pixels >= self._min_pixels]
        return ground_truth(labels.select(np.isin(labels.track_ids, shown)), self._extent)

    def _pairs(self, scene: int) -> dict[tuple[str, str], FramePair]:
        if scene not in self._pair_of:
            table: dict[tuple[str, str], FramePair] = {}
            for pair in self.scenes[scene].pairs:
                table[EGO, pair.ego_frame_id] = pair
                for agent_id, frame_id in pair.remote_frame_ids.items():
                    table.setdefault((agent_id, frame_id), pair)
            self._pair_of[scene] = table
        return self._pair_of[scene]


def _outside_the_heap(image: Image) -> Image:
    """The same image in pages of its own; see ``TrainingData.describe``."""
    pages = mmap.mmap(-1, max(image.nbytes, 1))
    kept: Image = np.frombuffer(pages, dtype=np.uint8, count=image.size).reshape(image.shape)
    kept[...] = image
    return kept
