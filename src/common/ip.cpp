// SPDX-License-Identifier: Apache-2.0
#include "common/ip.h"

#include <algorithm>

#include <arpa/inet.h>

#include "common/number.h"

namespace weir {
namespace {

constexpr std::array<uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

std::optional<IpAddress> parse_v4(std::string_view text) {
    uint32_t value = 0;
    for (int part = 0; part < 4; ++part) {
        if (part > 0) {
            if (!text.starts_with('.')) return std::nullopt;
            text.remove_prefix(1);
        }
        const size_t digits = std::min(text.find('.'), text.size());
        if (digits == 0 || digits > 10) return std::nullopt;
        const auto octet = whole_number<uint8_t>(text.substr(0, digits));
        if (!octet) return std::nullopt;
        value = value << 8 | *octet;
        text.remove_prefix(digits);
    }
    if (!text.empty()) return std::nullopt;
    return IpAddress::v4(value);
}

void clear_host_bits(std::array<uint8_t, 16>& bytes, unsigned keep) {
    for (unsigned i = 0; i < bytes.size(); ++i) {
        const unsigned first = i * 8;
        if (first >= keep) {
            bytes[i] = 0;
        } else if (keep - first < 8) {
            bytes[i] = static_cast<uint8_t>(bytes[i] & (0xff00U >> (keep - first)));
        }
    }
}

}  // namespace

IpAddress IpAddress::v4(uint32_t host_order) {
    IpAddress address;
    std::ranges::copy(kMappedPrefix, address.bytes_.begin());
    const uint32_t wire = htonl(host_order);
    std::memcpy(&address.bytes_[12], &wire, sizeof wire);
    return address;
}

IpAddress IpAddress::from_bytes(const std::array<uint8_t, 16>& bytes) {
    IpAddress address;
    address.bytes_ = bytes;
    return address;
}

Result<IpAddress> IpAddress::parse(std::string_view text) {
    if (auto address = parse_v4(text)) return *address;
    const std::string copy(text);
    in6_addr raw{};
    // inet_pton would stop at a NUL and accept what is before it.
    if (text.find('\0') == std::string_view::npos && text.find(':') != std::string_view::npos &&
        ::inet_pton(AF_INET6, copy.c_str(), &raw) == 1) {
        IpAddress address;
        std::memcpy(address.bytes_.data(), &raw, address.bytes_.size());
        return address;
    }
    return fail(Errc::kInvalid, "\"{}\" is not an IP address", text);
}

Result<IpAddress> IpAddress::parse_host(std::string_view text) {
    const bool brackets = text.size() > 2 && text.starts_with('[') && text.ends_with(']');
    return parse(brackets ? text.substr(1, text.size() - 2) : text);
}

Family IpAddress::family() const {
    return std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes_.begin()) ? Family::kIpv4
                                                                                  : Family::kIpv6;
}

bool IpAddress::is_unspecified() const {
    return *this == IpAddress() || (is_v4() && low32() == 0);
}

bool IpAddress::is_loopback() const {
    if (is_v4()) return bytes_[12] == 127;
    return std::all_of(bytes_.begin(), bytes_.end() - 1, [](uint8_t b) { return b == 0; }) &&
           bytes_[15] == 1;
}

bool IpAddress::is_link_local() const {
    if (is_v4()) return bytes_[12] == 169 && bytes_[13] == 254;
    return bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80;
}

bool IpAddress::is_multicast() const {
    return is_v4() ? (bytes_[12] & 0xf0) == 0xe0 : bytes_[0] == 0xff;
}

uint32_t IpAddress::low32() const {
    uint32_t wire = 0;
    std::memcpy(&wire, &bytes_[12], sizeof wire);
    return ntohl(wire);
}

weir_addr IpAddress::abi() const {
    weir_addr out;
    std::memcpy(&out, bytes_.data(), sizeof out);
    return out;
}

std::string IpAddress::to_string() const {
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (is_v4()) {
        ::inet_ntop(AF_INET, &bytes_[12], text.data(), text.size());
    } else {
        ::inet_ntop(AF_INET6, bytes_.data(), text.data(), text.size());
    }
    return text.data();
}

std::string IpAddress::with_port(uint16_t port) const {
    return is_v4() ? fmt::format("{}:{}", to_string(), port)
                   : fmt::format("[{}]:{}", to_string(), port);
}

Result<IpPrefix> IpPrefix::make(IpAddress address, unsigned length) {
    const unsigned limit = address.is_v4() ? 32 : 128;
    if (length > limit) {
        return fail(Errc::kInvalid, "prefix length {} of {} is over {}", length,
                    address.to_string(), limit);
    }
    auto bytes = address.bytes();
    clear_host_bits(bytes, length + (address.is_v4() ? 96U : 0U));
    IpPrefix prefix;
    prefix.address_ = IpAddress::from_bytes(bytes);
    prefix.length_ = length;
    return prefix;
}

Result<IpPrefix> IpPrefix::parse_lenient(std::string_view text) {
    const size_t slash = text.find('/');
    if (slash == std::string_view::npos) {
        return fail(Errc::kInvalid, "\"{}\" is not a prefix: no \"/length\"", text);
    }
    const auto address = WEIR_TRY(IpAddress::parse(text.substr(0, slash)));
    const auto length = whole_number<unsigned>(text.substr(slash + 1));
    if (!length) return fail(Errc::kInvalid, "\"{}\" is not a prefix: bad length", text);
    return make(address, *length);
}

Result<IpPrefix> IpPrefix::parse(std::string_view text) {
    const auto prefix = WEIR_TRY(parse_lenient(text));
    const auto address = WEIR_TRY(IpAddress::parse(text.substr(0, text.find('/'))));
    if (address != prefix.address()) {
        return fail(Errc::kInvalid, "\"{}\" has host bits set; did you mean {}?", text,
                    prefix.to_string());
    }
    return prefix;
}

bool IpPrefix::contains(const IpAddress& address) const {
    if (address.family() != family()) return false;
    auto bytes = address.bytes();
    clear_host_bits(bytes, mapped_length());
    return bytes == address_.bytes();
}

std::string IpPrefix::to_string() const {
    return fmt::format("{}/{}", address_.to_string(), length_);
}

}  // namespace weir
