# SPDX-License-Identifier: Apache-2.0
"""Datagrams of any size, and streams long enough for segments of every size: a server and its client.

    python3 bulk.py serve FAMILIES PORT           until its standard input ends; says "ready" when it listens
    python3 bulk.py udp ADDRESS PORT SIZE...      each datagram must come back as it was
    python3 bulk.py up|down ADDRESS PORT BYTES    so many to the server, or from it

Stands alone: it is run within pods' and nodes' network namespaces. A client prints one line of JSON: the size of each
datagram to "ok" or what became of it; or, of the stream, "ok" or the mistake, and the path MTU that its sender knew in
the end.
"""

import errno
import hashlib
import json
import random
import socket
import struct
import sys
import threading

TIMEOUT = 20.0  # s without progress
ANSWER = 5.0  # s for a datagram to come back
LARGEST = 65535
IP_MTU_DISCOVER, IP_PMTUDISC_DONT = 10, 0
IP_MTU, IPV6_MTU = 14, 24
HEAD = struct.Struct("!cQ")  # up or down, bytes


def pattern(size):
    """Bytes that show when they are not in place."""
    return random.Random(size).randbytes(size)


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def path_mtu(connection):
    if connection.family == socket.AF_INET6:
        return connection.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU)
    return connection.getsockopt(socket.IPPROTO_IP, IP_MTU)


def datagrams(family):
    """A socket whose datagrams may be fragmented on the way as well, where the protocol has that."""
    made = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET:
        made.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
    return made


def receive(connection, size):
    """So many bytes, or ConnectionError."""
    data = bytearray()
    while len(data) < size:
        piece = connection.recv(min(size - len(data), 1 << 16))
        if not piece:
            raise ConnectionError(errno.EPIPE, f"closed after {len(data)} of {size} bytes")
        data += piece
    return bytes(data)


# Server


def echo(listener):
    while True:
        data, client = listener.recvfrom(LARGEST)
        listener.sendto(data, client)


def serve_connection(connection):
    """Takes bytes or gives them, and then says what they were, and its path MTU."""
    try:
        with connection:
            connection.settimeout(TIMEOUT)
            way, size = HEAD.unpack(receive(connection, HEAD.size))
            if way == b"u":
                data = receive(connection, size)
            else:
                data = pattern(size)
                connection.sendall(data)
                receive(connection, 1)  # all of it is there
            said = {"digest": hashlib.sha256(data).hexdigest(), "mtu": path_mtu(connection)}
            connection.sendall(json.dumps(said).encode())
    except OSError as error:
        print(f"bulk.py: {error}", file=sys.stderr, flush=True)


def accept(listener):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve_connection, args=(connection,), daemon=True).start()


def serve(families, port):
    for name in families:
        family = {"4": socket.AF_INET, "6": socket.AF_INET6}[name]
        sockets = datagrams(family), socket.socket(family, socket.SOCK_STREAM)
        for one, work in zip(sockets, (echo, accept)):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
            if work is accept:
                one.listen()
            threading.Thread(target=work, args=(one,), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


# Clients


def ask_datagram(client, size):
    data = pattern(size)
    try:
        client.send(data)
        while True:
            answer = client.recv(LARGEST)
            if len(answer) == size:
                return "ok" if answer == data else "damaged"
    except TimeoutError:
        return "lost"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


def udp(address, port, sizes):
    with datagrams(family_of(address)) as client:
        client.settimeout(ANSWER)
        client.connect((address, port))
        return {size: ask_datagram(client, size) for size in sizes}


def ask_stream(address, port, way, size):
    """One direction; the path MTU of the end that sent."""
    with socket.create_connection((address, port), TIMEOUT) as client:
        client.sendall(HEAD.pack(way, size))
        data = pattern(size)
        if way == b"u":
            client.sendall(data)
        else:
            data = receive(client, size)
            client.sendall(b".")
        said = json.loads(client.makefile("rb").read())
        if said["digest"] != hashlib.sha256(data).hexdigest():
            raise ConnectionError(errno.EBADMSG, "other bytes came than were sent")
        return path_mtu(client) if way == b"u" else said["mtu"]


def tcp(address, port, way, size):
    try:
        return {"how": "ok", "mtu": ask_stream(address, port, way, size)}
    except (OSError, ValueError) as error:
        return {"how": f"{type(error).__name__}: {error}", "mtu": 0}


def main():
    verb, where, port, *numbers = sys.argv[1:]
    numbers = [int(number) for number in numbers]
    if verb == "serve":
        serve(where, int(port))
    elif verb == "udp":
        print(json.dumps(udp(where, int(port), numbers)))
    else:
        print(json.dumps(tcp(where, int(port), verb[0].encode(), *numbers)))


if __name__ == "__main__":
    main()
