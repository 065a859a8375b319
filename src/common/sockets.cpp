// SPDX-License-Identifier: Apache-2.0
#include "common/sockets.h"

#include <cerrno>

#include <netinet/in.h>
#include <sys/socket.h>

namespace weir {

Result<Fd> bind_any(int type, uint16_t port, int backlog) {
    const int raw = ::socket(AF_INET6, type | SOCK_CLOEXEC, 0);
    if (raw < 0) return fail_errno(errno, "socket");
    Fd fd(raw);
    const int on = 1;
    const int off = 0;
    ::setsockopt(raw, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (::setsockopt(raw, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0) {
        return fail_errno(errno, "IPV6_V6ONLY");
    }
    const sockaddr_in6 any{.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (::bind(raw, reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0) {
        return fail_errno(errno, "bind to port {}", port);
    }
    if (type == SOCK_STREAM && ::listen(raw, backlog) != 0) return fail_errno(errno, "listen");
    return fd;
}

}  // namespace weir
