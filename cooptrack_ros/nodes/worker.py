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

"""Nodes room: the thread that owns the model. Callbacks hand over and return at once."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar('T')


class LatestSlot(Generic[T]):
    """Room for one item; a newer one replaces an older one that nobody took, and is counted."""

    def __init__(self) -> None:
        """Start empty."""
        self.received = 0
        self.dropped = 0
        self._items: deque[T] = deque(maxlen=1)
        self._condition = threading.Condition()

    def put(self, item: T) -> None:
        """Leave an item."""
        with self._condition:
            self.received += 1
            self.dropped += len(self._items)
            self._items.append(item)
            self._condition.notify()

    def take(self, timeout_s: float) -> T | None:
        """Take the item; None when none came in time."""
        with self._condition:
            if not self._items:
                self._condition.wait(timeout_s)
            return self._items.popleft() if self._items else None

    def clear(self) -> None:
        """Throw away what waits; it counts as dropped."""
        with self._condition:
            self.dropped += len(self._items)
            self._items.clear()


class Worker(Generic[T]):
    """One thread that works off the newest item.

    ``work(item, current)`` runs in the thread; ``current()`` tells whether time has not jumped
    since the item was taken, so that results of the past are not published. ``forget()`` runs in
    the thread too, before the first item after a reset: whatever owns memory is used by one
    thread only.
    """

    def __init__(
        self,
        work: Callable[[T, Callable[[], bool]], None],
        forget: Callable[[], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        """Prepare; ``start`` starts.

        Args:
            work: What is done with an item.
            forget: Drops all memory.
            on_error: Told what ``work`` raised; the thread goes on.
        """
        self.slot: LatestSlot[T] = LatestSlot()
        self.done = 0
        self.failed = 0
        self.resets = 0
        self.durations_s: deque[float] = deque(maxlen=100)
        self._work = work
        self._forget = forget
        self._on_error = on_error
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def stopped(self) -> bool:
        """Whether the thread was asked to end; waits inside ``work`` look at it."""
        return self._stop.is_set()

    def start(self) -> None:
        """Start the thread; again after ``stop``. What it remembers is dropped first.

        Raises:
            RuntimeError: The thread before is still at work; two must not share a model.
        """
        if self._thread is not None and self._thread.is_alive():
            raise RuntimeError('the thread before has not ended')
        self._stop.clear()
        self.slot.clear()
        self._thread = threading.Thread(target=self._run, name='perception', daemon=True)
        self._thread.start()

    def offer(self, item: T) -> None:
        """Hand over the newest item."""
        self.slot.put(item)

    def reset(self) -> None:
        """Forget the past: the item that waits, and all memory before the next one."""
        self.resets += 1
        self.slot.clear()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """End the thread; return whether it ended in time."""
        self._stop.set()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        forgotten = -1 if self.done + self.failed else self.resets
        while not self.stopped:
            item = self.slot.take(0.1)
            if item is None:
                continue
            generation = self.resets
            started = time.perf_counter()
            try:
                if generation != forgotten:
                    forgotten = generation
                    self._forget()
                self._work(item, lambda g=generation: g == self.resets and not self.stopped)  # type: ignore[misc]
                self.done += 1
            except Exception as error:
                self.failed += 1
                self._on_error(error)
            self.durations_s.append(time.perf_counter() - started)
