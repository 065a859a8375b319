# SPDX-License-Identifier: Apache-2.0
"""What scenarios measure by: metrics, snapshots of nodes, and the load that counts lost connections."""

import json
import socket
import socketserver
import subprocess
import sys
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler

from e2e import metrics, places, snapshot, traffic
from e2e.scenarios import offloads

SAMPLES = """\
# HELP weir_build_info x
weir_build_info{commit="abc",version="0.1.0-next (abc)"} 1
weir_cni_request_duration_seconds_bucket{command="ADD",le="0.01"} 28
weir_cni_request_duration_seconds_bucket{command="ADD",le="0.02"} 30
weir_cni_request_duration_seconds_bucket{command="ADD",le="+Inf"} 30
weir_cni_request_duration_seconds_bucket{command="DEL",le="0.01"} 7
"""


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def flip(server):
    """Answers one datagram with another byte in its middle."""
    data, client = server.recvfrom(65535)
    server.sendto(data[:700] + bytes([data[700] ^ 1]) + data[701:], client)


class MetricsTest(unittest.TestCase):
    def test_a_quantile_is_the_bound_that_holds_it(self):
        samples = metrics.parse(SAMPLES)
        self.assertEqual(metrics.version(samples), "0.1.0-next (abc)")
        adds = metrics.histogram(samples, "weir_cni_request_duration_seconds", command="ADD")
        self.assertEqual(metrics.quantile(adds, 0.5), 0.01)
        self.assertEqual(metrics.quantile(adds, 0.99), 0.02)
        later = metrics.since(metrics.merged([adds, adds]), adds)
        self.assertEqual(later, adds)


class SnapshotTest(unittest.TestCase):
    def test_what_moves_by_itself_is_no_difference(self):
        one = snapshot.lines("3: eth0@if5: <UP> qlen 1000\nfe80::/64 expires 30sec\n")
        two = snapshot.lines("9: eth0@if7: <UP> qlen 1000\nfe80::/64 expires 29sec\n")
        same = snapshot.lines("4: eth0@if5: <UP> qlen 500\nfe80::/64")
        self.assertEqual(snapshot.differences({"x": one}, {"x": same}), [])
        self.assertNotEqual(one, two)  # another peer is one

    def test_what_came_and_went_is_named(self):
        self.assertEqual(snapshot.differences({"routes": {"a", "b"}}, {"routes": {"b", "c"}}),
                         ["routes: + c", "routes: - a"])


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 500


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"me")

    def log_message(self, *_):
        pass


class LoadTest(unittest.TestCase):
    def run_load(self, port, seconds, during=lambda: None):
        command = [sys.executable, "-I", str(traffic.SCRIPT), "--rate=50", "--open=5", f"http://127.0.0.1:{port}"]
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.assertEqual(client.stdout.readline(), "open\n")
        time.sleep(seconds / 2)
        during()
        time.sleep(seconds / 2)
        return json.loads(client.communicate(timeout=30)[0])

    def serve(self):
        server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server.server_address[1]

    def test_a_server_that_serves_loses_nothing(self):
        result = self.run_load(self.serve(), 1)
        self.assertEqual(traffic.lost(result), {})
        self.assertEqual(result["alive"], 5)
        self.assertGreater(result["begun"]["new"], 10)

    def test_nobody_there_is_counted_by_errno(self):
        with socketserver.TCPServer(("127.0.0.1", 0), Handler) as nobody:
            port = nobody.server_address[1]
        result = self.run_load(port, 0.5)
        self.assertEqual(set(traffic.lost(result)), {"new: connect ECONNREFUSED", "open: connect ECONNREFUSED"})
        self.assertEqual(result["alive"], 0)


class BulkTest(unittest.TestCase):
    def ask(self, *arguments):
        done = subprocess.run([sys.executable, "-I", places.BULK, *map(str, arguments)], text=True, capture_output=True,
                              check=True, timeout=60)
        return json.loads(done.stdout)

    def test_what_is_whole_comes_back(self):
        port = free_port()
        with subprocess.Popen([sys.executable, "-I", places.BULK, "serve", "4", str(port)], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            self.assertEqual(server.stdout.readline(), "ready\n")
            self.assertEqual(self.ask("udp", "127.0.0.1", port, 1, 60000), {"1": "ok", "60000": "ok"})
            for way in ("up", "down"):
                seen = self.ask(way, "127.0.0.1", port, 1 << 20)
                self.assertEqual(seen["how"], "ok")
                self.assertGreater(seen["mtu"], 1280)

    def test_what_is_not_is_told(self):
        port = free_port()
        seen = self.ask("up", "127.0.0.1", port, 1)
        self.assertIn("refused", seen["how"])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            threading.Thread(target=flip, args=(server,), daemon=True).start()
            self.assertEqual(self.ask("udp", "127.0.0.1", server.getsockname()[1], 1400), {"1400": "damaged"})
        self.assertEqual(self.ask("udp", "127.0.0.1", port, 1), {"1": "ECONNREFUSED"})


class OffloadsTest(unittest.TestCase):
    def test_features_are_read_without_their_parts(self):
        seen = offloads.parse("Features for eth0:\nrx-checksumming: on\ntx-checksumming: off [fixed]\n\t"
                              "tx-checksum-ipv4: on\n")
        self.assertEqual(seen, {"rx-checksumming": True, "tx-checksumming": False})


if __name__ == "__main__":
    unittest.main()
