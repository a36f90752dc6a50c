"""`Replayed`: a training's step, recorded once as a CUDA graph and from then on replayed with other numbers.

A GPU is done with a small network's step before Python has launched its some hundred kernels one by one; a graph
launches all of them with one call.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

Results = tuple[Tensor, ...]
WARM_UP = 3  # steps of a kind before it is recorded: libraries choose their kernels and take their memory in them


def replayable(device: torch.device) -> bool:
    """Whether steps on this device can be recorded."""
    return device.type == "cuda"


class Replayed:
    """A step that is called as itself, and replayed where that does the same in less time.

    The step must read and write the same tensors at every call, the batch apart, wait for no number from the device,
    and draw from ``generator`` or torch's own. Steps that differ in anything but numbers are of another ``kind``: each
    kind is run `WARM_UP` times and then recorded. A step that cannot be recorded goes on as it is, with a warning.
    """

    def __init__(self, step: Callable[[Tensor, float], Results], generator: torch.Generator) -> None:
        self._step, self._generator = step, generator
        self._runs: Counter[Hashable] = Counter()
        self._recorded: dict[Hashable, tuple[Tensor, Callable[[], Results]]] = {}

    def __call__(self, kind: Hashable, batch: Tensor, done: float) -> Results:
        """A batch of this kind (indices int64 (N,), N the kind's), and the share of the training done -> the results.

        The results are overwritten by the next call of the same kind.
        """
        if kind not in self._recorded:
            self._runs[kind] += 1
            if self._runs[kind] <= WARM_UP:
                return _aside(lambda: self._step(batch, done), batch.device)
            self._recorded[kind] = self._record(batch.clone(), done)
        place, replay = self._recorded[kind]
        place.copy_(batch)
        return replay()

    def _record(self, place: Tensor, done: float) -> tuple[Tensor, Callable[[], Results]]:
        """Where batches are put, and what then does the step."""

        def step() -> Results:
            return self._step(place, done)

        if place.device.type != "cuda":  # nothing to record with: the same step on the same tensors
            return place, step
        try:
            graph = torch.cuda.CUDAGraph()
            graph.register_generator_state(self._generator)
            with torch.cuda.graph(graph):
                results = step()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            warnings.warn(f"steps could not be recorded, and take longer: {error}", stacklevel=2)
            return place, step

        def replay() -> Results:
            graph.replay()
            return results

        return place, replay


def _aside(step: Callable[[], Results], device: torch.device) -> Results:
    """Run a step; on a GPU in a stream of its own, as steps must have been before they are recorded."""
    if device.type != "cuda":
        return step()
    main, side = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    side.wait_stream(main)
    with torch.cuda.stream(side):
        results = step()
    main.wait_stream(side)
    return results
