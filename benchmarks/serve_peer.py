"""LitServe serving the same model file, as its documentation shows; run by benchmarks/serve.py in its own process.

    python benchmarks/serve_peer.py MODEL PORT MAX_BATCH TIMEOUT FAST

The work is the same as the service's: a JSON body with one 28x28 array -> scores of the batch -> the same JSON answer,
by the same `Classifier` with one thread.
"""

from __future__ import annotations

import sys
from typing import Any

import litserve
import numpy as np

from handwriting.classifier import Classifier, Prediction


class Digits(litserve.LitAPI):  # type: ignore[misc]
    """decode -> (batch) -> predict -> (unbatch) -> encode."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's signature
        """Load the model, in the worker."""
        self.classifier = Classifier(sys.argv[1], threads=1)

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # an annotation would name a query parameter
        """One JSON body -> uint8 (28, 28)."""
        return np.array(request["images"][0], np.uint8)

    def predict(self, images: Any) -> Any:
        """A batch (N, 28, 28), or one image where batching is off -> predictions."""
        stack = np.asarray(images) if np.ndim(images) == 3 else np.asarray(images)[None]
        scores = self.classifier.scores(stack)
        answers = [
            self.classifier.answer(probabilities, float(character), 3, ())
            for probabilities, character in zip(scores.probabilities, scores.character, strict=True)
        ]
        return answers if np.ndim(images) == 3 else answers[0]

    def batch(self, inputs: list[Any]) -> Any:
        """Images of several requests -> one array."""
        return np.stack(inputs)

    def unbatch(self, output: Any) -> Any:
        """The answers of a batch, one a request."""
        return output

    def encode_response(self, output: Prediction) -> list[dict[str, Any]]:
        """The list that the service gives too."""
        return [output.as_json("images[0]")]


if __name__ == "__main__":
    port, most, timeout, fast = int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), sys.argv[5] == "1"
    api = Digits(max_batch_size=most, batch_timeout=timeout)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, fast_queue=fast)
    server.run(host="127.0.0.1", port=port, num_api_servers=1, log_level="warning", generate_client_file=False)
