"""`serve` under the load of several clients that each wait for an answer before they ask again."""

import http.client
import json
import random
import socket
import statistics
import subprocess
import threading
import time

from words import WORDS

DOCUMENTS, TOKENS = 5, 100


def body(draw):
    text = lambda count: " ".join(draw.choice(WORDS) for _ in range(count))
    return json.dumps({"query": text(12), "documents": [text(TOKENS) for _ in range(DOCUMENTS)]})


def ask(port, content):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", "/v1/rerank", content, {"content-type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200 or len(json.loads(text)["results"]) != DOCUMENTS:
        raise RuntimeError(f"the server answered {answer.status}: {text[:200]}")


def load(port, count, seconds):
    """Requests a second and their times, of `count` clients."""
    times, errors, until = [], [], time.monotonic() + seconds

    def client(number):
        # No query is asked twice: neither scores nor prefixes are known.
        draw = random.Random(f"{count} {number}")
        try:
            while time.monotonic() < until:
                content, started = body(draw), time.monotonic()
                ask(port, content)
                times.append(time.monotonic() - started)
        except (OSError, RuntimeError, ValueError) as error:
            errors.append(str(error))

    started = time.monotonic()
    threads = [threading.Thread(target=client, args=(n,)) for n in range(count)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    took = time.monotonic() - started
    if errors:
        raise RuntimeError(errors[0])
    quantiles = statistics.quantiles(times, n=20, method="inclusive") if len(times) > 1 else times * 19
    milliseconds = {"p50_ms": 1000 * statistics.median(times), "p95_ms": 1000 * quantiles[18]}
    return {"clients": count, "requests": len(times), "requests_per_second": len(times) / took, **milliseconds}


def clients(binary, model, device, counts, seconds):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [binary, "serve", "--port", port, "--model", model, "--device", device, "--quiet"]
    server = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                ask(port, body(random.Random("ready?")))
                break
            except (OSError, RuntimeError, http.client.HTTPException):
                if server.poll() is not None:
                    raise RuntimeError(f"the server ended with {server.returncode}") from None
                time.sleep(0.5)
        else:
            raise RuntimeError("the server was not ready after five minutes")
        return [load(port, count, seconds) for count in counts]
    finally:
        server.terminate()
        server.wait(30)
