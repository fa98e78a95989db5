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

"""Image networks in other engines: torch.compile (CUDA graphs), OpenVINO and ONNX Runtime.

Backbone and neck, of map models the backbone: the static part of a frame, and most of the
arithmetic of the larger models; everything behind them depends on tracks, messages and the number
of cameras and stays in torch.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from cooptrack_core.errors import InputError
from cooptrack_core.files import write_bytes_atomically
from cooptrack_core.models.cobevt import inference as map_inference
from cooptrack_core.models.cobevt.model import Cobevt
from cooptrack_core.models.cooptrack.model import CoopTrack
from cooptrack_core.models.inference import Precision, for_inference
from cooptrack_core.models.quantise import quantise_images

Backend = Literal['torch', 'compile', 'openvino', 'onnxruntime']
ImageModel = CoopTrack | Cobevt
# (n, 3, H, W) normalised images to the maps (n, D, h, w) that the rest reads, finest first.
ImageNetwork = Callable[[Tensor], list[Tensor]]

ENDINGS: dict[Backend, str] = {'openvino': '.xml', 'onnxruntime': '.onnx'}
_ID, _PRECISION = 'cooptrack_model_id', 'cooptrack_precision'
# An eight-bit network says itself what is computed in eight bits.
_PRECISION_HINT = {'fp32': 'f32', 'bf16': 'bf16', 'int8': 'f32'}


class _Images(nn.Module):
    """Backbone and neck alone, as the engines take them."""

    def __init__(self, model: CoopTrack, precision: Precision = 'fp32') -> None:
        super().__init__()
        ready = for_inference(model, precision)
        self.backbone, self.neck = ready.backbone, ready.neck

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """One image to its maps."""
        maps = self.neck(self.backbone(images))
        return (maps,) if isinstance(maps, Tensor) else tuple(maps)


class _RingImages(nn.Module):
    """The backbone of a map model, and the levels that it uses."""

    def __init__(self, model: Cobevt) -> None:
        super().__init__()
        self.backbone = map_inference.for_inference(model).backbone
        self.levels = model.config.backbone.levels

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """One image to its maps."""
        maps = self.backbone(images)
        return tuple(maps[i] for i in self.levels)


def _image_part(model: ImageModel, precision: Precision = 'fp32') -> nn.Module:
    return _RingImages(model) if isinstance(model, Cobevt) else _Images(model, precision)


def _plain(model: ImageModel) -> nn.Module:
    """For the converters: memory as they expect it."""
    return _image_part(model).eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload,no-any-return]


def export(
    model: ImageModel,
    model_id: str,
    backend: Backend,
    path: str | Path,
    calibration: Iterable[Tensor] | None = None,
) -> None:
    """Write the image network of a model for an engine, the model id inside.

    Args:
        model: On the CPU.
        model_id: Of its weights file.
        backend: ``openvino`` (a .xml and a .bin file) or ``onnxruntime`` (.onnx).
        path: Target, with the ending of the backend.
        calibration: (1, 3, H, W) normalised images; the network becomes one of eight bits for
            values as they occur there. None keeps float32.

    Raises:
        InputError: The engine is not installed, the ending is another, it cannot be written, or
            there is no image to calibrate with.
    """
    path = Path(path)
    ending = ENDINGS.get(backend)
    if ending is None or path.suffix != ending:
        raise InputError(
            f'{backend} files end in {ending}' if ending else f'{backend} needs no export',
            path=path,
            remedy=f'choose one of {sorted(ENDINGS)} and its ending',
        )
    precision: Precision = 'fp32' if calibration is None else 'int8'
    with tempfile.TemporaryDirectory() as directory:
        draft = Path(directory) / path.name
        network = draft.with_suffix('.onnx')
        if backend == 'onnxruntime' or calibration is not None:
            _write_onnx(model, network)
        if calibration is not None:
            quantise_images(network, calibration)
        if backend == 'openvino':
            read = (
                _openvino(model)
                if calibration is None
                else _import(backend).convert_model(network)
            )
            _mark_openvino(read, model_id, precision)
            _import(backend).save_model(read, draft, compress_to_fp16=False)
            network.unlink(missing_ok=True)
        else:
            onnx = _import(backend, 'onnx')
            content = onnx.load(network)
            onnx.helper.set_model_props(content, {_ID: model_id, _PRECISION: precision})
            onnx.save(content, network)
        # The file that names the others comes last.
        for part in sorted(Path(directory).iterdir(), key=lambda p: p.name == path.name):
            write_bytes_atomically(path.with_name(part.name), part.read_bytes())


def exported_file(directory: Path, weights: str | Path, backend: Backend) -> Path:
    """Where "cooptrack export" writes the network of a weights file.

    Raises:
        InputError: The backend uses no such files.
    """
    if backend not in ENDINGS:
        raise InputError(
            f'{backend} uses no exported files',
            field='exported',
            remedy=f'choose one of the backends {sorted(ENDINGS)}',
        )
    return directory / Path(weights).with_suffix(ENDINGS[backend]).name


def _write_onnx(model: ImageModel, path: Path) -> None:
    for module in ('onnx', 'onnxscript'):
        _import('onnxruntime', module)
    size = (1, 3, model.config.image.height, model.config.image.width)
    torch.onnx.export(
        _plain(model), (torch.zeros(size),), str(path), dynamo=True, external_data=False,
        verbose=False,
    )  # fmt: skip


def image_network(
    model: ImageModel,
    model_id: str,
    backend: Backend,
    precision: Precision = 'fp32',
    exported: str | Path | None = None,
    device: torch.device | None = None,
) -> ImageNetwork:
    """The image network of a model in an engine.

    Args:
        model: On the CPU.
        model_id: Of its weights file.
        backend: ``compile``, ``openvino`` or ``onnxruntime``.
        precision: ``bf16`` needs OpenVINO or ``compile``, ``int8`` a file of ``export``.
        exported: File of ``export``; None converts the model now, which takes seconds.
        device: Where it runs; others than the CPU need ``compile``.

    Raises:
        InputError: The engine is not installed, the file is of another model or unusable, or the
            engine has no such precision.
    """
    if backend == 'onnxruntime' and precision == 'bf16':
        raise InputError(
            f'ONNX Runtime does not compute in {precision} on CPUs',
            field='--precision',
            remedy='use --backend openvino or torch, or --precision fp32',
        )
    if precision == 'int8' and (exported is None or backend == 'compile'):
        raise InputError(
            'an eight-bit network is calibrated with images beforehand',
            field='--precision',
            remedy='make it with "cooptrack export --precision int8 --calibration DATA", say '
            '--backend openvino or onnxruntime, and give --exported',
        )
    if exported is not None and not Path(exported).is_file():
        raise InputError(
            'there is no such file', path=exported, remedy='make it with "cooptrack export"'
        )
    device = device or torch.device('cpu')
    if backend == 'compile':
        return _compiled_network(model, precision, device)
    if device.type != 'cpu':
        raise InputError(
            f'{backend} runs on the CPU', field='--backend', remedy='use --device cpu'
        )
    threads = torch.get_num_threads()
    if backend == 'openvino':
        return _openvino_network(model, model_id, precision, exported, threads)
    return _onnx_network(model, model_id, precision, exported, threads)


def _import(backend: Backend, module: str | None = None) -> Any:
    """Import an engine.

    Raises:
        InputError: It is not installed.
    """
    name = module or backend
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f'{name} is not installed',
            field='--backend',
            remedy=f'pip install "cooptrack_ros[{backend}]"',
        ) from error


def _check(found: str, wanted: str, made: str, precision: Precision, path: str | Path) -> None:
    """Whether an exported file is of this model and precision."""
    if found == wanted and (made == 'int8') != (precision == 'int8'):
        raise InputError(
            f'the exported network computes in {made or "fp32"}, not in {precision}',
            path=path,
            field='--precision',
            remedy=f'say --precision {made or "fp32"}, or export it again',
        )
    if found != wanted:
        raise InputError(
            f'the exported network belongs to model {found or "unknown"}, not to {wanted}',
            path=path,
            field=_ID,
            remedy='export it again from these weights',
        )


def _compiled_network(
    model: ImageModel, precision: Precision, device: torch.device
) -> ImageNetwork:
    """torch.compile; on CUDA the kernels of a frame are one recorded graph.

    Sizes are fixed, so it is compiled here, for one image, and not in the middle of a stream.
    """
    images = _image_part(model, precision).to(device)
    graphs = 'reduce-overhead' if device.type == 'cuda' else 'default'
    compiled = torch.compile(images, mode=graphs, fullgraph=True, dynamic=False)

    @torch.inference_mode()
    def run(image: Tensor) -> list[Tensor]:
        with _autocast(precision, device):
            maps = compiled(image.contiguous(memory_format=torch.channels_last))
        return [level.clone() for level in maps]  # the next replay overwrites a graph's output

    try:
        run(torch.zeros(1, 3, model.config.image.height, model.config.image.width, device=device))
    except Exception as error:  # dynamo, inductor and the compiler have no common base of errors
        raise InputError(
            f'torch.compile failed here ({type(error).__name__}: {str(error).splitlines()[0]})',
            field='--backend',
            remedy='it needs a C++ compiler (g++), on CUDA triton; or use --backend torch',
        ) from error

    def network(images: Tensor) -> list[Tensor]:
        each = [run(image[None].to(device)) for image in images]
        return [torch.cat(level) for level in zip(*each, strict=True)]

    return network


def _autocast(
    precision: Precision, device: torch.device
) -> contextlib.AbstractContextManager[Any]:
    if precision != 'bf16':
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def _openvino(model: ImageModel) -> Any:
    engine = _import('openvino')
    size = (1, 3, model.config.image.height, model.config.image.width)
    with torch.no_grad():
        return engine.convert_model(_plain(model), example_input=torch.zeros(size), input=[size])


def _mark_openvino(network: Any, model_id: str, precision: Precision) -> None:
    network.set_rt_info(model_id, [_ID])
    network.set_rt_info(precision, [_PRECISION])


def _openvino_network(
    model: ImageModel,
    model_id: str,
    precision: Precision,
    exported: str | Path | None,
    threads: int,
) -> ImageNetwork:
    engine = _import('openvino')
    core = engine.Core()
    if exported is None:
        network = _openvino(model)
    else:
        try:
            network = core.read_model(exported)
        except RuntimeError as error:
            raise InputError(
                f'this is no network of OpenVINO ({error})',
                path=exported,
                remedy='export it again',
            ) from error
        marks = [
            network.get_rt_info([mark]).astype(str) if network.has_rt_info([mark]) else ''
            for mark in (_ID, _PRECISION)
        ]
        _check(marks[0], model_id, marks[1], precision, exported)
    hints = {
        'INFERENCE_PRECISION_HINT': _PRECISION_HINT[precision],
        'INFERENCE_NUM_THREADS': threads,
        'PERFORMANCE_HINT': 'LATENCY',
    }
    request = core.compile_model(network, 'CPU', hints).create_infer_request()

    def run(image: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        return [np.array(value) for value in request.infer([image]).values()]

    return _one_by_one(run)


def _onnx_network(
    model: ImageModel,
    model_id: str,
    precision: Precision,
    exported: str | Path | None,
    threads: int,
) -> ImageNetwork:
    engine = _import('onnxruntime')
    if exported is None:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / 'model.onnx'
            export(model, model_id, 'onnxruntime', path)
            return _onnx_network(model, model_id, precision, path, threads)
    options = engine.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads that spin after their work take the cores from torch, which comes next.
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    try:
        session = engine.InferenceSession(
            os.fspath(exported), options, providers=['CPUExecutionProvider']
        )
    except Exception as error:  # the engine's exceptions have no common base of their own
        raise InputError(
            f'this is no network of ONNX ({error})', path=exported, remedy='export it again'
        ) from error
    marks = session.get_modelmeta().custom_metadata_map
    _check(marks.get(_ID, ''), model_id, marks.get(_PRECISION, ''), precision, exported)
    name = session.get_inputs()[0].name

    def run(image: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        return cast('list[np.ndarray[Any, Any]]', session.run(None, {name: image}))

    return _one_by_one(run)


def _one_by_one(
    run: Callable[[np.ndarray[Any, Any]], list[np.ndarray[Any, Any]]],
) -> ImageNetwork:
    """The engines get one image at a time: agents have one camera, and sizes stay fixed."""

    def network(images: Tensor) -> list[Tensor]:
        each = [run(image[None].numpy()) for image in images.float().cpu().contiguous()]
        return [torch.from_numpy(np.concatenate(level)) for level in zip(*each, strict=True)]

    return network
