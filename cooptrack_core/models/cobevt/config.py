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

"""Configuration of CoBEVT; ``config/models/cobevt*.yaml`` fill it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from cooptrack_core.geometry import MapGrid
from cooptrack_core.models.cobevt.quirks import CobevtQuirks
from cooptrack_core.models.fusion.map_operators import FusionName

Target = Literal['dynamic', 'static', 'vehicle_center']

# Channels of the logits: background and vehicle; background, drivable area and lane; nuScenes'
# vehicle and vehicle centre, each for a sigmoid.
CHANNELS: dict[Target, int] = {'dynamic': 2, 'static': 3, 'vehicle_center': 2}


@dataclass(frozen=True)
class RingImageConfig:
    """Network input: every image of a ring is resized to this size, whatever its aspect.

    Attributes:
        height, width: Pixels.
        skip_rows: Rows cut off at the top of an image resized to ``height + skip_rows``.
        mean, std: Of red, green and blue, 0 to 255.
    """

    height: int = 512
    width: int = 512
    skip_rows: int = 0
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)

    def __post_init__(self) -> None:
        """Check the size."""
        if min(self.height, self.width) <= 0 or self.skip_rows < 0:
            raise ValueError(f'input size {self.width}x{self.height}, {self.skip_rows} skipped')


@dataclass(frozen=True)
class RingBackboneConfig:
    """The image network.

    Attributes:
        kind: ``resnet34`` (torchvision), ``efficientnet_b4`` or ``residual`` (small basic blocks).
        widths: Channels of the four stages of ``residual``.
        blocks: Blocks of the four stages of ``residual``.
        levels: Feature maps used, 0 is that at stride 4; one per stage of SinBEVT.
    """

    kind: Literal['resnet34', 'efficientnet_b4', 'residual'] = 'resnet34'
    widths: tuple[int, int, int, int] = (32, 48, 96, 160)
    blocks: tuple[int, int, int, int] = (1, 1, 2, 2)
    levels: tuple[int, ...] = (1, 2, 3)

    def __post_init__(self) -> None:
        """Check the levels."""
        last = 2 if self.kind == 'efficientnet_b4' else 3
        if not self.levels or min(self.levels) < 0 or max(self.levels) > last:
            raise ValueError(f'levels {self.levels}; {self.kind} has 0 to {last}')


@dataclass(frozen=True)
class SinBevtConfig:
    """SinBEVT: from a camera ring to a BEV feature map.

    Attributes:
        dims: Channels of each stage.
        scale: Cells of the map per query cell along an edge in the first stage; it doubles.
        query_windows: Edge length of the groups of queries of each stage.
        image_windows: Rows and columns of the groups of image tokens of each stage.
        head_dims: Channels of an attention head.
        global_attention: Whether queries look at cells of the whole images after their windows.
        refinements: Bottleneck blocks after each stage.
        self_attention: Whether all cells look at each other at the end.
        residual: Whether that adds to the map; the released model replaces the map, which is hard
            to learn from scratch.
        dropout: Of that self-attention.
        ground_heights: Above the ground, m; queries begin with what the images show there
            (``ground.py``). None in CoBEVT.
        ground_samples: Points along an edge of a query cell.
    """

    dims: tuple[int, ...] = (128, 128, 128)
    scale: int = 2
    query_windows: tuple[int, ...] = (16, 16, 32)
    image_windows: tuple[tuple[int, int], ...] = ((8, 8), (8, 8), (16, 16))
    head_dims: int = 32
    global_attention: bool = True
    refinements: int = 2
    self_attention: bool = True
    residual: bool = False
    dropout: float = 0.1
    ground_heights: tuple[float, ...] = ()
    ground_samples: int = 2

    def __post_init__(self) -> None:
        """Check that every stage has its sizes."""
        stages = len(self.dims)
        if not stages or len(self.query_windows) != stages or len(self.image_windows) != stages:
            raise ValueError('dims, query_windows and image_windows need one entry per stage')
        if any(d % self.head_dims or d % 4 for d in self.dims):
            raise ValueError(f'dims {self.dims} do not divide by head_dims {self.head_dims} and 4')

    @property
    def factor(self) -> int:
        """Cells of the map per feature cell along an edge."""
        return int(self.scale * 2 ** (len(self.dims) - 1))


@dataclass(frozen=True)
class FuseBevtConfig:
    """FuseBEVT: one map of several agents' maps.

    Attributes:
        depth: Layers.
        window: Edge length of the groups.
        agents: Agents the bias table knows; more may take part.
        hidden: Width of the MLPs.
        head_dims: Channels of an attention head.
        dropout: Of attention outputs and MLPs.
        local_attention, global_attention: Which of the two attentions a layer has.
    """

    depth: int = 3
    window: int = 8
    agents: int = 5
    hidden: int = 256
    head_dims: int = 32
    dropout: float = 0.1
    local_attention: bool = True
    global_attention: bool = True


@dataclass(frozen=True)
class MapDecoderConfig:
    """Map decoder.

    Attributes:
        kind: ``nearest`` (CoBEVT) or ``cvt`` (cross-view transformers, nuScenes).
        channels: Channels after each doubling of the resolution.
    """

    kind: Literal['nearest', 'cvt'] = 'nearest'
    channels: tuple[int, ...] = (128, 64, 32)


@dataclass(frozen=True)
class CobevtConfig:
    """The whole model.

    Attributes:
        name: For messages to the user.
        image: Network input.
        map: Cells of the semantic map.
        backbone, sinbevt, fusion, decoder: The parts; without ``fusion`` an agent is alone, or an
            operator of ``models/fusion`` is given to the model.
        operator: What fuses: FuseBEVT, or an operator it is compared with
            (``models/fusion/map_operators.py``).
        compression: Factor by which the channels shrink for the radio; 0 sends them all.
        targets: ``dynamic`` (vehicles), ``static`` (drivable area and lanes), or both in one
            trunk.
        keep_unused: Keep parameters that were released but are never used.
        quirks: Official behaviour.
    """

    name: str = 'cobevt'
    image: RingImageConfig = field(default_factory=RingImageConfig)
    map: MapGrid = field(default_factory=MapGrid)
    backbone: RingBackboneConfig = field(default_factory=RingBackboneConfig)
    sinbevt: SinBevtConfig = field(default_factory=SinBevtConfig)
    compression: int = 0
    fusion: FuseBevtConfig | None = field(default_factory=FuseBevtConfig)
    operator: FusionName = 'fusebevt'
    decoder: MapDecoderConfig = field(default_factory=MapDecoderConfig)
    targets: tuple[Target, ...] = ('dynamic', 'static')
    keep_unused: bool = False
    quirks: CobevtQuirks = field(default_factory=CobevtQuirks)

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        dims, grid = self.sinbevt.dims[-1], self.features
        if len(self.backbone.levels) != len(self.sinbevt.dims):
            raise ValueError('sinbevt.dims and backbone.levels need one entry per stage')
        if self.compression < 0 or (self.compression and dims % self.compression):
            raise ValueError(f'compression {self.compression} does not divide {dims} channels')
        if 2 ** len(self.decoder.channels) != self.sinbevt.factor:
            raise ValueError(
                f'decoder.channels double the resolution {len(self.decoder.channels)} times, the '
                f'features are {self.sinbevt.factor} times coarser than the map'
            )
        if self.sinbevt.self_attention and grid.rows != grid.columns:
            raise ValueError('sinbevt.self_attention needs a square map')
        if self.fusion and (grid.rows % self.fusion.window or grid.columns % self.fusion.window):
            raise ValueError(f'fusion.window {self.fusion.window} does not divide the features')
        if not self.targets:
            raise ValueError('targets is empty')
        for s, window in enumerate(self.sinbevt.query_windows):
            stage = self.queries(s)
            if stage.rows % window or stage.columns % window:
                raise ValueError(f'query window {window} does not divide {stage}')

    def queries(self, stage: int) -> MapGrid:
        """Cells of the BEV queries of a stage."""
        return self.map.coarser(self.sinbevt.scale * 2**stage)

    @property
    def features(self) -> MapGrid:
        """Cells of the feature maps that agents exchange."""
        return self.map.coarser(self.sinbevt.factor)

    @property
    def channels(self) -> int:
        """Channels of a feature map before compression."""
        return self.sinbevt.dims[-1]

    @property
    def sent_channels(self) -> int:
        """Channels of a feature map on the air."""
        return self.channels // max(self.compression, 1)


def official(
    target: Literal['dynamic', 'static'] = 'dynamic',
    *,
    compression: int = 0,
    cooperative: bool = True,
    quirks: CobevtQuirks | None = None,
) -> CobevtConfig:
    """A released model: CoBEVT, or without fusion the single-vehicle SinBEVT it starts from.

    Args:
        target: Which of the two networks.
        compression: 0, 8, 16, 32 or 64.
        cooperative: False for ``fax.yaml``.
        quirks: All by default.
    """
    return CobevtConfig(
        name=f'cobevt_{target}',
        compression=compression,
        fusion=FuseBevtConfig() if cooperative else None,
        targets=(target,),
        keep_unused=True,
        quirks=CobevtQuirks.official() if quirks is None else quirks,
    )


def nuscenes(quirks: CobevtQuirks | None = None) -> CobevtConfig:
    """SinBEVT for nuScenes: six cameras, vehicles and their centres (reference section 10)."""
    return CobevtConfig(
        name='sinbevt_nuscenes',
        image=RingImageConfig(height=224, width=480, skip_rows=46),
        map=MapGrid(200, 200, 0.5),
        backbone=RingBackboneConfig('efficientnet_b4', levels=(0, 1, 2)),
        sinbevt=SinBevtConfig(
            dims=(32, 64, 128),
            query_windows=(10, 10, 25),
            image_windows=((6, 12), (6, 12), (14, 30)),
            self_attention=False,
        ),
        fusion=None,
        decoder=MapDecoderConfig('cvt', (128, 128, 64)),
        targets=('vehicle_center',),
        quirks=quirks or CobevtQuirks(),
    )
