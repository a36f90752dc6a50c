"""The service under load, beside LitServe serving the same model; and what it keeps when it is stopped or killed.

    python benchmarks/serve.py            # about 6 minutes: rounds of 10 s, 60 s of load, 2 x 20 kills
    python benchmarks/serve.py --quick    # about a minute: does it run?

Competitors take turns, each in a fresh process, with the client (benchmarks/serve_load.py) on the same machine; the
medians of the rounds are given, with the slowest and fastest. Needs PostgreSQL and the extras `serve` and `test`, and
`pip install litserve`.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from tables import markdown, write

from handwriting.classifier import locate
from handwriting.data import load as load_data
from handwriting.serving import Store

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.serving.parts import free_port  # noqa: E402
from tests.serving.postgres import postgres_server  # noqa: E402

CONNECTIONS = 32
# name -> (max_batch, seconds to wait for a batch, LitServe's ZeroMQ queue); the best of them is compared with
PEERS = {
    "LitServe, no batching": (1, 0.0, 0),
    "LitServe, batches of 32": (32, 0.002, 0),
    "LitServe, batches of 32, fast queue": (32, 0.002, 1),
}


@contextmanager
def running(command: list[str], port: int, ready: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server in its own process, up when ``ready`` answers; killed with its children at the end if still there."""
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, *command], stdout=file, stderr=file)
    try:
        for _ in range(600):
            try:
                if httpx.get(f"http://127.0.0.1:{port}{ready}").status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            if process.poll() is not None:
                raise SystemExit(log.read_text())
            time.sleep(0.05)
        yield process
    finally:
        if process.poll() is None:
            family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
            for member in family:
                member.kill()
            process.wait()


def ours(folder: Path, port: int, *options: str) -> list[str]:
    """The command of the service, its state thrown away."""
    return ["-m", "handwriting", "serve", "--port", str(port), "--state", str(folder / "state"), *options]


def client(port: int, path: str, seconds: float, body: Path, connections: int = CONNECTIONS) -> dict[str, Any]:
    """What serve_load.py measured."""
    command = [sys.executable, str(ROOT / "benchmarks/serve_load.py"), str(port), path, str(connections), str(seconds)]
    done = subprocess.run([*command, str(body), "application/json"], check=True, capture_output=True)
    return dict(json.loads(done.stdout))


def figures(result: dict[str, Any]) -> dict[str, float]:
    """Requests/s and latencies in ms of one round."""
    times = np.array(result["seconds"]) * 1000
    return {
        "rps": len(times) / result["took"],
        "p50": float(np.percentile(times, 50)),
        "p99": float(np.percentile(times, 99)),
        "failed": sum(count for outcome, count in result["outcomes"].items() if outcome != "200"),
    }


def compare(folder: Path, body: Path, rounds: int, seconds: float) -> dict[str, list[dict[str, float]]]:
    """Every competitor's rounds, in turns."""
    table: dict[str, list[dict[str, float]]] = {name: [] for name in ("handwriting serve", *PEERS)}
    model = str(locate("digits"))
    for _ in range(rounds):
        for name, measured in table.items():
            port = free_port()
            if name in PEERS:
                settings = [str(value) for value in PEERS[name]]
                command, ready, path = (
                    [str(ROOT / "benchmarks/serve_peer.py"), model, str(port), *settings],
                    "/health",
                    "/predict",
                )
            else:
                command, ready, path = ours(folder, port, "--no-store"), "/v2/health/ready", "/v1/predict"
            with running(command, port, ready, folder / "log"):
                client(port, path, min(2.0, seconds), body)  # warm-up
                measured.append(figures(client(port, path, seconds, body)))
            last = measured[-1]
            print(f"{name:36} {last['rps']:7.0f}/s  p50 {last['p50']:6.1f}  p99 {last['p99']:6.1f} ms")
    return table


def endurance(folder: Path, body: Path, seconds: float) -> dict[str, Any]:
    """A minute of load: requests, failures, and the growth of memory after warm-up."""
    port = free_port()
    with running(ours(folder, port, "--no-store"), port, "/v2/health/ready", folder / "log") as process:
        client(port, "/v1/predict", min(10.0, seconds), body)
        before = psutil.Process(process.pid).memory_info().rss
        result = client(port, "/v1/predict", seconds, body)
        after = psutil.Process(process.pid).memory_info().rss
    return {
        "seconds": seconds,
        "requests": len(result["seconds"]),
        "failed": figures(result)["failed"],
        "rss_before_mb": before / 1e6,
        "rss_after_mb": after / 1e6,
        "growth_percent": 100 * (after / before - 1),
    }


def terminate(folder: Path, body: Path, times: int) -> dict[str, Any]:
    """SIGTERM under load: of the requests that the log says were taken in, how many got no answer."""
    taken = lost = 0
    codes = []
    for _ in range(times):
        port, log = free_port(), folder / "log"
        with running(ours(folder, port, "--no-store"), port, "/v2/health/ready", log) as process:
            threading.Timer(1.5, process.send_signal, [signal.SIGTERM]).start()
            result = client(port, "/v1/predict", 4, body)
            codes.append(process.wait(timeout=60))
        events = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        handled = {
            event["request_id"] for event in events if event["event"] == "request" and event["path"] == "/v1/predict"
        }
        taken += len(handled)
        lost += len(handled - set(result["ids"]))
    return {"times": times, "taken_in": taken, "lost": lost, "exit_codes": codes}


def kills(folder: Path, url: str, times: int, seed: int = 3) -> dict[str, Any]:
    """SIGKILL while corrections are written through the service: every acknowledged one must be in the store."""
    rng = random.Random(seed)
    acknowledged: set[str] = set()
    image = load_data("mnist-sample").train.images[0].tolist()
    for number in range(times):
        port = free_port()
        with running(ours(folder, port, "--store", url), port, "/v2/health/ready", folder / "log") as process:
            threads = [threading.Thread(target=_write, args=(port, image, number, acknowledged)) for _ in range(4)]
            for thread in threads:
                thread.start()
            before = len(acknowledged)
            for _ in range(600):  # the kill falls among writes, not before the first
                if len(acknowledged) > before:
                    break
                time.sleep(0.05)
            time.sleep(rng.uniform(0, 0.7))
            process.send_signal(signal.SIGKILL)
            process.wait()
            for thread in threads:
                thread.join()
    with Store(url) as store:
        kept = {correction.id for correction in store}
    return {"kills": times, "acknowledged": len(acknowledged), "missing": len(acknowledged - kept), "kept": len(kept)}


def _write(port: int, image: list[list[int]], number: int, acknowledged: set[str]) -> None:
    new = {"image": image, "label": "7", "session": f"benchmark-session-{number}", "consent": True}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as session:
        while True:
            try:
                response = session.post("/v1/corrections", json=new)
            except httpx.HTTPError:
                return
            if response.status_code == 201:
                acknowledged.add(response.json()["id"])


def summary(table: dict[str, list[dict[str, float]]]) -> tuple[str, dict[str, float]]:
    """The rounds -> a Markdown table and the ratios to the best peer."""
    middle = {
        name: {key: statistics.median(one[key] for one in rounds) for key in ("rps", "p50", "p99")}
        for name, rounds in table.items()
    }
    rows = []
    for name, rounds in table.items():
        spread = f"{min(one['rps'] for one in rounds):.0f} to {max(one['rps'] for one in rounds):.0f}"
        failed = sum(one["failed"] for one in rounds)
        rows.append(
            [
                name,
                f"{middle[name]['rps']:.0f}",
                spread,
                f"{middle[name]['p50']:.1f}",
                f"{middle[name]['p99']:.1f}",
                f"{failed:.0f}",
            ]
        )
    best = max(PEERS, key=lambda name: middle[name]["rps"])
    mine = middle["handwriting serve"]
    ratios = {"rps": mine["rps"] / middle[best]["rps"], "p99": mine["p99"] / middle[best]["p99"]}
    header = ["server", "requests/s", "slowest to fastest round", "p50 ms", "p99 ms", "failed"]
    against = f"{ratios['rps']:.2f} x the requests/s, {ratios['p99']:.2f} x the p99"
    text = f"{markdown(header, rows)}\nAgainst the best of LitServe's rows ({best}): {against}.\n"
    return text, ratios


def main() -> None:
    """Measure, print, write docs/results/serve.md and .json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small numbers; writes to benchmarks/out")
    quick = parser.parse_args().quick
    rounds, seconds, load_seconds, stops, kill_count = (1, 2.0, 4.0, 1, 2) if quick else (3, 10.0, 60.0, 5, 20)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        body = folder / "body.json"
        body.write_text(json.dumps({"images": [load_data("mnist-sample").train.images[0].tolist()]}))
        table = compare(folder, body, rounds, seconds)
        lasting = endurance(folder, body, load_seconds)
        print(lasting)
        stopped = terminate(folder, body, stops)
        print(stopped)
        killed = {"SQLite": kills(folder, f"sqlite:///{folder / 'kills.sqlite3'}", kill_count)}
        with postgres_server() as url:
            killed["PostgreSQL"] = kills(folder, url, kill_count)
        print(killed)
    text, ratios = summary(table)
    text = (
        f"{CONNECTIONS} connections, one 28x28 image a request as JSON, the same model file and thread count, the "
        f"client on the same machine; medians of {rounds} rounds of {seconds:.0f} s, in turns, each a fresh "
        f"process.\n\n{text}\n"
        f"**{load_seconds:.0f} s of load**: {lasting['requests']} requests, {lasting['failed']:.0f} failed; memory "
        f"{lasting['rss_before_mb']:.1f} MB after warm-up, {lasting['rss_after_mb']:.1f} MB at the end "
        f"({lasting['growth_percent']:+.1f}%).\n\n"
        f"**SIGTERM under load**, {stops} times: {stopped['taken_in']} requests taken in, {stopped['lost']} of them "
        f"without an answer; exit status {', '.join(map(str, stopped['exit_codes']))}.\n\n"
        f"**SIGKILL while corrections are written**, through the service, four writers:\n\n"
        + markdown(
            ["store", "kills", "acknowledged", "missing afterwards"],
            [[store, one["kills"], one["acknowledged"], one["missing"]] for store, one in killed.items()],
        )
    )
    found = {"comparison": table, "ratios": ratios, "endurance": lasting, "sigterm": stopped, "sigkill": killed}
    write("serve", "The service under load", text, found, *([ROOT / "benchmarks/out"] if quick else []))
    print(text)


if __name__ == "__main__":
    main()
