// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "common/fd.h"

/// As little HTTP/1.1 as the shop needs, on blocking sockets. Every failure keeps its errno.
namespace shop {

struct Target {
    std::string host;  ///< an IP address; IPv6 without brackets
    uint16_t port = 0;
};
/// "http://10.96.0.10:80" or "http://[fd00::1]:80".
weir::Result<Target> parse_url(std::string_view url);

/// A connected TCP socket. `timeout` bounds the connect and each later send and receive.
weir::Result<weir::Fd> connect_to(const Target& target, std::chrono::milliseconds timeout);

weir::Result<void> send_all(int fd, std::string_view data);

/// One request or response: start line and body, header lines skipped but for Content-Length and
/// X-Pod. An orderly close before the first byte gives an empty start line.
struct Message {
    std::string start_line;
    std::string pod;
    std::string body;
};
weir::Result<Message> receive(int fd);

std::string response(int status, std::string_view pod, std::string_view body);
std::string request(std::string_view path);

}  // namespace shop
