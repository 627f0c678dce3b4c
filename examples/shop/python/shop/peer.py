"""Another service, called by its name on the network."""

import http.client
import json
import os
import time
from urllib.parse import urlsplit

from .server import Refusal, request_id

ATTEMPTS = 6
# One attempt: long enough for a busy machine, short enough to try another replica while the shopper waits.
SECONDS = 5


class Peer:
    """Calls it, and calls again where that does no harm: when asking, and when the call has an idempotency key."""

    def __init__(self, name):
        url = urlsplit(os.environ.get(f"{name.upper()}_URL", f"http://{name}:8000"))
        self.name, self.host, self.port = name, url.hostname, url.port or 80

    def get(self, path):
        return self._call("GET", path, None, None, ATTEMPTS)

    def put(self, path, body):
        return self._call("PUT", path, body, None, ATTEMPTS)

    def delete(self, path):
        return self._call("DELETE", path, None, None, ATTEMPTS)

    def post(self, path, body, key):
        return self._call("POST", path, body, key, ATTEMPTS)

    def _call(self, method, path, body, key, attempts):
        pause = 0.05
        for left in reversed(range(attempts)):
            try:
                status, answer = self._attempt(method, path, body, key)
                if status < 502 or left == 0:
                    break
            except (OSError, http.client.HTTPException) as error:
                if left == 0:
                    raise Refusal(503, f"{self.name} does not answer: {error}") from error
            time.sleep(pause)
            pause *= 2
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
        connection = http.client.HTTPConnection(self.host, self.port, timeout=SECONDS)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except ValueError as error:
            raise http.client.HTTPException(f"an answer that is no JSON: {error}") from error
        finally:
            connection.close()
