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

"""Where to compute."""

from __future__ import annotations

import torch

from cooptrack_core.errors import InputError


def find_device(name: str) -> torch.device:
    """Device of that name; a device that is asked for and not there is an error, no fallback.

    Raises:
        InputError: No such device.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(
            f"'{name}' is no device", field='device', remedy='use cpu, cuda or cuda:0'
        ) from error
    if device.type == 'cuda' and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"'{name}' is not available",
            field='device',
            remedy='use cpu, or install a CUDA build of torch and its driver',
        )
    return device
