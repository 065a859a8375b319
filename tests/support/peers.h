// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include <sys/socket.h>

#include "common/fd.h"
#include "common/ip.h"
#include "support/child.h"

/// Real sockets for tests. Failures throw std::system_error; every wait is bounded.
namespace weir::test {

class NetNs;

/// An address and a port as the socket calls take and give them.
class SocketAddress {
  public:
    SocketAddress() = default;
    SocketAddress(const IpAddress& address, uint16_t port);
    /// `text` as IpAddress::parse takes it; throws if it does not.
    SocketAddress(const std::string& text, uint16_t port);
    /// An IPv4 address as an IPv6 socket names it, ::ffff:a.b.c.d.
    static SocketAddress mapped(const std::string& ipv4, uint16_t port);

    [[nodiscard]] const sockaddr* get() const;
    sockaddr* get();
    [[nodiscard]] socklen_t size() const;
    [[nodiscard]] int family() const { return storage_.ss_family; }
    /// As the socket calls see it: "10.0.0.1:80", "[::ffff:10.0.0.1]:80", "none".
    [[nodiscard]] std::string to_string() const;
    static constexpr socklen_t kCapacity = sizeof(sockaddr_storage);

  private:
    sockaddr_storage storage_{};
};

/// A socket whose waits end after three seconds. `type`: SOCK_STREAM or SOCK_DGRAM.
Fd make_socket(int family, int type);
void connect_to(const Fd& sock, const SocketAddress& to);
void bind_to(const Fd& sock, const SocketAddress& at);
void send_text(const Fd& sock, const std::string& text);
void send_text_to(const Fd& sock, const std::string& text, const SocketAddress& to);
std::string receive_text(const Fd& sock);
/// A datagram as "text from address".
std::string receive_text_from(const Fd& sock);
std::string peer_of(const Fd& sock);
std::string own_name_of(const Fd& sock);

/// A process that answers over TCP and UDP at one address and port with "name: what you said".
class EchoServer {
  public:
    EchoServer(const NetNs& netns, const std::string& name, const SocketAddress& at);

  private:
    BackgroundChild child_;
};

}  // namespace weir::test
