// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "support/peers.h"

/// Socket exercises for use inside in_child(): each returns words that a test compares.
namespace weir::test {

/// One request to a shop server: its body, or "error: <errno name>".
std::string http_get(const std::string& address, uint16_t port, const std::string& path = "/");

/// One datagram from an unconnected socket: "<source of the answer> <answer>", or "error: …".
/// `size`: bytes of payload. The payload must come back unharmed.
std::string udp_ask(const std::string& address, uint16_t port, size_t size = 8);

/// The same over a connected socket, so that an ICMP error is reported as an errno.
std::string udp_connected(const std::string& address, uint16_t port, size_t size = 8);

/// connect() over TCP: "ok <peer as getpeername says> <own address>", or "error: …".
std::string tcp_connect(const SocketAddress& to);

}  // namespace weir::test
