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

"""The two kinds of bad input: what a user gave us, and what a peer sent us."""

from __future__ import annotations

from pathlib import Path


class InputError(ValueError):
    """Input of the user (a file, a field, an option) that cannot be used.

    The text names the file, the field and the remedy, so that it can be printed as it is.

    Args:
        message: What is wrong, as a full sentence without a final full stop.
        path: The file or directory at fault.
        field: The field inside the file (dotted), or the option.
        remedy: What the user can do about it.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | Path | None = None,
        field: str | None = None,
        remedy: str | None = None,
    ) -> None:
        """Compose the text; see the class."""
        self.message = message
        self.path = None if path is None else Path(path)
        self.field = field
        self.remedy = remedy
        place = ', '.join(
            part
            for part in (
                f'file {self.path}' if path is not None else '',
                f"field '{field}'" if field is not None else '',
            )
            if part
        )
        text = f'{place}: {message}' if place else message
        super().__init__(f'{text}. Remedy: {remedy}' if remedy else text)


class MessageError(ValueError):
    """A message of a peer that must not be used.

    Args:
        reason: Short machine-readable reason; it is the key of the rejection counters.
        detail: What was seen, for the log.
    """

    def __init__(self, reason: str, detail: str = '') -> None:
        """Compose the text; see the class."""
        self.reason = reason
        self.detail = detail
        super().__init__(f'{reason}: {detail}' if detail else reason)
