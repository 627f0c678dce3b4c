"""Another service, called by its name on the network."""

import http.client
import json
import os
import time
from urllib.parse import urlsplit

from .server import Refusal, request_id

# One attempt, and all of them: a replica that dies costs the shopper a moment, a restart of the database some seconds.
SECONDS_FOR_ONE = 5
SECONDS_FOR_ALL = 10
# The other side, or something that it needs, does not answer.
OUTAGE = (502, 503, 504)


class Peer:
    """Calls it, and calls again after an outage. No call here does harm when it arrives twice: it asks, it says how
    things shall be, or it has an idempotency key."""

    def __init__(self, name):
        url = urlsplit(os.environ.get(f"{name.upper()}_URL", f"http://{name}:8000"))
        self.name, self.host, self.port = name, url.hostname, url.port or 80

    def get(self, path):
        return self._call("GET", path)

    def put(self, path, body):
        return self._call("PUT", path, body)

    def delete(self, path):
        return self._call("DELETE", path)

    def post(self, path, body, key):
        return self._call("POST", path, body, key)

    def _call(self, method, path, body=None, key=None):
        pause, end = 0.05, time.monotonic() + SECONDS_FOR_ALL
        while True:
            try:
                status, answer = self._attempt(method, path, body, key)
            except (OSError, http.client.HTTPException) as error:
                status, answer = 503, {"error": f"{self.name} does not answer: {error}"}
            if status not in OUTAGE or time.monotonic() + pause > end:
                break
            time.sleep(pause)
            pause = min(2 * pause, 1)
        if status >= 400:
            raise Refusal(status, answer.get("error", f"{self.name} answered {status}"))
        return answer

    def _attempt(self, method, path, body, key):
        headers = {"X-Request-Id": request_id.get()}
        if key:
            headers["Idempotency-Key"] = key
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body)
        connection = http.client.HTTPConnection(self.host, self.port, timeout=SECONDS_FOR_ONE)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except ValueError as error:
            raise http.client.HTTPException(f"an answer that is no JSON: {error}") from error
        finally:
            connection.close()
