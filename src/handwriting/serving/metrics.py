"""What Prometheus is told: latency, batches, queue, refusals, answers, errors, which model is in."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_IMAGES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The measures of one service, in a registry of its own.

    Attributes:
        content_type: of the text that `render` gives.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.seconds = Histogram(
            "handwriting_request_seconds",
            "Time from the first byte of a request to the last of its answer.",
            ["route", "status"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch = Histogram(
            "handwriting_batch_images",
            "Images that went through the model together.",
            buckets=_IMAGES,
            registry=self.registry,
        )
        self.queue = Gauge("handwriting_queue_images", "Images waiting for the model.", registry=self.registry)
        self.in_flight = Gauge("handwriting_requests_in_flight", "Requests being answered.", registry=self.registry)
        self.refused = Counter(
            "handwriting_refused_requests_total", "Requests refused, by status.", ["status"], registry=self.registry
        )
        self.answers = Counter(
            "handwriting_answers_total",
            "Pictures answered: accepted, rejected (no character) or unreadable.",
            ["outcome"],
            registry=self.registry,
        )
        self.errors = Counter(
            "handwriting_errors_total", "Requests that failed through no fault of the client.", registry=self.registry
        )
        self.corrections = Counter("handwriting_corrections_total", "Corrections stored.", registry=self.registry)
        self.reloads = Counter(
            "handwriting_model_loads_total", "Model versions put in, or refused.", ["outcome"], registry=self.registry
        )
        self.model = Gauge(
            "handwriting_model_info", "1 for the version in use.", ["model", "version"], registry=self.registry
        )

    def watch_queue(self, waiting: Callable[[], float]) -> None:
        """Ask ``waiting`` for the length of the queue at each scrape."""
        self.queue.set_function(waiting)

    def render(self) -> bytes:
        """The measures in Prometheus' text format."""
        return generate_latest(self.registry)
