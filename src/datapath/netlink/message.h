// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <linux/netlink.h>

#include "common/ip.h"

struct nl_msg;

namespace weir::netlink {

using MacAddress = std::array<uint8_t, 6>;
std::string to_string(const MacAddress& mac);

/// One rtnetlink request being built: header first, then attributes. `what` says in words what the
/// request does and on what; errors start with it.
class Message {
  public:
    /// NLM_F_REQUEST and NLM_F_ACK are added to `flags`.
    Message(uint16_t type, uint16_t flags, std::string what);

    /// The family's fixed header (ifinfomsg, rtmsg, ...).
    template <typename Header>
    Message& header(const Header& value) {
        return append(&value, sizeof value);
    }
    Message& put(uint16_t attribute, const void* data, size_t size);
    Message& put_u8(uint16_t attribute, uint8_t value);
    Message& put_u32(uint16_t attribute, uint32_t value);
    Message& put_string(uint16_t attribute, std::string_view text);
    /// 4 or 16 bytes, as the address's family wants.
    Message& put_address(uint16_t attribute, const IpAddress& address);
    Message& put_mac(uint16_t attribute, const MacAddress& mac);

    /// Attributes put by `fill` become the content of `attribute`.
    template <typename Fill>
    Message& nest(uint16_t attribute, Fill&& fill) {
        nlattr* start = begin_nest(attribute);
        fill();
        end_nest(start);
        return *this;
    }
    /// Bytes within a nest that are not an attribute (the peer's ifinfomsg of a veth).
    template <typename Header>
    Message& raw(const Header& value) {
        return append(&value, sizeof value);
    }

    [[nodiscard]] nlmsghdr* raw_header() const;
    [[nodiscard]] const std::string& what() const { return what_; }
    /// Something did not fit: a bug of the builder, refused when sent.
    [[nodiscard]] bool overflowed() const { return overflowed_; }

  private:
    Message& append(const void* data, size_t size);
    nlattr* begin_nest(uint16_t attribute);
    void end_nest(nlattr* start);

    struct Free {
        void operator()(nl_msg* message) const;
    };
    std::unique_ptr<nl_msg, Free> message_;
    std::string what_;
    bool overflowed_ = false;
};

/// The attributes of one received message or nest, by type; the last of several equal ones. Borrows
/// the bytes it was made from. Malformed tails are ignored.
class Attributes {
  public:
    /// `header_size`: of the family header between nlmsghdr and the attributes.
    Attributes(const nlmsghdr* message, size_t header_size);
    explicit Attributes(const nlattr* nest);

    [[nodiscard]] bool has(uint16_t type) const { return find(type) != nullptr; }
    [[nodiscard]] const nlattr* find(uint16_t type) const;
    [[nodiscard]] std::optional<uint8_t> u8(uint16_t type) const;
    [[nodiscard]] std::optional<uint32_t> u32(uint16_t type) const;
    [[nodiscard]] std::string text(uint16_t type) const;
    [[nodiscard]] std::optional<IpAddress> address(uint16_t type) const;
    [[nodiscard]] std::optional<MacAddress> mac(uint16_t type) const;

  private:
    static constexpr size_t kMaxType = 128;
    void index(const nlattr* first, int size);
    std::array<const nlattr*, kMaxType> by_type_{};
};

}  // namespace weir::netlink
