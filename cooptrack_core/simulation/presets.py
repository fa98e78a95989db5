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

"""What a simulation run looks like: sizes, sensors, traffic, weather. Filled from YAML."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from cooptrack_core.config import from_mapping, load_yaml
from cooptrack_core.errors import InputError
from cooptrack_core.resources import config_path
from cooptrack_core.simulation.traffic import Demand

PRESETS = (
    'benchmark', 'train', 'train_frames', 'train_long', 'multi_agent', 'tiny',
    'opv2v', 'opv2v_test', 'opv2v_train',
)  # fmt: skip
LayoutName = Literal['v2x_seq', 'opv2v']
LAYOUTS: tuple[LayoutName, ...] = get_args(LayoutName)
TICK_S = 0.05  # OPV2V counts frames in steps of its simulator


@dataclass(frozen=True)
class CameraConfig:
    """All cameras of a run; ranges are drawn per scene.

    Attributes:
        width: Pixels.
        height: Pixels.
        vehicle_fov_deg: Horizontal field of view.
        roadside_fov_deg: The same on the poles.
        roadside_height: Metres above the road.
        roadside_pitch_deg: Downwards.
        jpeg_quality: 1 to 100.
        noise: Factor on the sensor noise of the weather.
        ground_texel: Metres per texel of the painted ground.
    """

    width: int = 960
    height: int = 540
    vehicle_fov_deg: tuple[float, float] = (60.0, 70.0)
    roadside_fov_deg: tuple[float, float] = (84.0, 96.0)
    roadside_height: tuple[float, float] = (6.0, 8.0)
    roadside_pitch_deg: tuple[float, float] = (13.0, 18.0)
    jpeg_quality: int = 92
    noise: float = 1.0
    ground_texel: float = 0.06


@dataclass(frozen=True)
class LidarConfig:
    """All LiDARs of a run.

    Attributes:
        vehicle_rings: Number of rings of the spinning LiDAR on a roof.
        vehicle_steps: Points per ring and turn.
        roadside_rings: Rows of the LiDAR on a pole, which looks where the camera looks.
        roadside_steps: Points per row over 100 degrees.
        range: Metres.
        write: Whether clouds are written; labels and visibility use the hits in any case.
    """

    vehicle_rings: int = 40
    vehicle_steps: int = 1200
    roadside_rings: int = 64
    roadside_steps: int = 500
    range: float = 110.0
    write: bool = True


@dataclass(frozen=True)
class RingConfig:
    """What only agents of the layout ``opv2v`` have: four cameras all around.

    Attributes:
        fov_deg: Horizontal field of view of each camera.
        image_format: ``png`` as in OPV2V, or ``jpg``, which is smaller and quicker to read but
            which other readers of the layout do not look for.
        edge_rays: Further rays per pixel where surfaces meet, 0 to 2; with 0 edges are jagged.
        fewest_vehicles: Connected vehicles beside the ego in a scene: at least this many, at most
            ``Preset.vehicles``, drawn per scene (as far as there are cars).
        roadside_share: Share of scenes with roadside units.
        roadside_height: Metres of their sensors above the road.
        roadside_pitch_deg: Their cameras look this far down.
    """

    fov_deg: float = 100.0
    image_format: Literal['png', 'jpg'] = 'png'
    edge_rays: int = 2
    fewest_vehicles: int = 1
    roadside_share: float = 1.0
    roadside_height: tuple[float, float] = (4.0, 5.5)
    roadside_pitch_deg: float = 30.0


@dataclass(frozen=True)
class LabelConfig:
    """When a sensor has seen an object well enough to label it: either number suffices."""

    min_pixels: int = 12
    min_lidar_hits: int = 3


@dataclass(frozen=True)
class Preset:
    """One kind of run.

    Attributes:
        name: Its name.
        frames: Frames per scene.
        rate_hz: Frames per second.
        warmup_s: Traffic runs this long before the first frame.
        ego_start: Metres the ego is before its stop line at the first frame, about.
        max_skew_ms: Largest difference of capture times between agents of a pair.
        roadsides: Number of roadside units; the first one is ``infrastructure-side``.
        vehicles: Number of connected vehicles beside the ego.
        buildings: Share of built-up plots.
        weather: Weights of day, overcast, dusk.
        split: Split that all sequences of the run belong to.
        layout: Layout of the files: V2X-Seq-SPD, or OPV2V with rings of cameras.
        camera: Cameras.
        lidar: LiDARs.
        labels: Labelling.
        demand: Traffic.
        ring: Camera rings of the layout ``opv2v``.
    """

    name: str
    frames: int = 100
    rate_hz: float = 10.0
    warmup_s: float = 5.0
    ego_start: tuple[float, float] = (22.0, 52.0)
    max_skew_ms: float = 40.0
    roadsides: int = 1
    vehicles: int = 0
    buildings: float = 0.85
    weather: tuple[float, float, float] = (0.5, 0.3, 0.2)
    split: str = 'val'
    layout: LayoutName = 'v2x_seq'
    camera: CameraConfig = field(default_factory=CameraConfig)
    lidar: LidarConfig = field(default_factory=LidarConfig)
    labels: LabelConfig = field(default_factory=LabelConfig)
    demand: Demand = field(default_factory=Demand)
    ring: RingConfig = field(default_factory=RingConfig)

    def __post_init__(self) -> None:
        """Reject what cannot be simulated."""
        if self.frames < 1 or self.rate_hz <= 0 or self.roadsides < 1 or self.vehicles < 0:
            raise ValueError('frames, rate_hz and roadsides must be positive, vehicles not < 0')
        if self.max_skew_ms * 2 >= 1000 / self.rate_hz:
            raise ValueError('max_skew_ms must stay below half a frame period')
        if self.layout != 'opv2v':
            return
        if self.split not in ('train', 'val', 'test'):
            raise ValueError(f"split must be train, val or test, not '{self.split}'")
        if self.max_skew_ms:
            raise ValueError('the layout opv2v has no capture times: max_skew_ms must be 0')
        if abs(self.ticks - round(self.ticks)) > 1e-6 or self.ticks < 1:
            raise ValueError('frames of the layout opv2v are whole steps of 0.05 s apart')
        if not 0 <= self.ring.edge_rays <= 2 or not 0 < self.ring.fov_deg < 180:
            raise ValueError('ring.edge_rays must be 0 to 2, ring.fov_deg between 0 and 180')

    @property
    def ticks(self) -> float:
        """Steps of OPV2V's simulator from frame to frame."""
        return 1 / (self.rate_hz * TICK_S)

    def with_layout(self, layout: LayoutName) -> Preset:
        """Write in another layout; the agents of ``opv2v`` capture at the same time."""
        if layout == self.layout:
            return self
        skew = 0.0 if layout == 'opv2v' else self.max_skew_ms
        return replace(self, layout=layout, max_skew_ms=skew)


def load_preset(name: str | Path | Preset) -> Preset:
    """Find a preset by name, or read one from a YAML file of your own.

    Raises:
        InputError: It does not exist, or holds an unknown key.
    """
    if isinstance(name, Preset):
        return name
    path = Path(name)
    if path.suffix not in ('.yaml', '.yml'):
        if str(name) not in PRESETS:
            near = difflib.get_close_matches(str(name), PRESETS, n=1)
            raise InputError(
                f"there is no preset '{name}'",
                field='preset',
                remedy=f"did you mean '{near[0]}'?" if near else f'known: {", ".join(PRESETS)}',
            )
        path = config_path(f'simulation/{name}.yaml')
    return from_mapping(Preset, load_yaml(path), path=path)
