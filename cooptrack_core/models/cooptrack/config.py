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

"""Configuration of the model; ``config/models/*.yaml`` fill it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

from cooptrack_core.geometry import BevGrid, PerceptionRange
from cooptrack_core.models.cooptrack.quirks import OfficialQuirks
from cooptrack_core.structures import CLASS_NAMES
from cooptrack_core.tracking.permanence import PermanenceConfig


@dataclass(frozen=True)
class ImageConfig:
    """Network input: the image resized to ``width``, cut at the top, padded or cut below.

    Attributes:
        height, width: Pixels.
        skip_rows: Rows of the resized image left out at the top: above the horizon of a driving
            vehicle or a roadside unit there is nothing to find.
        mean, std: Of red, green and blue, or of blue, green and red with ``bgr``.
        bgr: Channels in the order that weights of Caffe want.
    """

    height: int
    width: int
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    bgr: bool = False
    skip_rows: int = 0

    def __post_init__(self) -> None:
        """Strides of the backbones need multiples of 32."""
        if self.skip_rows < 0:
            raise ValueError(f'skip_rows is {self.skip_rows}; it cannot be negative')
        if self.height % 32 or self.width % 32 or min(self.height, self.width) <= 0:
            raise ValueError(f'input size {self.width}x{self.height} is no multiple of 32')


@dataclass(frozen=True)
class BackboneConfig:
    """The image network.

    Attributes:
        kind: ``resnet50`` (torchvision layout, one level), ``resnet101`` (Caffe layout,
            deformable, four levels), ``convnext_small`` (four levels) or ``residual`` (small
            basic blocks).
        widths: Channels of the four stages of ``residual``.
        blocks: Blocks of the four stages of ``residual``.
        frozen_norm: Batch norm always uses running statistics and never trains.
    """

    kind: Literal['resnet50', 'resnet101', 'convnext_small', 'residual'] = 'resnet50'
    widths: tuple[int, int, int, int] = (16, 32, 64, 128)
    blocks: tuple[int, int, int, int] = (1, 1, 2, 2)
    frozen_norm: bool = True

    @property
    def levels(self) -> int:
        """Number of feature maps that the neck makes of it."""
        return 4 if self.kind in ('resnet101', 'convnext_small') else 1


@dataclass(frozen=True)
class BevConfig:
    """The BEV map and how it is made.

    Attributes:
        encoder: ``bevformer`` (deformable attention, as released) or ``lift`` (fixed samples).
        grid: Cells; may be smaller than the perception range.
        pillar_heights: Heights of the image samples of a cell, metres in the agent frame.
        layers, heads, ffn: Size of the BEVFormer encoder.
        temporal_points, spatial_points: Sampling points of its attentions.
        can_bus: Whether the BEV queries see the can_bus vector (BEVFormer encoder only).
        blocks: Residual convolution blocks of the lift encoder.
        depth_hypotheses: How many depths the lift encoder reads off every place of the image, to
            be compared with those of its samples (``bev_encoder/sight_depth.py``); 0 for none.
    """

    grid: BevGrid
    pillar_heights: tuple[float, ...]
    encoder: Literal['bevformer', 'lift'] = 'bevformer'
    layers: int = 3
    heads: int = 8
    ffn: int = 512
    temporal_points: int = 4
    spatial_points: int = 8
    can_bus: bool = True
    blocks: int = 2
    depth_hypotheses: int = 0


@dataclass(frozen=True)
class DecoderConfig:
    """Query decoder.

    Attributes:
        queries: Number of queries per frame, carried tracks included.
        centre_step: Factor on the centre update in logit space.
        zero_start: Last regression layer starts at zero, so boxes start at their reference.
        start_area: x_min, y_min, z_min, x_max, y_max, z_max, metres: where learnt reference
            points start, evenly spread; None spreads them over the whole range at random.
        start_wedge: Half angle about +x inside which they start, rad; None for no limit.
    """

    queries: int = 900
    layers: int = 6
    heads: int = 8
    points: int = 4
    ffn: int = 512
    centre_step: float = 1.0
    zero_start: bool = False
    start_area: tuple[float, float, float, float, float, float] | None = None
    start_wedge: float | None = None


@dataclass(frozen=True)
class MotionConfig:
    """MDFE: widths of the point networks."""

    width: int = 64


@dataclass(frozen=True)
class ReasoningConfig:
    """Temporal and spatial reasoning: history slots and transformer size."""

    history: int = 4
    layers: int = 2
    heads: int = 8
    ffn: int = 2048


@dataclass(frozen=True)
class LatencyConfig:
    """Feature flow of the sender (``latency.py``).

    Attributes:
        width: Hidden width.
    """

    width: int = 48


@dataclass(frozen=True)
class PlacementConfig:
    """How well a camera places an object (``placement.py``).

    Spreads are standard deviations: along the line of sight (metres, and per metre of distance),
    then across it.

    Attributes:
        vehicle: Spread of a camera low above the road.
        roadside: Spread of a camera on a pole.
        speed: Error of a velocity, m/s; an older message is less sure.
        gate: Pairs farther apart than so many standard deviations are not fused; None: no gate.
        track: Spread of a track that lives on, in any direction, metres; for ``fit_pose``.
        fit_pose: Whether a moving sender that admits an uncertain pose is fitted onto what the
            receiver knows (``pose_fit.py``).
    """

    vehicle: tuple[float, float, float, float] = (0.35, 0.024, 0.2, 0.008)
    roadside: tuple[float, float, float, float] = (0.05, 0.0165, 0.1, 0.004)
    speed: float = 1.0
    gate: float | None = None
    track: float = 0.5
    fit_pose: bool = True


@dataclass(frozen=True)
class CooperationConfig:
    """How the instances of other agents are fused.

    Attributes:
        fusion: ``instances``: CoopTrack, after decoding (CAA, GBA, aggregation). ``queries``: the
            baseline of ``models/fusion/queries.py``, before decoding; of the other keys it knows
            ``rule_distance``, ``score_threshold``, ``ego_footprint``, ``remote_weight`` and
            ``score_bias``. ``bev``: the baseline of ``models/fusion/bev_concat.py``, maps in
            place of instances; it knows none of the other keys.
        block: Edge length of the blocks on the diagonal of the latent rotation.
        matching: ``learned`` (GBA) or ``rule`` (nearest, within ``rule_distance``).
        rule_distance: Gate of rule matching, metres.
        score_threshold: Vehicle queries below it are no candidates (carried tracks always are).
        affinity_threshold: Pairs below it are not fused.
        max_distance: Pairs farther apart are not fused, metres; None for no limit.
        ego_footprint: x_min, x_max, y_min, y_max of the receiver in its own agent frame, metres;
            a remote instance inside is the receiver itself. None for no such check.
        remote_weight: Share of the remote instance in the place where a matched pair meets; a half
            as released. More of it where the remote agent places objects better than the ego, as
            a unit on a pole does. Unused with ``placement``.
        placement: Pairs meet where both sides' uncertainty says; None as ``remote_weight`` says.
        sender_word: Share of the sender's class logits in those of what rests on it, 0 to 1; 0 as
            released, where the refine heads judge by the features alone.
        score_bias: Added to the refined class logits of what at this frame rests on the ego
            alone, on a remote agent alone, and on both: thresholds are the same for all, but the
            three are not equally sure of themselves. Not part of the official code.
        unseen_bias: Added to the class logits of tracks outside the ego's images that no message
            of this frame holds: nobody sees them. Not while no message is there at all.
    """

    fusion: Literal['instances', 'queries', 'bev'] = 'instances'
    block: int = 16
    matching: Literal['learned', 'rule'] = 'learned'
    rule_distance: float = 3.5
    score_threshold: float = 0.4
    affinity_threshold: float = 0.3
    max_distance: float | None = None
    ego_footprint: tuple[float, float, float, float] | None = (-3.0, 3.0, -1.5, 1.5)
    remote_weight: float = 0.5
    placement: PlacementConfig | None = None
    sender_word: float = 0.0
    score_bias: tuple[float, float, float] = (0.0, 0.0, 0.0)
    unseen_bias: float = 0.0


@dataclass(frozen=True)
class PartsConfig:
    """Parts that an ablation leaves out; GBA is left out by ``cooperation.matching: rule``.

    Attributes:
        mdfe: False: all motion features are zero, own ones and those of messages.
        caa: False: features of messages stay as the sender made them; places still move.
        history: Slots of a query's history that reasoning looks at, this frame included; 0: no
            look back at all. None: all it has.
    """

    mdfe: bool = True
    caa: bool = True
    history: int | None = None

    def __post_init__(self) -> None:
        """A history has no negative length."""
        if self.history is not None and self.history < 0:
            raise ValueError(f'a history of {self.history} slots is impossible')


@dataclass(frozen=True)
class TrackingConfig:
    """Life cycle of the queries.

    Attributes:
        output_threshold: Queries at or above it are reported.
        score_threshold: Queries above it are active and become tracks.
        record_threshold: Queries below it keep the state they had before the frame.
        max_age: A track is dropped when it was inactive for this many frames.
        carry: Whether tracks live on at all (detection models start anew each frame).
        fade: A track whose class logit is this far below its best one is not active: its query
            has most likely lost its object and drifts. It is not reported either after
            ``fade_after`` such frames. None as released.
        fade_after: See ``fade``.
        reappear_within: A new track that begins where a track, which was reported up to so many
            seconds ago, should be by now takes up its id; 0 as released. See
            ``tracking/reappearance.py``.
        reappear_distance: How near it must be: metres, and metres more per second.
        reset_after_s: A larger gap between frames drops the memory, seconds.
        max_output: Most detections listed per frame.
        centre_range: Boxes outside are not reported, metres in the agent frame.
        duplicate_distance: Per class, metres: of two queries nearer than this the less certain
            one is silenced (``tracking/duplicates.py``); None as released.
        velocity_gain: How much of the gap between predicted and found place corrects the
            velocity of a track (``tracking/velocity.py``); 0 as released: the network's alone.
        first_velocity_gain: The same for a track's first gap; None: ``velocity_gain``.
        across_velocity: Share of the velocity across its heading that a car or bicycle keeps; 1
            as released.
        permanence: What stood still when it left the images is reported on; as released it is
            not.
    """

    output_threshold: float = 0.3
    score_threshold: float = 0.4
    record_threshold: float = 0.0
    max_age: int = 3
    carry: bool = True
    fade: float | None = None
    fade_after: int = 2
    reappear_within: float = 0.0
    reappear_distance: tuple[float, float] = (2.0, 1.0)
    reset_after_s: float = 0.75  # 2 Hz data jitter about 0.5 s
    max_output: int = 300
    centre_range: PerceptionRange = field(
        default_factory=lambda: PerceptionRange(-61.2, -61.2, -10.0, 61.2, 61.2, 10.0)
    )
    duplicate_distance: tuple[float, ...] | None = None
    velocity_gain: float = 0.0
    first_velocity_gain: float | None = None
    across_velocity: float = 1.0
    permanence: PermanenceConfig = field(default_factory=PermanenceConfig)


@dataclass(frozen=True)
class ModelConfig:
    """The whole model. ``None`` leaves a part out; ``latency`` is a sender's."""

    name: str
    image: ImageConfig
    range: PerceptionRange
    bev: BevConfig
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    motion: MotionConfig | None = field(default_factory=MotionConfig)
    reasoning: ReasoningConfig | None = field(default_factory=ReasoningConfig)
    cooperation: CooperationConfig | None = field(default_factory=CooperationConfig)
    latency: LatencyConfig | None = None
    # Numbers K of the code for compact messages that the weights hold (v2x/feature_code.py).
    code_numbers: int | None = None
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    parts: PartsConfig = field(default_factory=PartsConfig)
    embed_dims: int = 256
    classes: tuple[str, ...] = CLASS_NAMES
    dropout: float = 0.1
    # Weights the released files hold but nothing uses; kept so that a round trip loses nothing.
    keep_unused: bool = False
    quirks: OfficialQuirks = field(default_factory=OfficialQuirks)

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        if (self.motion is None) != (self.reasoning is None):
            raise ValueError('motion and reasoning come together or not at all')
        fusion = None if self.cooperation is None else self.cooperation.fusion
        if fusion in ('instances', 'queries') and self.reasoning is None:
            raise ValueError('cooperation needs motion and reasoning')
        if fusion == 'bev' and (self.reasoning is not None or self.tracking.carry):
            raise ValueError(
                'fusion of BEV maps detects in single frames: no motion, no reasoning, no carry'
            )
        divisors = {'bev.heads': self.bev.heads, 'decoder.heads': self.decoder.heads, '2': 2}
        if self.reasoning is not None:
            divisors['reasoning.heads'] = self.reasoning.heads
        if self.cooperation is not None and fusion == 'instances':
            divisors['cooperation.block'] = self.cooperation.block
        for name, divisor in divisors.items():
            if self.embed_dims % divisor:
                raise ValueError(f'embed_dims {self.embed_dims} is no multiple of {name}')

    @property
    def history(self) -> int:
        """Number of history slots, 1 without reasoning."""
        return 1 if self.reasoning is None else self.reasoning.history

    def with_quirks(self, quirks: OfficialQuirks) -> ModelConfig:
        """Return the same model with other quirks."""
        return dataclasses.replace(self, quirks=quirks)


def r50(
    role: Literal['vehicle', 'roadside', 'cooperative', 'vehicle_detection', 'roadside_detection'],
    quirks: OfficialQuirks | None = None,
) -> ModelConfig:
    """Return the released R50 configuration of a role (repaired unless ``quirks`` is given)."""
    roadside, detection = role.startswith('roadside'), role.endswith('detection')
    x = 51.2 if roadside else 0.0  # the roadside unit sees 0 to 102.4 m ahead
    return ModelConfig(
        name=f'r50_{role}',
        image=ImageConfig(height=544, width=960),
        range=PerceptionRange(x - 51.2, -51.2, -5.0, x + 51.2, 51.2, 3.0),
        bev=BevConfig(
            grid=BevGrid(x - 51.2, -51.2, x + 51.2, 51.2, columns=50, rows=50),
            # Four values from 0.5 to 7.5 of the 8 m high range.
            pillar_heights=tuple(-4.5 + i * 7.0 / 3 for i in range(4)),
        ),
        motion=None if detection else MotionConfig(),
        reasoning=None if detection else ReasoningConfig(),
        cooperation=CooperationConfig() if role == 'cooperative' else None,
        tracking=TrackingConfig(
            max_age=7 if detection else 3 if role == 'cooperative' else 1,
            record_threshold=0.4 if detection else 0.0,
            carry=not detection,
            centre_range=PerceptionRange(x - 61.2, -61.2, -10.0, x + 61.2, 61.2, 10.0),
        ),
        keep_unused=True,
        quirks=quirks or OfficialQuirks(),
    )
