# SPDX-License-Identifier: Apache-2.0
"""A client of HTTP servers that counts how every connection ended, by errno.

    python3 load.py --rate N --open N URL...

Stands alone: it is run within pods' network namespaces. N new connections a second, each for one request, and N that
are opened at first and asked a question now and then for as long as it runs. It says "open" as soon as those are
there, ends at the end of its standard input, and then prints one line of JSON.
"""

import argparse
import errno
import json
import resource
import select
import socket
import sys
import time
from collections import Counter
from urllib.parse import urlsplit

TIMEOUT = 10.0  # s without progress, after which a connection counts as lost
PAUSE = 2.0  # s between two questions over an open connection
TICK = 0.005
OPEN_AT_A_TIME = 100
MAX_IN_FLIGHT = 3000
ONCE = b"GET /hostname HTTP/1.0\r\n\r\n"
AGAIN = b"GET /hostname HTTP/1.1\r\nHost: x\r\n\r\n"


class Connection:
    """One connection and what it waits for: connect, then answer; an open one pauses in between."""

    def __init__(self, target, stays):
        self.target, self.stays = target, stays
        self.state, self.data = "connect", b""
        family = socket.AF_INET6 if ":" in target[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self.since = time.monotonic()

    def ask(self):
        self.state, self.data, self.since = "answer", b"", time.monotonic()
        self.socket.send(AGAIN if self.stays else ONCE)

    def answered(self):
        """Whether a whole answer is there, which for one request is all until the end."""
        head, end, body = self.data.partition(b"\r\n\r\n")
        if not end:
            return False
        length = next((int(line.split(b":")[1]) for line in head.splitlines() if
                       line.lower().startswith(b"content-length:")), -1)
        return 0 <= length <= len(body)

    def good(self):
        return self.data.startswith((b"HTTP/1.0 200 ", b"HTTP/1.1 200 ")) and self.answered()


class Load:
    """All connections, and how those that ended did."""

    def __init__(self, targets, rate, stay_open):
        self.targets, self.rate, self.stay_open = targets, rate, stay_open
        self.poll = select.epoll()
        self.connections = {}  # by file descriptor
        self.ends = Counter()  # (kind, how) -> count
        self.begun = {"new": 0, "open": 0}
        self.questions = 0
        self.started = 0.0

    def begin(self, stays):
        kind = "open" if stays else "new"
        target = self.targets[self.begun[kind] % len(self.targets)]
        self.begun[kind] += 1
        connection = Connection(target, stays)
        self.connections[connection.socket.fileno()] = connection
        status = connection.socket.connect_ex(target)
        if status not in (0, errno.EINPROGRESS):
            return self.end(connection, f"connect {errno.errorcode.get(status, status)}")
        self.poll.register(connection.socket.fileno(), select.EPOLLOUT)

    def end(self, connection, how):
        self.connections.pop(connection.socket.fileno(), None)
        connection.socket.close()
        self.ends["open" if connection.stays else "new", how] += 1

    def ready(self, connection):
        """Goes on with what the connection waits for."""
        try:
            if connection.state == "connect":
                status = connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if status:
                    return self.end(connection, f"connect {errno.errorcode.get(status, status)}")
                connection.ask()
                return self.poll.modify(connection.socket.fileno(), select.EPOLLIN)
            piece = connection.socket.recv(65536)
        except OSError as error:
            return self.end(connection, f"{connection.state} {errno.errorcode.get(error.errno, error.errno)}")
        connection.data += piece
        if connection.state == "pause":
            return self.end(connection, "closed by the server" if not piece else "an answer nobody asked for")
        if not piece:
            return self.end(connection, "ok" if connection.good() else "answer cut off")
        if connection.stays and connection.answered():
            if not connection.good():
                return self.end(connection, "bad answer")
            self.questions += 1
            connection.state, connection.since = "pause", time.monotonic()

    def look_around(self):
        """Asks again over open connections, and gives up those without progress."""
        now = time.monotonic()
        for connection in list(self.connections.values()):
            if connection.state == "pause":
                if now - connection.since > PAUSE:
                    self.try_to_ask(connection)
            elif now - connection.since > TIMEOUT:
                self.end(connection, f"{connection.state} without an end after {TIMEOUT:.0f} s")

    def try_to_ask(self, connection):
        try:
            connection.ask()
        except OSError as error:
            self.end(connection, f"ask {errno.errorcode.get(error.errno, error.errno)}")

    def due(self, now):
        """How many new connections to begin now."""
        wanted = int((now - self.started) * self.rate) - self.begun["new"]
        return max(0, min(wanted, MAX_IN_FLIGHT + self.stay_open - len(self.connections)))

    def turn(self):
        for descriptor, _ in self.poll.poll(TICK):
            if descriptor in self.connections:
                self.ready(self.connections[descriptor])

    def open_all(self):
        while True:
            pausing = sum(c.state == "pause" for c in self.connections.values())
            if pausing + sum(n for (kind, _), n in self.ends.items() if kind == "open") >= self.stay_open:
                return
            under_way = len(self.connections) - pausing
            for _ in range(min(OPEN_AT_A_TIME - under_way, self.stay_open - self.begun["open"])):
                self.begin(True)
            self.turn()
            self.look_around()

    def run(self):
        self.open_all()
        print("open", flush=True)
        self.started = time.monotonic()
        looked = self.started
        while not select.select([sys.stdin], [], [], 0)[0]:
            now = time.monotonic()
            for _ in range(self.due(now)):
                self.begin(False)
            self.turn()
            if now - looked > 0.25:
                looked = now
                self.look_around()
        return self.finish()

    def finish(self):
        """Waits for what is under way, and asks each open connection once more."""
        seconds = time.monotonic() - self.started
        for connection in [c for c in self.connections.values() if c.state == "pause"]:
            self.try_to_ask(connection)
        while any(c.state != "pause" for c in self.connections.values()):
            self.turn()
            deadline = time.monotonic() - TIMEOUT
            for connection in [c for c in self.connections.values() if c.state != "pause" and c.since < deadline]:
                self.end(connection, f"{connection.state} without an end after {TIMEOUT:.0f} s")
        return {"seconds": seconds, "begun": self.begun, "alive": len(self.connections), "questions": self.questions,
                "rate": self.begun["new"] / seconds,
                "ends": [[kind, how, count] for (kind, how), count in sorted(self.ends.items())]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=int, default=100)
    parser.add_argument("--open", type=int, default=0)
    parser.add_argument("urls", nargs="+")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    targets = [(urlsplit(url).hostname, urlsplit(url).port or 80) for url in options.urls]
    print(json.dumps(Load(targets, options.rate, options.open).run()), flush=True)


if __name__ == "__main__":
    main()
