// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "common/result.h"
#include "weir/types.h"

namespace weir {

enum class Family : uint8_t { kIpv4 = 4, kIpv6 = 6 };
inline constexpr std::array kFamilies = {Family::kIpv4, Family::kIpv6};
/// 0 for IPv4, 1 for IPv6: the index of per-family pairs in ABI structs.
constexpr size_t family_index(Family family) {
    return family == Family::kIpv4 ? 0 : 1;
}

/// An IPv4 or IPv6 address; IPv4 is held v4-mapped, as in the ABI. ::ffff:a.b.c.d *is* a.b.c.d
/// here.
class IpAddress {
  public:
    constexpr IpAddress() = default;
    explicit IpAddress(const weir_addr& abi) { std::memcpy(bytes_.data(), &abi, bytes_.size()); }
    static IpAddress v4(uint32_t host_order);
    static IpAddress from_bytes(const std::array<uint8_t, 16>& bytes);

    /// Dotted IPv4 (leading zeros are decimal, as Kubernetes reads them: "010.0.0.1" is 10.0.0.1)
    /// or IPv6 without zone.
    static Result<IpAddress> parse(std::string_view text);
    /// The same, in brackets or not: as it stands before a port.
    static Result<IpAddress> parse_host(std::string_view text);

    [[nodiscard]] Family family() const;
    [[nodiscard]] bool is_v4() const { return family() == Family::kIpv4; }
    [[nodiscard]] bool is_unspecified() const;  ///< 0.0.0.0 or ::
    [[nodiscard]] bool is_loopback() const;
    [[nodiscard]] bool is_link_local() const;
    [[nodiscard]] bool is_multicast() const;
    [[nodiscard]] const std::array<uint8_t, 16>& bytes() const { return bytes_; }
    /// The last four bytes as a number in host order; for IPv4 the address.
    [[nodiscard]] uint32_t low32() const;
    [[nodiscard]] weir_addr abi() const;
    [[nodiscard]] std::string to_string() const;
    /// "[::1]:80" or "1.2.3.4:80".
    [[nodiscard]] std::string with_port(uint16_t port) const;

    auto operator<=>(const IpAddress&) const = default;

  private:
    std::array<uint8_t, 16> bytes_{};
};

/// An address and a length within its family (0..32 or 0..128); host bits are zero.
class IpPrefix {
  public:
    IpPrefix() = default;
    /// Host bits of `address` are cleared; fails if `length` exceeds the family's.
    static Result<IpPrefix> make(IpAddress address, unsigned length);
    /// "10.0.0.0/8"; host bits set is an error, as is a missing length.
    static Result<IpPrefix> parse(std::string_view text);
    /// As parse, but host bits are cleared: what Kubernetes accepts in most CIDR fields.
    static Result<IpPrefix> parse_lenient(std::string_view text);

    [[nodiscard]] IpAddress address() const { return address_; }
    [[nodiscard]] unsigned length() const { return length_; }
    /// Length within 128 bits, for v4-mapped tables: 96 more for IPv4.
    [[nodiscard]] unsigned mapped_length() const {
        return length_ + (family() == Family::kIpv4 ? 96U : 0U);
    }
    [[nodiscard]] Family family() const { return address_.family(); }
    [[nodiscard]] bool contains(const IpAddress& address) const;
    [[nodiscard]] std::string to_string() const;

    auto operator<=>(const IpPrefix&) const = default;

  private:
    IpAddress address_;
    unsigned length_ = 0;
};

}  // namespace weir

template <>
struct std::hash<weir::IpAddress> {
    size_t operator()(const weir::IpAddress& address) const noexcept {
        uint64_t parts[2];
        std::memcpy(parts, address.bytes().data(), sizeof parts);
        return parts[0] * 0x9e3779b97f4a7c15ULL ^ (parts[1] * 0xc2b2ae3d27d4eb4fULL >> 7);
    }
};
