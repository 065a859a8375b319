#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A proxy between an API client and a real API server that does what networks and servers do on bad days.

    fault_proxy.py DIRECTORY PORT UPSTREAM_PORT [FAULTS]

Terminates TLS on 127.0.0.1:PORT with the server's certificate in DIRECTORY, asks for the client's, and passes each
request on over TLS of its own as that client, whose key is in DIRECTORY under its common name. Faults are lines of JSON
in the file FAULTS, DIRECTORY/faults.json unless given, read anew for every request and every piece of an answer; each
has "kind" and most have "match", a part of the request's target:

    refuse  close every connection at once, the open ones too
    answer  answer with the bytes "raw" (base64) instead of asking the server, then close
    status  answer with "code", "headers" and "body"
    cut     close within an answer's body after "after" bytes
    corrupt overwrite what comes after "after" bytes of a body with garbage
    stall   pass nothing of an answer's body on, and keep the connection
    delay   wait "seconds" before the answer

"count" bounds how often a fault strikes.
"""

import base64
import json
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

DIRECTORY, PORT, UPSTREAM = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
FAULTS = Path(sys.argv[4]) if len(sys.argv) > 4 else DIRECTORY / "faults.json"
struck = {}
lock = threading.Lock()
REASONS = {403: "Forbidden", 404: "Not Found", 410: "Gone", 429: "Too Many Requests", 500: "Internal Server Error"}


def faults():
    try:
        return [json.loads(line) for line in FAULTS.read_text().splitlines() if line.strip()]
    except FileNotFoundError:
        return []


def find(target, *kinds):
    """The first fault of these kinds that strikes now."""
    for fault in faults():
        if fault["kind"] not in kinds or fault.get("match", "") not in target:
            continue
        key = json.dumps(fault, sort_keys=True)
        with lock:
            times = struck.get(key, 0)
            if times >= fault.get("count", 1 << 60):
                continue
            struck[key] = times + 1
        return fault
    return None


def refusing():
    return any(fault["kind"] == "refuse" for fault in faults())


def read_until(stream, end, buffer):
    while end not in buffer:
        piece = stream.recv(65536)
        if not piece:
            return None, b""
        buffer += piece
    head, _, rest = buffer.partition(end)
    return head + end, rest


def body_length(head):
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0


def read_exactly(stream, length, buffer):
    while len(buffer) < length:
        piece = stream.recv(65536)
        if not piece:
            return None, b""
        buffer += piece
    return buffer[:length], buffer[length:]


class Client:
    """One connection of a client."""

    def __init__(self, raw):
        self.raw = raw

    def serve(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(DIRECTORY / "server.crt", DIRECTORY / "server.key")
        context.load_verify_locations(DIRECTORY / "ca.crt")
        context.verify_mode = ssl.CERT_OPTIONAL
        try:
            stream = context.wrap_socket(self.raw, server_side=True)
            user = dict(part[0] for part in stream.getpeercert().get("subject", ())).get("commonName") \
                if stream.getpeercert() else None
            upstream = self.connect(user)
            buffer = b""
            while True:
                head, buffer = read_until(stream, b"\r\n\r\n", buffer)
                if head is None:
                    break
                body, buffer = read_exactly(stream, body_length(head), buffer)
                if body is None or not self.exchange(stream, upstream, head, body):
                    break
        except (OSError, ssl.SSLError):
            pass
        finally:
            try:
                self.raw.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self.raw.close()

    @staticmethod
    def connect(user):
        context = ssl.create_default_context(cafile=DIRECTORY / "ca.crt")
        if user:
            context.load_cert_chain(DIRECTORY / f"{user}.crt", DIRECTORY / f"{user}.key")
        return context.wrap_socket(socket.create_connection(("127.0.0.1", UPSTREAM)), server_hostname="127.0.0.1")

    def exchange(self, stream, upstream, head, body):
        """One request and its answer; False when the connection is to end."""
        if refusing():
            return False
        target = head.split(b" ", 2)[1].decode()
        fault = find(target, "answer", "status", "delay")
        if fault and fault["kind"] == "answer":
            stream.sendall(base64.b64decode(fault["raw"]))
            return False
        if fault and fault["kind"] == "status":
            said = fault.get("body", "").encode()
            lines = [f"HTTP/1.1 {fault['code']} {REASONS.get(fault['code'], 'Fault')}", f"Content-Length: {len(said)}",
                     "Content-Type: application/json", *(f"{k}: {v}" for k, v in fault.get("headers", {}).items())]
            stream.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + said)
            return True
        if fault:
            time.sleep(fault["seconds"])
        upstream.sendall(head + body)
        answer, rest = read_until(upstream, b"\r\n\r\n", b"")
        if answer is None:
            return False
        stream.sendall(answer)
        return self.pass_body(stream, upstream, target, answer.lower(), rest)

    def pass_body(self, stream, upstream, target, head, piece):
        fault = find(target, "cut", "corrupt", "stall")
        passed, tail = 0, b""
        length = body_length(head) if b"\r\ncontent-length:" in head else None
        if not head.split(b" ", 2)[1].startswith(b"2"):
            fault = None
        upstream.settimeout(0.1)
        while True:
            if piece:
                tail = (tail + piece)[-5:]
                out = piece
                if fault and fault["kind"] == "stall":
                    out = b""
                elif fault and passed + len(piece) > fault["after"]:
                    keep = max(0, fault["after"] - passed)
                    if fault["kind"] == "cut":
                        stream.sendall(piece[:keep])
                        return False
                    out = (piece[:keep] + b"\xff\r\n" * len(piece))[:len(piece)]
                passed += len(piece)
                stream.sendall(out)
            if (length is not None and passed >= length) or (length is None and tail.endswith(b"0\r\n\r\n")):
                upstream.settimeout(None)
                return True
            if refusing():
                return False
            try:
                piece = upstream.recv(65536)
                if not piece:
                    return False
            except TimeoutError:
                piece = b""
                if self.gone(stream):
                    return False

    def gone(self, stream):
        """The client has closed its side."""
        stream.settimeout(0.01)
        try:
            return stream.recv(1) == b""
        except (TimeoutError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        finally:
            stream.settimeout(None)


def main():
    listener = socket.create_server(("127.0.0.1", PORT), backlog=64)
    while True:
        raw, _ = listener.accept()
        if refusing():
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            raw.close()
            continue
        threading.Thread(target=Client(raw).serve, daemon=True).start()


main()
