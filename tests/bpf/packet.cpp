// SPDX-License-Identifier: Apache-2.0
#include "bpf/packet.h"

#include <algorithm>

#include <fmt/format.h>

namespace weir::test {
namespace {

constexpr size_t kEthernet = 14;

void put16(Bytes& out, uint32_t value) {
    out.push_back(static_cast<uint8_t>(value >> 8));
    out.push_back(static_cast<uint8_t>(value));
}
void put32(Bytes& out, uint32_t value) {
    put16(out, value >> 16);
    put16(out, value & 0xffff);
}
void set16(Bytes& out, size_t at, uint32_t value) {
    out[at] = static_cast<uint8_t>(value >> 8);
    out[at + 1] = static_cast<uint8_t>(value);
}
uint16_t get16(std::span<const uint8_t> in, size_t at) {
    return static_cast<uint16_t>(in[at] << 8 | in[at + 1]);
}
uint32_t get32(std::span<const uint8_t> in, size_t at) {
    return static_cast<uint32_t>(get16(in, at)) << 16 | get16(in, at + 2);
}
uint16_t folded(uint32_t sum) {
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return static_cast<uint16_t>(sum);
}

/// The address as it is on the wire: 4 or 16 bytes.
Bytes wire(const IpAddress& address) {
    const auto& bytes = address.bytes();
    return {bytes.begin() + (address.is_v4() ? 12 : 0), bytes.end()};
}
IpAddress from_wire(std::span<const uint8_t> in) {
    std::array<uint8_t, 16> bytes{};
    if (in.size() == 4) {
        bytes[10] = bytes[11] = 0xff;
    }
    std::copy(in.begin(), in.end(), bytes.end() - static_cast<ptrdiff_t>(in.size()));
    return IpAddress::from_bytes(bytes);
}

uint32_t pseudo(const IpAddress& src, const IpAddress& dst, size_t length, uint8_t proto) {
    uint32_t sum = ones_sum(wire(src));
    sum = ones_sum(wire(dst), sum);
    return sum + static_cast<uint32_t>(length) + proto;
}

Bytes l4_of(const Frame& f) {
    Bytes out;
    switch (f.proto) {
        case kTcp:
            put16(out, f.sport), put16(out, f.dport), put32(out, f.seq), put32(out, f.ack);
            put16(out, 0x5000U | f.tcp_flags), put16(out, 65535), put32(out, 0);
            break;
        case kUdp:
            put16(out, f.sport), put16(out, f.dport);
            put16(out, static_cast<uint32_t>(8 + f.payload.size())), put16(out, 0);
            break;
        case kSctp:
            put16(out, f.sport), put16(out, f.dport), put32(out, 7), put32(out, 0);
            break;
        case kIcmp4:
        case kIcmp6:
            out = {f.icmp_type, f.icmp_code, 0, 0};
            put32(out, f.icmp_rest);
            break;
        default:
            break;
    }
    out.insert(out.end(), f.payload.begin(), f.payload.end());
    return out;
}

/// Offset of the checksum in the layer 4 header; none: 0.
size_t checksum_at(uint8_t proto) {
    return proto == kTcp ? 16 : proto == kUdp ? 6 : proto == kIcmp4 || proto == kIcmp6 ? 2 : 0;
}

void fill_checksum(const Frame& f, Bytes& l4) {
    if (f.proto == kSctp && l4.size() >= 12) {
        const uint32_t crc = crc32c(l4);
        for (size_t i = 0; i < 4; i++) {
            l4[8 + i] = static_cast<uint8_t>(crc >> 8 * i);
        }
        return;
    }
    const size_t at = checksum_at(f.proto);
    if (at == 0 || (f.proto == kUdp && f.no_checksum)) {
        return;
    }
    const uint32_t start = f.proto == kIcmp4 ? 0 : pseudo(f.src, f.dst, l4.size(), f.proto);
    auto sum = static_cast<uint16_t>(~folded(ones_sum(l4, start)));
    if (f.proto == kUdp && sum == 0) {
        sum = 0xffff;
    }
    set16(l4, at, sum);
}

void put_ip4(const Frame& f, Bytes& out, size_t l4_size) {
    const size_t start = out.size(), header = 20 + 4 * f.option_words;
    out.push_back(static_cast<uint8_t>(0x40 | header / 4));
    out.push_back(0);
    put16(out, static_cast<uint32_t>(header + l4_size));
    put16(out, f.frag_id.value_or(1));
    put16(out, (f.frag_id ? (f.more ? 0x2000U : 0U) | f.frag_offset / 8U
                          : (f.may_fragment ? 0U : 0x4000U)));
    out.push_back(f.ttl);
    out.push_back(f.proto);
    put16(out, 0);
    for (const auto& address : {f.src, f.dst}) {
        const Bytes bytes = wire(address);
        out.insert(out.end(), bytes.begin(), bytes.end());
    }
    out.insert(out.end(), 4 * size_t{f.option_words}, 1);
    const auto ip = std::span(out).subspan(start);
    set16(out, start + 10, static_cast<uint16_t>(~folded(ones_sum(ip))));
}

void put_ip6(const Frame& f, Bytes& out, size_t l4_size) {
    Bytes extensions;
    uint8_t next = f.proto;
    if (f.frag_id) {
        extensions = {next, 0};
        put16(extensions, f.frag_offset | (f.more ? 1U : 0U));
        put32(extensions, *f.frag_id);
        next = 44;
    }
    if (f.hop_by_hop) {
        const Bytes header = {next, 0, 1, 4, 0, 0, 0, 0};
        extensions.insert(extensions.begin(), header.begin(), header.end());
        next = 0;
    }
    put32(out, 0x60000000);
    put16(out, static_cast<uint32_t>(extensions.size() + l4_size));
    out.push_back(next);
    out.push_back(f.ttl);
    for (const auto& address : {f.src, f.dst}) {
        const Bytes bytes = wire(address);
        out.insert(out.end(), bytes.begin(), bytes.end());
    }
    out.insert(out.end(), extensions.begin(), extensions.end());
}

/// Reads the IP header at the front of `ip` into `f`; returns the rest, layer 4 and on.
std::optional<std::span<const uint8_t>> decode_ip(std::span<const uint8_t> ip, Frame& f) {
    if (ip.size() >= 20 && ip[0] >> 4 == 4) {
        const size_t header = 4U * (ip[0] & 15U);
        f.option_words = static_cast<unsigned>(header / 4 - 5);
        const uint16_t word = get16(ip, 6);
        f.may_fragment = !(word & 0x4000);
        if (word & 0x3fff) {
            f.frag_id = get16(ip, 4);
        }
        f.more = word & 0x2000;
        f.frag_offset = static_cast<uint16_t>((word & 0x1fff) * 8);
        f.ttl = ip[8];
        f.proto = ip[9];
        f.src = from_wire(ip.subspan(12, 4));
        f.dst = from_wire(ip.subspan(16, 4));
        return ip.subspan(std::min(header, ip.size()));
    }
    if (ip.size() < 40 || ip[0] >> 4 != 6) {
        return std::nullopt;
    }
    f.proto = ip[6];
    f.ttl = ip[7];
    f.src = from_wire(ip.subspan(8, 16));
    f.dst = from_wire(ip.subspan(24, 16));
    auto rest = ip.subspan(40);
    if (f.proto == 0 && rest.size() >= 8) {
        f.hop_by_hop = true;
        f.proto = rest[0];
        rest = rest.subspan(8);
    }
    if (f.proto == 44 && rest.size() >= 8) {
        f.frag_id = get32(rest, 4);
        f.frag_offset = get16(rest, 2) & 0xfff8;
        f.more = get16(rest, 2) & 1;
        f.proto = rest[0];
        rest = rest.subspan(8);
    }
    return rest;
}

void decode_l4(std::span<const uint8_t> l4, Frame& f) {
    size_t header = 0;
    const auto ports = [&] {
        f.sport = get16(l4, 0);
        f.dport = get16(l4, 2);
    };
    if (f.frag_offset == 0 && f.proto == kTcp && l4.size() >= 20) {
        ports();
        f.seq = get32(l4, 4);
        f.ack = get32(l4, 8);
        f.tcp_flags = l4[13];
        header = 4U * (l4[12] >> 4);
    } else if (f.frag_offset == 0 && f.proto == kUdp && l4.size() >= 8) {
        ports();
        f.no_checksum = get16(l4, 6) == 0;
        header = 8;
    } else if (f.frag_offset == 0 && f.proto == kSctp && l4.size() >= 12) {
        ports();
        header = 12;
    } else if (f.frag_offset == 0 && (f.proto == kIcmp4 || f.proto == kIcmp6) && l4.size() >= 8) {
        f.icmp_type = l4[0];
        f.icmp_code = l4[1];
        f.icmp_rest = get32(l4, 4);
        header = 8;
    }
    f.payload.assign(l4.begin() + static_cast<ptrdiff_t>(std::min(header, l4.size())), l4.end());
}

bool is_error(const Frame& f) {
    return (f.proto == kIcmp4 && (f.icmp_type == 3 || f.icmp_type == 11 || f.icmp_type == 12)) ||
           (f.proto == kIcmp6 && f.icmp_type >= 1 && f.icmp_type <= 4);
}

/// `quoted`: the packet may be cut, so only what is whole is checked.
std::string ip_defects(std::span<const uint8_t> ip, bool quoted) {
    Frame f;
    const auto l4 = decode_ip(ip, f);
    if (!l4) {
        return "no IP header";
    }
    const bool v4 = f.src.is_v4();
    const size_t header = static_cast<size_t>(l4->data() - ip.data());
    const size_t said = v4 ? get16(ip, 2) : get16(ip, 4) + size_t{40};
    if (v4 && folded(ones_sum(ip.first(header))) != 0xffff) {
        return "IPv4 header checksum is wrong";
    }
    if (said != ip.size()) {
        return quoted ? "" : fmt::format("length says {}, is {}", said, ip.size());
    }
    decode_l4(*l4, f);
    if (f.frag_id && (f.more || f.frag_offset)) {
        return "";
    }
    const size_t at = checksum_at(f.proto);
    if (f.proto == kSctp) {
        Bytes copy(l4->begin(), l4->end());
        std::fill_n(copy.begin() + 8, 4, uint8_t{0});
        const uint32_t crc = crc32c(copy);
        for (size_t i = 0; i < 4; i++) {
            if ((*l4)[8 + i] != static_cast<uint8_t>(crc >> 8 * i)) {
                return "SCTP checksum is wrong";
            }
        }
    }
    if (at == 0 || (f.proto == kUdp && v4 && f.no_checksum)) {
        return "";
    }
    const uint32_t start = f.proto == kIcmp4 ? 0 : pseudo(f.src, f.dst, l4->size(), f.proto);
    if (folded(ones_sum(*l4, start)) != 0xffff) {
        return fmt::format("layer 4 checksum is wrong (protocol {})", f.proto);
    }
    if (!quoted && is_error(f)) {
        const std::string inner = ip_defects(f.payload, true);
        return inner.empty() ? "" : "quote: " + inner;
    }
    return "";
}

}  // namespace

uint32_t ones_sum(std::span<const uint8_t> bytes, uint32_t start) {
    uint32_t sum = start;
    for (size_t i = 0; i < bytes.size(); i++) {
        sum += i % 2 ? bytes[i] : static_cast<uint32_t>(bytes[i]) << 8;
    }
    return sum;
}

uint32_t crc32c(std::span<const uint8_t> bytes) {
    uint32_t crc = 0xffffffff;
    for (const uint8_t byte : bytes) {
        crc ^= byte;
        for (int i = 0; i < 8; i++) {
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78U : 0U);
        }
    }
    return ~crc;
}

Bytes build(const Frame& frame) {
    Bytes l4 = frame.frag_offset ? frame.payload : l4_of(frame);
    if (frame.frag_offset == 0) {
        fill_checksum(frame, l4);
    }
    Bytes out;
    out.insert(out.end(), frame.dst_mac.begin(), frame.dst_mac.end());
    out.insert(out.end(), frame.src_mac.begin(), frame.src_mac.end());
    put16(out, frame.src.is_v4() ? 0x0800 : 0x86dd);
    frame.src.is_v4() ? put_ip4(frame, out, l4.size()) : put_ip6(frame, out, l4.size());
    out.insert(out.end(), l4.begin(), l4.end());
    return out;
}

Frame decode(std::span<const uint8_t> bytes) {
    Frame f;
    if (bytes.size() < kEthernet) {
        return f;
    }
    std::copy_n(bytes.begin(), 6, f.dst_mac.begin());
    std::copy_n(bytes.begin() + 6, 6, f.src_mac.begin());
    if (const auto l4 = decode_ip(bytes.subspan(kEthernet), f)) {
        decode_l4(*l4, f);
    }
    return f;
}

std::string defects(std::span<const uint8_t> bytes) {
    return bytes.size() < kEthernet ? "no link header"
                                    : ip_defects(bytes.subspan(kEthernet), false);
}

std::string describe(std::span<const uint8_t> bytes) {
    const Frame f = decode(bytes);
    std::string flags;
    for (const auto& [bit, name] : {std::pair{kFin, 'F'}, {kSyn, 'S'}, {kRst, 'R'}, {kAck, 'A'}}) {
        if (f.proto == kTcp && f.tcp_flags & bit) {
            flags += name;
        }
    }
    return fmt::format("{} > {} proto {} {} icmp {}/{} ttl {} {}", f.src.with_port(f.sport),
                       f.dst.with_port(f.dport), f.proto, flags, f.icmp_type, f.icmp_code, f.ttl,
                       defects(bytes));
}

Bytes quote_of(std::span<const uint8_t> frame, size_t l4_bytes) {
    Frame f;
    const auto ip = frame.subspan(kEthernet);
    const auto l4 = decode_ip(ip, f);
    const size_t length =
        static_cast<size_t>(l4->data() - ip.data()) + std::min(l4_bytes, l4->size());
    return {ip.begin(), ip.begin() + static_cast<ptrdiff_t>(length)};
}

}  // namespace weir::test
