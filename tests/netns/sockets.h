// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

#include <netinet/in.h>

#include "common/ip.h"

/// Socket exercises for use inside run_in(): each returns words that a test compares.
namespace weir::test {

struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t length = 0;
    [[nodiscard]] const sockaddr* raw() const {
        return reinterpret_cast<const sockaddr*>(&storage);
    }
    static SocketAddress of(const std::string& address, uint16_t port);
    /// "1.2.3.4:80"; v4-mapped addresses as IPv4.
    [[nodiscard]] std::string to_string() const;
};

/// One request to a shop server: its body, or "error: <errno name>".
std::string http_get(const std::string& address, uint16_t port);

/// One datagram from an unconnected socket: "<source of the answer> <answer>", or "error: …".
/// `size`: bytes of payload. The payload must come back unharmed.
std::string udp_ask(const std::string& address, uint16_t port, size_t size = 8);

/// The same over a connected socket, so that an ICMP error is reported as an errno.
std::string udp_connected(const std::string& address, uint16_t port, size_t size = 8);

/// connect() over TCP: "ok <peer as getpeername says> <own address>", or "error: …".
std::string tcp_connect(const std::string& address, uint16_t port);

}  // namespace weir::test
