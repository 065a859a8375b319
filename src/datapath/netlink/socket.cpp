// SPDX-License-Identifier: Apache-2.0
#include "datapath/netlink/socket.h"

#include <array>
#include <cerrno>
#include <cstddef>

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

namespace weir::netlink {
namespace {

/// Acknowledgements wait in the socket until they are read: a batch must fit its buffer.
constexpr size_t kMaxBatch = 64;
constexpr int kReceiveBuffer = 4 << 20;
/// The kernel fills datagrams of a dump up to 32 KiB if offered that much.
constexpr size_t kDatagram = 64 << 10;
constexpr int kDumpTries = 8;

#ifndef SO_NETNS_COOKIE
constexpr int SO_NETNS_COOKIE = 71;
#endif

Result<void> set_option(int fd, int level, int option, int value, std::string_view name) {
    if (::setsockopt(fd, level, option, &value, sizeof value) == 0) return {};
    return fail_errno(errno, "netlink socket option {}", name);
}

/// The kernel's explanation behind an error acknowledgement, empty if it gave none.
std::string explanation(const nlmsghdr* message) {
    if ((message->nlmsg_flags & NLM_F_ACK_TLVS) == 0) return {};
    const auto* error = static_cast<const nlmsgerr*>(nlmsg_data(message));
    size_t skip = sizeof *error;
    if ((message->nlmsg_flags & NLM_F_CAPPED) == 0) {
        skip += NLMSG_ALIGN(error->msg.nlmsg_len - sizeof(nlmsghdr));
    }
    return Attributes(message, skip).text(NLMSGERR_ATTR_MSG);
}

Result<void> outcome_of(const nlmsghdr* message, const std::string& what) {
    const auto* error = static_cast<const nlmsgerr*>(nlmsg_data(message));
    if (error->error == 0) return {};
    Error failure = system_error(-error->error, what);
    const std::string words = explanation(message);
    if (words.empty()) return Failure(std::move(failure));
    return Failure(
        Error(failure.code(), fmt::format("{} ({})", failure.message(), words), -error->error));
}

}  // namespace

const nlmsghdr* Answer::object() const {
    return objects.empty() ? nullptr : reinterpret_cast<const nlmsghdr*>(objects.front().data());
}

Result<Socket> Socket::make(int flags, int protocol) {
    const int raw = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | flags, protocol);
    if (raw < 0) return fail_errno(errno, "open a netlink socket");
    Socket socket{Fd(raw)};
    WEIR_CHECK(set_option(raw, SOL_NETLINK, NETLINK_EXT_ACK, 1, "NETLINK_EXT_ACK"));
    WEIR_CHECK(set_option(raw, SOL_NETLINK, NETLINK_CAP_ACK, 1, "NETLINK_CAP_ACK"));
    WEIR_CHECK(set_option(raw, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1, "NETLINK_GET_STRICT_CHK"));
    // A socket without an address of its own is passed over when notifications are sent.
    sockaddr_nl any{};
    any.nl_family = AF_NETLINK;
    if (::bind(raw, reinterpret_cast<sockaddr*>(&any), sizeof any) != 0) {
        return fail_errno(errno, "bind a netlink socket");
    }
    // Beyond the system's limit, for bursts of notifications; without the right, what it allows.
    if (::setsockopt(raw, SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof kReceiveBuffer) !=
        0) {
        WEIR_CHECK(set_option(raw, SOL_SOCKET, SO_RCVBUF, kReceiveBuffer, "SO_RCVBUF"));
    }
    return socket;
}

Result<Socket> Socket::open() {
    return make(0, NETLINK_ROUTE);
}

Result<Socket> Socket::open_netfilter() {
    return make(0, NETLINK_NETFILTER);
}

Result<Socket> Socket::subscribe(std::span<const unsigned> groups) {
    Socket socket = WEIR_TRY(make(SOCK_NONBLOCK, NETLINK_ROUTE));
    for (const unsigned group : groups) {
        WEIR_CHECK(set_option(socket.fd(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP,
                              static_cast<int>(group), "NETLINK_ADD_MEMBERSHIP"));
    }
    return socket;
}

Result<void> Socket::pass_over_specific_routes() {
    constexpr uint32_t kPass = 0xffffffff;
    constexpr uint32_t kType = offsetof(nlmsghdr, nlmsg_type);
    constexpr uint32_t kLength = NLMSG_HDRLEN + offsetof(rtmsg, rtm_dst_len);
    // A load is of network byte order, the header of the host's.
    std::array<sock_filter, 7> filter = {{
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, kType),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWROUTE), 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_DELROUTE), 0, 2),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kLength),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, kPass),
        BPF_STMT(BPF_RET | BPF_K, 0),
    }};
    const sock_fprog attached{.len = static_cast<unsigned short>(filter.size()),
                              .filter = filter.data()};
    if (::setsockopt(fd_.get(), SOL_SOCKET, SO_ATTACH_FILTER, &attached, sizeof attached) != 0) {
        return fail_errno(errno, "filter the notifications of an rtnetlink socket");
    }
    return {};
}

Result<void> Socket::send(std::span<Message> requests, Acks acks) {
    std::vector<iovec> parts;
    parts.reserve(requests.size());
    for (const Message& request : requests) {
        if (request.overflowed()) {
            return fail(Errc::kInternal, "{}: the request does not fit its buffer", request.what());
        }
        nlmsghdr* header = request.raw_header();
        header->nlmsg_seq = ++sequence_;
        if (acks == Acks::kEach || &request == &requests.back()) {
            header->nlmsg_flags |= NLM_F_ACK;
        } else {
            header->nlmsg_flags &= static_cast<uint16_t>(~NLM_F_ACK);
        }
        parts.push_back({header, NLMSG_ALIGN(header->nlmsg_len)});
    }
    sockaddr_nl kernel{};
    kernel.nl_family = AF_NETLINK;
    msghdr datagram{};
    datagram.msg_name = &kernel;
    datagram.msg_namelen = sizeof kernel;
    datagram.msg_iov = parts.data();
    datagram.msg_iovlen = parts.size();
    ssize_t sent = 0;
    do {
        sent = ::sendmsg(fd_.get(), &datagram, 0);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) return fail_errno(errno, "{}: send to rtnetlink", requests.front().what());
    return {};
}

Result<std::span<const char>> Socket::receive_datagram() {
    if (!buffer_) buffer_ = std::make_unique_for_overwrite<char[]>(kDatagram);
    ssize_t size = 0;
    do {
        size = ::recv(fd_.get(), buffer_.get(), kDatagram, MSG_TRUNC);
    } while (size < 0 && errno == EINTR);
    if (size < 0) return fail_errno(errno, "receive from rtnetlink");
    if (static_cast<size_t>(size) > kDatagram) {
        return fail(Errc::kInternal, "rtnetlink sent a datagram of {} bytes, more than the {} kept",
                    size, kDatagram);
    }
    return std::span<const char>(buffer_.get(), static_cast<size_t>(size));
}

Result<void> Socket::collect(std::span<Message> requests, std::vector<Answer>& answers) {
    const uint32_t first = sequence_ - static_cast<uint32_t>(requests.size()) + 1;
    bool open = true;
    while (open) {
        const auto bytes = WEIR_TRY(receive_datagram());
        auto* message = reinterpret_cast<nlmsghdr*>(const_cast<char*>(bytes.data()));
        int left = static_cast<int>(bytes.size());
        for (; nlmsg_ok(message, left); message = nlmsg_next(message, &left)) {
            const uint32_t index = message->nlmsg_seq - first;
            if (index >= requests.size()) continue;  // of a request given up earlier
            Answer& answer = answers[answers.size() - requests.size() + index];
            if (message->nlmsg_type == NLMSG_ERROR) {
                answer.outcome = outcome_of(message, requests[index].what());
                open = open && index + 1 < requests.size();
            } else {
                answer.objects.emplace_back(reinterpret_cast<const char*>(message),
                                            message->nlmsg_len);
            }
        }
    }
    return {};
}

Result<std::vector<Answer>> Socket::exchange(std::span<Message> requests) {
    return exchange(requests, Acks::kEach);
}

Result<std::vector<Answer>> Socket::exchange(std::span<Message> requests, Acks acks) {
    std::vector<Answer> answers;
    answers.reserve(requests.size());
    while (!requests.empty()) {
        auto batch = requests.subspan(0, std::min(requests.size(), kMaxBatch));
        WEIR_CHECK(send(batch, acks));
        answers.resize(answers.size() + batch.size());
        WEIR_CHECK(collect(batch, answers));
        requests = requests.subspan(batch.size());
    }
    return answers;
}

Result<void> Socket::run(std::span<Message> requests) {
    const auto answers = WEIR_TRY(exchange(requests, Acks::kLast));
    for (const Answer& answer : answers) {
        if (!answer.outcome) return Failure(answer.outcome.error());
    }
    return {};
}

Result<void> Socket::run(Message request) {
    return run(std::span(&request, 1));
}

Result<std::string> Socket::get(Message request) {
    auto answers = WEIR_TRY(exchange(std::span(&request, 1)));
    Answer& answer = answers.front();
    WEIR_CHECK(answer.outcome);
    if (answer.objects.empty()) {
        return fail(Errc::kInternal, "{}: the kernel sent no object", request.what());
    }
    return std::move(answer.objects.front());
}

Result<bool> Socket::dump_once(Message& request, const OnObject& each) {
    request.raw_header()->nlmsg_flags |= NLM_F_DUMP;
    WEIR_CHECK(send(std::span(&request, 1), Acks::kEach));
    bool whole = true;
    for (;;) {
        const auto bytes = WEIR_TRY(receive_datagram());
        auto* message = reinterpret_cast<nlmsghdr*>(const_cast<char*>(bytes.data()));
        int left = static_cast<int>(bytes.size());
        for (; nlmsg_ok(message, left); message = nlmsg_next(message, &left)) {
            if (message->nlmsg_seq != sequence_) continue;
            if ((message->nlmsg_flags & NLM_F_DUMP_INTR) != 0) whole = false;
            if (message->nlmsg_type == NLMSG_ERROR) {
                WEIR_CHECK(outcome_of(message, request.what()));
                continue;
            }
            if (message->nlmsg_type == NLMSG_DONE) {
                const int result = *static_cast<const int*>(nlmsg_data(message));
                if (result < 0) return fail_errno(-result, "{}", request.what());
                return whole;
            }
            each(message);
        }
    }
}

Result<void> Socket::dump(Message request, const std::function<void()>& reset,
                          const OnObject& each) {
    for (int i = 0; i < kDumpTries; i++) {
        reset();
        const auto whole = dump_once(request, each);
        // A namespace without any route has no such table yet.
        if (!whole && whole.error().os_errno() == ENOENT) return {};
        if (!whole) return Failure(whole.error());
        if (*whole) return {};
    }
    return fail(Errc::kUnavailable, "{}: the table changed during each of {} readings",
                request.what(), kDumpTries);
}

Result<bool> Socket::receive(const OnObject& each) {
    auto bytes = receive_datagram();
    if (!bytes) {
        const int reason = bytes.error().os_errno();
        if (reason == EAGAIN || reason == EWOULDBLOCK) return false;
        if (reason == ENOBUFS) return fail(Errc::kExhausted, "rtnetlink notifications were lost");
        return Failure(std::move(bytes).error());
    }
    auto* message = reinterpret_cast<nlmsghdr*>(const_cast<char*>(bytes->data()));
    int left = static_cast<int>(bytes->size());
    for (; nlmsg_ok(message, left); message = nlmsg_next(message, &left)) {
        if (message->nlmsg_type >= NLMSG_MIN_TYPE) each(message);
    }
    return true;
}

Result<uint32_t> Socket::ifindex(const std::string& name) const {
    ifreq request{};
    if (name.size() >= sizeof request.ifr_name) {
        return fail(Errc::kInvalid, "\"{}\" is too long for an interface name", name);
    }
    std::memcpy(request.ifr_name, name.data(), name.size());
    if (::ioctl(fd_.get(), SIOCGIFINDEX, &request) != 0) {
        return fail_errno(errno, "interface {}", name);
    }
    return static_cast<uint32_t>(request.ifr_ifindex);
}

Result<uint64_t> Socket::netns_cookie() const {
    uint64_t cookie = 0;
    socklen_t size = sizeof cookie;
    if (::getsockopt(fd_.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0) {
        return fail_errno(errno, "cookie of a network namespace");
    }
    return cookie;
}

}  // namespace weir::netlink
