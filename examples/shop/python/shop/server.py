"""A small HTTP service: routes, JSON, one line of log for each request, and an orderly stop."""

import contextvars
import json
import os
import re
import signal
import sys
import threading
import time
import uuid
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

LONGEST_BODY = 64 * 1024

# The request that this thread answers: calls to other services carry its id on.
request_id = contextvars.ContextVar("request_id", default="-")


class Refusal(Exception):
    """An answer other than success, raised from anywhere in a handler."""

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status, self.reason = status, reason


class Answer:
    """Status, body and further headers; a body that is no text is sent as JSON."""

    def __init__(self, status, body="", kind="text/html; charset=utf-8", **headers):
        if not isinstance(body, str):
            body, kind = json.dumps(body, default=str), "application/json"
        self.status, self.body, self.headers = status, body.encode(), {"Content-Type": kind}
        self.headers.update({name.replace("_", "-"): value for name, value in headers.items()})


class Request:
    """What a handler may ask of a request."""

    def __init__(self, headers, body):
        self.headers, self.body = headers, body

    def json(self):
        try:
            value = json.loads(self.body)
        except ValueError as error:
            raise Refusal(400, f"the body is no JSON: {error}") from error
        if not isinstance(value, dict):
            raise Refusal(400, "the body is no JSON object")
        return value

    def form(self):
        return dict(parse_qsl(self.body.decode("utf-8", "replace")))

    def cookie(self, name):
        morsel = SimpleCookie(self.headers.get("Cookie", "")).get(name)
        return morsel.value if morsel else None

    def idempotency_key(self):
        """The caller's name for what it wants: the same name twice is one wish, not two."""
        key = self.headers.get("Idempotency-Key", "")
        if not re.fullmatch(r"[\w-]{8,64}", key):
            raise Refusal(400, "the header Idempotency-Key is missing, or not 8 to 64 letters, digits and dashes")
        return key


class Service:
    """A set of routes.

    `ready` raises while the service cannot do its work. `outages` are the exceptions that say so of something that the
    service needs: the caller is told to come again.
    """

    def __init__(self, name, ready=lambda: None, outages=()):
        self.name, self.ready, self.outages, self.routes = name, ready, outages, []
        self.version = os.environ.get("VERSION", "1")
        self.route("GET", "/health")(self._health)

    def route(self, method, path):
        """Registers a handler; `{name}` in the path becomes an argument of it."""
        pattern = re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[\\w-]{1,64})", path))

        def register(handler):
            self.routes.append((method, pattern, handler))
            return handler

        return register

    def answer(self, method, path, request):
        allowed = False
        for known, pattern, handler in self.routes:
            if match := pattern.fullmatch(path):
                if known == method:
                    result = handler(request, **match.groupdict())
                    return result if isinstance(result, Answer) else Answer(200, result)
                allowed = True
        raise Refusal(405 if allowed else 404, f"no {method} {path} here")

    def run(self, port=8000):
        """Serves until SIGTERM; then takes no more connections and ends when all requests are answered."""
        server = Server(("", port), _handler_of(self))

        def stop(*_):
            # shutdown() waits for the loop that this very thread runs.
            threading.Thread(target=server.shutdown).start()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        self.log(event="started", port=port)
        server.serve_forever(poll_interval=0.05)
        server.answer_waiting()
        server.server_close()
        self.log(event="stopped")

    def log(self, **facts):
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03}Z"
        line = {"time": stamp, "service": self.name, "version": self.version, **facts}
        # One write for a whole line: lines of two threads must not mix.
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    def _health(self, _request):
        try:
            self.ready()
        except Exception as error:
            raise Refusal(503, f"not ready: {described(error)}") from error
        return {"status": "ready", "version": self.version}


class Server(ThreadingHTTPServer):
    """One thread for each connection."""

    # Connections wait in the kernel while threads start; the default of 5 would turn a burst away.
    request_queue_size = 512
    # server_close() waits for them.
    daemon_threads = False
    idle = False

    def answer_waiting(self):
        """Takes the connections that the kernel had already accepted when the loop ended."""
        self.timeout = 0
        while not self.idle:
            self.handle_request()

    def handle_timeout(self):
        self.idle = True

    def handle_error(self, request, client_address):
        """A client that has gone away is one line, not a stack trace."""
        print(f"{client_address[0]}: {sys.exc_info()[1]!r}", flush=True)


def described(error):
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _handler_of(service):
    class Handler(BaseHTTPRequestHandler):
        # A client that sends nothing holds its thread, and so the stop, no longer than this.
        timeout = 10
        # Head and body leave in one packet.
        wbufsize = -1

        def respond(self):
            begin = time.monotonic()
            token = request_id.set(self.headers.get("X-Request-Id") or uuid.uuid4().hex[:12])
            path = urlsplit(self.path).path
            answer, error = self.answer(path)
            self.send(answer)
            if path != "/health" or answer.status != 200:
                spent = round((time.monotonic() - begin) * 1000, 1)
                facts = {"method": self.command, "path": path, "status": answer.status, "ms": spent}
                service.log(**facts, request=request_id.get(), **({"error": error} if error else {}))
            request_id.reset(token)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = respond

        def answer(self, path):
            try:
                length = int(self.headers.get("Content-Length") or 0)
                if not 0 <= length <= LONGEST_BODY:
                    raise Refusal(413, f"a body may have {LONGEST_BODY} bytes")
                request = Request(self.headers, self.rfile.read(length))
                return service.answer(self.command.replace("HEAD", "GET"), path, request), None
            except Refusal as refusal:
                return Answer(refusal.status, {"error": refusal.reason}), refusal.reason
            except service.outages as error:
                return Answer(503, {"error": f"{service.name} waits for its store"}), described(error)
            except Exception as error:
                return Answer(500, {"error": "internal error"}), described(error)

        def send(self, answer):
            self.send_response(answer.status)
            headers = {"Content-Length": len(answer.body), "X-Version": service.version, **answer.headers}
            for name, value in headers.items():
                self.send_header(name, str(value))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)
            self.wfile.flush()

        def log_message(self, *_):
            """The line of log is written by respond()."""

    return Handler
