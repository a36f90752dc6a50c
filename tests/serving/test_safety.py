"""Who may come in, how much they may bring, and what they are told when they may not."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import re
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from handwriting.serving import ServiceError, Settings, Store, create_app
from handwriting.serving.pictures import Ask, is_large, prepare
from tests.serving.parts import Running, TestClient, files, free_port

KEY = "0123456789abcdef-a-key"
BLANK = np.zeros((28, 28), int).tolist()
INK = np.eye(28, dtype=int) * 255


def problem(response: httpx.Response, status: int) -> dict[str, object]:
    """The response as the problem document that it must be."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, object] = response.json()
    assert document["status"] == status
    detail = document["detail"]
    assert isinstance(detail, str)
    assert detail
    assert "\n" not in detail
    assert "Traceback" not in response.text
    assert "/src/" not in response.text
    return document


def delayed(work: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    def slow(*given: Any, **named: Any) -> Any:
        time.sleep(seconds)
        return work(*given, **named)

    return slow


def test_an_address_that_others_can_reach_needs_a_key_or_an_explicit_wish(settings: Settings) -> None:
    with pytest.raises(ServiceError, match="--api-key"):
        dataclasses.replace(settings, host="0.0.0.0")  # noqa: S104
    dataclasses.replace(settings, host="0.0.0.0", api_key=KEY)  # noqa: S104
    dataclasses.replace(settings, host="0.0.0.0", no_auth=True)  # noqa: S104
    for loopback in ("127.0.0.1", "::1", "localhost", "127.3.2.1"):
        dataclasses.replace(settings, host=loopback)
    with pytest.raises(ServiceError, match="shorter"):
        dataclasses.replace(settings, api_key="short")


def test_the_command_refuses_an_open_address_in_one_line() -> None:
    command = [sys.executable, "-m", "handwriting", "serve", "--host", "0.0.0.0", "--no-store"]  # noqa: S104
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("handwriting: 0.0.0.0 can be reached by others")
    assert done.stderr.count("\n") == 1


def test_without_the_key_nothing_but_the_page_and_health_is_answered(
    settings: Settings, digits: dict[str, bytes]
) -> None:
    guarded = dataclasses.replace(settings, api_key=KEY)
    with TestClient(create_app(guarded), base_url="https://elsewhere.example") as client:
        for path in ("/", "/page/page.js", "/v2/health/live", "/v2/health/ready", "/openapi.json", "/v1/service"):
            assert client.get(path).status_code == 200
        for path in ("/v1/models", "/metrics", "/v2", "/v1/corrections?session=aaaaaaaaaaaaaaaa", "/nowhere"):
            problem(client.get(path), 401)
        body = files(digits["1"])
        for wrong in ("", KEY[:-1], KEY + "x", "é", "Basic " + KEY):
            given = {"Authorization": f"Bearer {wrong}".encode("latin-1")}
            assert problem(client.post("/v1/predict", files=body, headers=given), 401)["title"] == "Unauthorized"
        for right in ({"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}):
            assert client.post("/v1/predict", files=body, headers=right).json()[0]["label"] == "1"


def test_other_web_sites_cannot_use_a_visitors_service(client: TestClient, digits: dict[str, bytes]) -> None:
    body = files(digits["1"])
    for header in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        problem(client.post("/v1/predict", files=body, headers=header), 403)
    own = {"Origin": "http://localhost:8000", "Sec-Fetch-Site": "same-origin"}
    response = client.post("/v1/predict", files=body, headers=own)
    assert response.status_code == 200
    assert "access-control-allow-origin" not in response.headers
    problem(client.get("/v1/models", headers={"Host": "evil.example"}), 421)  # a name rebound to 127.0.0.1


def test_every_response_carries_the_security_headers(client: TestClient) -> None:
    for path in ("/", "/page/page.css", "/docs", "/v1/models", "/metrics", "/nothing"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert re.fullmatch(r"[0-9a-f]{32}", headers["x-request-id"])


def test_the_page_has_no_inline_script_or_style_and_asks_nothing_of_other_servers(client: TestClient) -> None:
    for path in ("/", "/docs"):
        html = client.get(path).text
        assert not re.search(r"<script(?![^>]*\bsrc=)", html)
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", html)
        names = re.findall(r'(?:src|href)="(/page/[^"]+)"', html)
        assert names
        for name in names:
            text = client.get(name).text
            assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
            assert "https://" not in text


def test_too_much_is_refused_before_it_is_read(settings: Settings, digits: dict[str, bytes]) -> None:
    small = dataclasses.replace(settings, max_body=20_000)
    with TestClient(create_app(small), base_url="http://localhost") as client:
        problem(client.post("/v1/predict", content=b"x" * 20_001, headers={"Content-Type": "application/json"}), 413)
        chunks = (b"x" * 1000 for _ in range(30))  # no Content-Length: counted as it comes
        problem(client.post("/v1/predict", content=chunks, headers={"Content-Type": "application/json"}), 413)
        assert client.post("/v1/predict", files=files(digits["1"])).status_code == 200


def test_at_most_64_pictures_a_request(client: TestClient, digits: dict[str, bytes]) -> None:
    assert len(client.post("/v1/predict", json={"images": [INK.tolist()] * 64}).json()) == 64
    assert problem(client.post("/v1/predict", json={"images": [BLANK] * 65}), 413)["errors"]
    problem(client.post("/v1/predict", files=files(*[digits["1"]] * 65)), 413)
    tensor = {"name": "images", "datatype": "UINT8", "shape": [65, 28, 28], "data": [0] * (65 * 784)}
    assert "error" in problem(client.post("/v2/models/digits/infer", json={"inputs": [tensor]}), 413)


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises width x height pixels, in a few kilobytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = zlib.compress(b"\0" * 2_000_000)
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused_by_its_header(client: TestClient, digits: dict[str, bytes]) -> None:
    began = time.perf_counter()
    rows = client.post("/v1/predict", files=files(bomb(30_000, 30_000), digits["1"])).json()
    assert "pixels" in rows[0]["error"]
    assert rows[1]["label"] == "1"
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize(
    ("path", "kind", "body", "status", "field"),
    [
        ("/v1/predict", "text/plain", b"7", 415, None),
        ("/v1/predict", "image/png", b"\x89PNG", 415, None),
        ("/v1/predict", "multipart/form-data; boundary=x", b"nonsense", 400, None),
        ("/v1/predict", "multipart/form-data", b"", 400, None),
        ("/v1/predict", "application/json", b"{", 422, "body"),
        ("/v1/predict", "application/json", b"[" * 100_000, 422, "body"),
        ("/v1/predict", "application/json", b"[]", 422, "body"),
        ("/v1/predict", "application/json", b"{}", 422, "images"),
        ("/v1/predict", "application/json", b'{"images": []}', 422, "images"),
        ("/v1/predict", "application/json", b'{"images": [7], "url": "file:///etc/passwd"}', 422, "url"),
        ("/v1/predict", "application/json", b'{"images": ["/etc/passwd"]}', 422, "images[0]"),
        ("/v1/predict", "application/json", b'{"images": [[[1, 2], [3]]]}', 422, "images[0]"),
        ("/v1/predict", "application/json", b'{"images": ["\\ud800"]}', 422, "body"),
        ("/v1/predict", "application/json", b'{"images": [1' + b"0" * 5000 + b"]}", 422, "body"),
        ("/v1/predict?top=0", "application/json", json.dumps({"images": [BLANK]}).encode(), 422, "top"),
        ("/v1/predict?seen=1", "application/json", json.dumps({"images": [BLANK]}).encode(), 422, "seen"),
        ("/v1/predict?model=none", "application/json", json.dumps({"images": [BLANK]}).encode(), 404, None),
        ("/v1/corrections", "application/json", b'{"label": "7"}', 422, "image"),
        ("/v2/models/none/infer", "application/json", b"{}", 404, None),
        ("/v2/models/digits/versions/1/infer", "application/json", b"{}", 404, None),
        ("/v2/models/digits/infer", "application/json", b'{"inputs": 7}', 422, "inputs"),
    ],
)
def test_bad_input_is_told_by_status_and_field(
    client: TestClient, path: str, kind: str, body: bytes, status: int, field: str | None
) -> None:
    document = problem(client.post(path, content=body, headers={"Content-Type": kind}), status)
    errors = document.get("errors", [])
    assert isinstance(errors, list)
    assert (errors[0]["field"] if errors else None) == field


@pytest.mark.parametrize(
    "image",
    [
        [[300] * 28] * 28,
        [[-1] * 28] * 28,
        [[0.5] * 28] * 28,
        [["1"] * 28] * 28,
        [[True] * 28] * 28,
        [[2**70] * 28] * 28,
        [[None] * 28] * 28,
        [[0] * 28] * 27,
    ],
)
def test_an_array_that_is_no_28x28_of_levels_is_refused(client: TestClient, image: object) -> None:
    problem(client.post("/v1/predict", json={"images": [image]}), 422)
    new = {"image": image, "label": "7", "session": "a" * 20, "consent": True}
    problem(client.post("/v1/corrections", json=new), 422)


def test_nothing_compressed_is_unpacked(client: TestClient) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    problem(client.post("/v1/predict", content=zlib.compress(b"0" * 1000), headers=headers), 415)


def test_unknown_addresses_and_methods_are_problems_too(client: TestClient) -> None:
    problem(client.get("/nothing"), 404)
    problem(client.get("/page/../settings.py"), 404)
    problem(client.get("/page/%2e%2e%2fsettings.py"), 404)
    problem(client.get("/v1/models/"), 404)  # and not sent elsewhere, to an address made from the request
    problem(client.delete("/v1/models"), 405)
    endless = problem(client.post(f"/v1/predict?model={'m' * 5000}", files=files(b"x")), 404)
    assert len(str(endless["detail"])) < 300


def test_a_request_id_is_kept_when_it_is_one_and_made_when_it_is_not(client: TestClient) -> None:
    assert client.get("/v2", headers={"X-Request-ID": "abc-1.2"}).headers["x-request-id"] == "abc-1.2"
    assert len(client.get("/v2", headers={"X-Request-ID": "a b\t"}).headers["x-request-id"]) == 32


def test_a_failure_of_ours_is_logged_with_the_id_that_the_client_sees(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, digits: dict[str, bytes]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("handwriting.serving.models.prepare", fail)
    with TestClient(create_app(settings), base_url="http://localhost") as client, caplog.at_level(logging.ERROR):
        response = client.post("/v1/predict", files=files(digits["1"]))
        document = problem(response, 500)
        assert "secret" not in response.text
        assert document["request_id"] == response.headers["x-request-id"]
        assert "secret detail" in caplog.text
        assert "handwriting_errors_total 1.0" in client.get("/metrics").text


def test_slow_answers_end_at_the_time_limit(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, digits: dict[str, bytes]
) -> None:
    monkeypatch.setattr("handwriting.serving.models.prepare", delayed(prepare, 1))
    hasty = dataclasses.replace(settings, time_limit=0.3)
    with TestClient(create_app(hasty), base_url="http://localhost") as client:
        problem(client.post("/v1/predict", files=files(digits["1"])), 504)


def test_a_slow_upload_ends_at_the_time_limit_and_holds_nobody_up(digits: dict[str, bytes]) -> None:
    import socket

    service = Running("--time-limit", "1")
    try:
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as slow:
            head = "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            slow.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
            assert httpx.post(f"{service.url}/v1/predict", files=files(digits["1"])).json()[0]["label"] == "1"
            assert slow.recv(100).startswith(b"HTTP/1.1 408")
    finally:
        assert service.stop() == 0


def test_a_head_that_never_ends_is_cut_off_by_time_and_by_size() -> None:
    import socket

    service = Running("--time-limit", "1")
    try:
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as silent:
            began = time.perf_counter()
            silent.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: loc")
            assert silent.recv(100) == b""
            assert 0.5 < time.perf_counter() - began < 9
        with socket.create_connection(("127.0.0.1", service.port), timeout=10) as again:  # after a first request, too
            again.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = again.recv(10_000)
            while not answer.endswith(b'{"live":true}'):  # head and body may come in two pieces
                more = again.recv(10_000)
                assert more, answer
                answer += more
            assert answer.startswith(b"HTTP/1.1 200")
            again.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: loc")
            assert again.recv(100) == b""
        endless = socket.create_connection(("127.0.0.1", service.port), timeout=10)
        with endless, pytest.raises(ConnectionError):
            for _ in range(10_000):
                endless.sendall(b"a" * 10_000)
        large = httpx.post(f"{service.url}/v1/predict", json={"images": [INK.tolist()] * 64})
        assert len(large.json()) == 64  # a long body is none of that
    finally:
        assert service.stop() == 0


def test_a_store_that_hangs_ends_at_the_time_limit_too(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "count", delayed(lambda *_, **__: 0, 1.5))
    hasty = dataclasses.replace(settings, time_limit=0.2)
    with TestClient(create_app(hasty), base_url="http://localhost") as client:
        began = time.perf_counter()
        problem(client.get(f"/v1/corrections?session={'s' * 20}"), 504)
        assert time.perf_counter() - began < 1.2


def test_a_full_store_takes_no_more(settings: Settings) -> None:
    small = dataclasses.replace(settings, max_stored=2)
    new = {"image": INK.tolist(), "label": "1", "session": "s" * 20, "consent": True}
    with TestClient(create_app(small), base_url="http://localhost") as client:
        first = client.post("/v1/corrections", json=new).json()
        assert client.post("/v1/corrections", json=new).status_code == 201
        problem(client.post("/v1/corrections", json=new), 507)
        client.delete(f"/v1/corrections/{first['id']}?session={'s' * 20}")
        assert client.post("/v1/corrections", json=new).status_code == 201


def test_large_pictures_go_one_at_a_time_and_small_ones_pass_them(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, digits: dict[str, bytes]
) -> None:
    lock, at_once, most = threading.Lock(), 0, 0

    def watched(ask: Ask, limit: int) -> Ask:
        nonlocal at_once, most
        large = is_large(ask)
        with lock:
            at_once += large
            most = max(most, at_once)
        time.sleep(0.5 * large)
        with lock:
            at_once -= large
        return prepare(ask, limit)

    buffer = io.BytesIO()
    Image.new("L", (5000, 4000), 255).save(buffer, "PNG")
    monkeypatch.setattr("handwriting.serving.models.prepare", watched)
    with TestClient(create_app(settings), base_url="http://localhost") as client, ThreadPoolExecutor(2) as pool:
        slow = pool.submit(client.post, "/v1/predict", files=files(*[buffer.getvalue()] * 3))
        time.sleep(0.1)
        assert client.post("/v1/predict", files=files(digits["1"])).json()[0]["label"] == "1"
        assert not slow.done()
        assert [row["label"] for row in slow.result().json()] == [None] * 3
    assert most == 1


def test_a_jpeg_of_thousands_of_scans_is_refused(client: TestClient) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.kron(np.eye(40, dtype=np.uint8) * 255, np.ones((8, 8), np.uint8))).save(
        buffer, "JPEG", progressive=True
    )
    content = buffer.getvalue()
    scan = content[content.rindex(b"\xff\xda") : -2]
    assert client.post("/v1/predict", files=files(content)).status_code == 200
    refused = problem(client.post("/v1/predict", files=files(content[:-2] + scan * 500 + b"\xff\xd9")), 422)
    assert "scans" in str(refused["detail"])


def test_a_full_queue_refuses_a_request_before_any_of_its_pictures_is_opened(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, digits: dict[str, bytes]
) -> None:
    opened = Counter[str]()

    def slow(ask: Ask, limit: int) -> Ask:
        opened[ask.name.partition("-")[0]] += 1
        time.sleep(0.2)
        return prepare(ask, limit)

    monkeypatch.setattr("handwriting.serving.models.prepare", slow)

    def named(name: str, count: int) -> list[tuple[str, tuple[str, bytes, str]]]:
        return [("files", (f"{name}-{index}", digits["1"], "image/png")) for index in range(count)]

    narrow = dataclasses.replace(settings, max_queue=4)
    with TestClient(create_app(narrow), base_url="http://localhost") as client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/v1/predict", files=named("first", 3))
        time.sleep(0.1)
        problem(client.post("/v1/predict", files=named("second", 3)), 429)
        assert first.result().status_code == 200
    assert opened == {"first": 3}


def test_a_full_queue_answers_429_with_retry_after(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, digits: dict[str, bytes]
) -> None:
    monkeypatch.setattr("handwriting.serving.models.prepare", delayed(prepare, 0.1))
    narrow = dataclasses.replace(settings, max_queue=4)
    with TestClient(create_app(narrow), base_url="http://localhost") as client, ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(client.post, "/v1/predict", files=files(digits["1"], digits["2"])) for _ in range(16)]
        responses = [one.result() for one in asked]
    statuses = {response.status_code for response in responses}
    assert statuses == {200, 429}
    refused = next(response for response in responses if response.status_code == 429)
    problem(refused, 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert all(len(response.json()) == 2 for response in responses if response.status_code == 200)


def test_the_log_is_one_json_object_a_line_without_what_was_sent(digits: dict[str, bytes]) -> None:
    service = Running("--api-key", KEY)
    headers = {"X-Request-ID": "trace-me", "Authorization": f"Bearer {KEY}"}
    httpx.post(f"{service.url}/v1/predict?top=2", files=files(digits["1"]), headers=headers)
    assert service.stop() == 0
    [event] = [event for event in service.events() if event.get("request_id") == "trace-me"]
    assert (event["event"], event["method"], event["path"], event["status"]) == ("request", "POST", "/v1/predict", 200)
    assert event["ms"] > 0
    assert KEY not in "".join(service.log)


def test_a_port_that_is_taken_is_told_in_one_line() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "handwriting", "serve", "--port", port, "--no-store"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "cannot listen on 127.0.0.1" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_metrics_count_what_happened(client: TestClient, digits: dict[str, bytes]) -> None:
    client.post("/v1/predict", files=files(digits["1"], b"broken"))
    client.get("/somewhere/of/my/own")
    text = client.get("/metrics").text
    assert 'handwriting_request_seconds_count{route="/v1/predict",status="200"} 1.0' in text
    assert 'handwriting_request_seconds_count{route="other",status="404"} 1.0' in text
    assert "handwriting_batch_images_count 1.0" in text
    assert 'handwriting_answers_total{outcome="unreadable"} 1.0' in text
    assert 'handwriting_refused_requests_total{status="404"} 1.0' in text
    assert re.search(r'handwriting_model_info\{model="digits",version="[^"]+"\} 1\.0', text)
    assert "handwriting_queue_images 0.0" in text


def test_a_photograph_on_its_side_is_answered_upright(client: TestClient, digits: dict[str, bytes]) -> None:
    with Image.open(io.BytesIO(digits["7"])) as upright:
        turned = upright.convert("RGB").transpose(Image.Transpose.ROTATE_90)
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me 90 degrees clockwise to see me upright"
    turned.save(buffer, "JPEG", exif=exif, quality=95)
    assert client.post("/v1/predict", files=files(buffer.getvalue())).json()[0]["label"] == "7"
