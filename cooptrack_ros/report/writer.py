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


"""Writes ``report.html``: one file, no network, readable in any browser of the last years."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from cooptrack_core.files import atomic_path
from cooptrack_ros.report.encode import frame_data, image_data, image_entry, json_text
from cooptrack_ros.report.encode_map import map_data
from cooptrack_ros.report.record import ReportFrame

# Joined in this order into one script; each file is the part of the page its name says.
SCRIPTS = ('page.js', 'maps.js', 'scene.js', 'cameras.js', 'panels.js', 'main.js')

# A longer gap (or a step back) between frames is a new scene: the time line goes on by one period.
LONGEST_STEP = 2.0
USUAL_STEP = 0.1


class ReportWriter:
    """Streams frames into one self-contained HTML file.

    The file appears under its name only when ``close`` has written the last byte; leaving the
    ``with`` block without ``close``, or a full disk, leaves no file.

    Args:
        path: Where the page goes.
        title: Heading, for example the name of the scene.
        methods: Keys of ``metrics['methods']`` whose tracks are shown as ego-only and as
            cooperative.
        image_width: Images are scaled down to this width, pixels.
        image_quality: JPEG quality, 1 to 100.
        image_budget: Bytes (base64) for all images. Later frames are shown without images, and
            the page says how many.
        map_budget: The same for all maps.

    Raises:
        InputError: The file cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        title: str,
        methods: tuple[str, str] = ('no_fusion', 'cooptrack'),
        image_width: int = 480,
        image_quality: int = 70,
        image_budget: int = 64_000_000,
        map_budget: int = 32_000_000,
    ) -> None:
        """Open the temporary file and write the page's head."""
        self.path = Path(path)
        self._title = title
        self._methods = methods
        self._image_width = image_width
        self._image_quality = image_quality
        self._image_budget = image_budget
        self._images_left_out = 0
        self._map_budget = map_budget
        self._maps_left_out = 0
        self._frames = 0
        self._time = 0.0
        self._last: tuple[str, int] | None = None
        self._stack = ExitStack()
        self._file: TextIO | None = None
        before, self._after = _page(title)
        with self._guard():
            partial = self._stack.enter_context(atomic_path(self.path))
            # newline: the hashes of the security policy are of the text as it is.
            handle = partial.open('w', encoding='utf-8', newline='\n')
            self._file = self._stack.enter_context(handle)
            self._file.write(before)

    def add(self, frame: ReportFrame) -> None:
        """Append a frame; nothing of it is kept in memory.

        Raises:
            InputError: The disk is full.
            ValueError: The frame goes against what ReportFrame says, or the page is closed.
        """
        file = self._open_file()
        self._advance(frame)
        parts = []
        entries = []
        for number, camera in enumerate(frame.cameras):
            data, model = image_data(camera.image, self._image_width, self._image_quality)
            image_id: str | None = f'image-{self._frames}-{number}'
            if len(data) > self._image_budget:
                self._images_left_out += 1
                image_id = None
            else:
                self._image_budget -= len(data)
                parts.append(f'<script type="text/plain" id="{image_id}">{data}</script>\n')
            entries.append(image_entry(frame, camera, model, image_id))
        record = json_text(frame_data(frame, entries, self._time, self._map(frame)))
        parts.append(f'<script type="application/json" class="frame">{record}</script>\n')
        with self._guard():
            file.write(''.join(parts))
        self._frames += 1

    def _map(self, frame: ReportFrame) -> dict[str, Any] | None:
        if frame.map is None:
            return None
        entry = map_data(frame.map, frame)
        size = len(entry['cells']) + len(entry['truth'] or '')
        if size > self._map_budget:
            self._maps_left_out += 1
            return None
        self._map_budget -= size
        return entry

    def close(
        self,
        *,
        metrics: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write the tables and the script, and give the file its name.

        Args:
            metrics: The content of ``metrics.json``, or None where there are no labels.
            provenance: What made this run: command line, seed, model ids, versions.

        Returns:
            The path of the page.

        Raises:
            InputError: The disk is full.
        """
        file = self._open_file()
        summary = {
            'title': self._title,
            'methods': self._methods,
            'metrics': metrics,
            'provenance': provenance or {},
            'images_left_out': self._images_left_out,
            'maps_left_out': self._maps_left_out,
        }
        with self._guard():
            text = json_text(summary)
            file.write(f'<script type="application/json" id="summary">{text}</script>\n')
            file.write(self._after)
            file.flush()
            self._file = None
            self._stack.close()
        return self.path

    def __enter__(self) -> ReportWriter:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Drop the unfinished file unless ``close`` was called."""
        if self._file is not None:
            self._abandon(error or RuntimeError('the report was not closed'))

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Remove the temporary file when the block fails; an OSError becomes an InputError."""
        try:
            yield
        except BaseException as error:
            self._abandon(error)
            raise

    def _abandon(self, error: BaseException) -> None:
        self._file = None
        self._stack.pop_all().__exit__(type(error), error, error.__traceback__)

    def _open_file(self) -> TextIO:
        if self._file is None:
            raise ValueError(f'the report {self.path} is closed')
        return self._file

    def _advance(self, frame: ReportFrame) -> None:
        """Move the page's clock; it never runs backwards, whatever the stamps do."""
        if self._last is not None:
            sequence_id, stamp_ns = self._last
            step = (frame.stamp_ns - stamp_ns) / 1e9
            same = sequence_id == frame.sequence_id
            self._time += step if same and 0 < step <= LONGEST_STEP else USUAL_STEP
        self._last = (frame.sequence_id, frame.stamp_ns)


def _page(title: str) -> tuple[str, str]:
    """Return what stands before and after the frames."""
    room = resources.files('cooptrack_ros.report')
    style = '\n' + room.joinpath('page.css').read_text(encoding='utf-8')
    parts = [room.joinpath(name).read_text(encoding='utf-8') for name in SCRIPTS]
    script = "\n(() => {\n'use strict';\n" + '\n'.join(parts) + '})();\n'
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; "
        f"script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    page = room.joinpath('page.html').read_text(encoding='utf-8')
    before, marker, after = page.partition('<!-- frames -->\n')
    if not marker:
        raise ValueError('page.html has no place for the frames')
    before = (
        before.replace('{{policy}}', html.escape(policy))
        .replace('{{style}}', style)
        .replace('{{title}}', html.escape(title))
    )
    return before, after.replace('{{script}}', script)


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode('utf-8')).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
