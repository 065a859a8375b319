// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/fd.h"
#include "common/result.h"
#include "datapath/netlink/message.h"

namespace weir::netlink {

/// What the kernel answered to one request: how it ended, and the objects it sent back (of a GET).
struct Answer {
    Result<void> outcome;
    std::vector<std::string> objects;  ///< each one message, nlmsghdr first

    /// The only object, or null if there is none.
    [[nodiscard]] const nlmsghdr* object() const;
};

/// A netlink socket. Bound for life to the network namespace of the thread that opened it,
/// whatever thread uses it later. Not for two threads at once. Errors carry the kernel's own words.
class Socket {
  public:
    /// For links, addresses, routes, neighbours and filters (rtnetlink).
    static Result<Socket> open();
    /// For nftables; to dump only.
    static Result<Socket> open_netfilter();
    /// A non-blocking socket that receives the notifications of `groups` (RTNLGRP_*).
    static Result<Socket> subscribe(std::span<const unsigned> groups);
    /// Notifications of routes other than default routes end in the kernel from here on: there may
    /// be a full table of the internet's.
    Result<void> pass_over_specific_routes();

    /// Sends all requests at once; the kernel takes them in order and goes on after one that fails.
    Result<std::vector<Answer>> exchange(std::span<Message> requests);
    /// As exchange; the first failure, if any. The requests behind it were tried all the same.
    Result<void> run(std::span<Message> requests);
    Result<void> run(Message request);
    /// One GET; its object's bytes.
    Result<std::string> get(Message request);

    using OnObject = std::function<void(const nlmsghdr*)>;
    /// All objects of a table. When the kernel says that the table changed meanwhile, calls `reset`
    /// and starts over, at most a few times.
    Result<void> dump(Message request, const std::function<void()>& reset, const OnObject& each);

    /// What a subscribing socket has received, each message to `each`; at most one bufferful a
    /// call. False: nothing was there. kExhausted: notifications were lost, read everything anew.
    Result<bool> receive(const OnObject& each);

    /// Index of a device of this namespace, without waiting for the kernel's RTNL lock.
    [[nodiscard]] Result<uint32_t> ifindex(const std::string& name) const;
    /// Identifies this socket's namespace as long as the machine is up (SO_NETNS_COOKIE).
    [[nodiscard]] Result<uint64_t> netns_cookie() const;
    [[nodiscard]] int fd() const { return fd_.get(); }

  private:
    explicit Socket(Fd fd) : fd_(std::move(fd)) {}
    static Result<Socket> make(int flags, int protocol);
    /// Whose success the kernel is to say; it tells of failures unasked, and in order.
    enum class Acks { kEach, kLast };
    Result<void> send(std::span<Message> requests, Acks acks);
    Result<std::vector<Answer>> exchange(std::span<Message> requests, Acks acks);
    Result<void> collect(std::span<Message> requests, std::vector<Answer>& answers);
    Result<bool> dump_once(Message& request, const OnObject& each);
    Result<std::span<const char>> receive_datagram();

    Fd fd_;
    uint32_t sequence_ = 0;
    std::unique_ptr<char[]> buffer_;  ///< of kDatagram bytes; made when it is needed, not cleared
};

}  // namespace weir::netlink
