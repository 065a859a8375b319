// SPDX-License-Identifier: Apache-2.0
#include "native/packet.h"

#include <algorithm>
#include <cstring>

#include <netinet/in.h>

namespace weir::native {
namespace {

constexpr size_t kEthernet = 14;
constexpr size_t kIpv4 = 20;
constexpr size_t kIpv6 = 40;
constexpr uint16_t kEtherIpv4 = 0x0800;
constexpr uint16_t kEtherIpv6 = 0x86dd;

using Bytes = std::span<const uint8_t>;

void put16(Packet& out, uint16_t value) {
    out.push_back(static_cast<uint8_t>(value >> 8));
    out.push_back(static_cast<uint8_t>(value));
}
void put32(Packet& out, uint32_t value) {
    put16(out, static_cast<uint16_t>(value >> 16));
    put16(out, static_cast<uint16_t>(value));
}
uint16_t get16(Bytes bytes, size_t at) {
    return static_cast<uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}
void set16(Packet& bytes, size_t at, uint16_t value) {
    bytes[at] = static_cast<uint8_t>(value >> 8);
    bytes[at + 1] = static_cast<uint8_t>(value);
}

/// The Internet checksum's sum, not complemented.
uint32_t sum16(Bytes bytes, uint32_t sum = 0) {
    for (size_t i = 0; i < bytes.size(); i++)
        sum += i % 2 == 0 ? uint32_t{bytes[i]} << 8 : bytes[i];
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

/// SCTP's, bit by bit; little endian in the packet.
uint32_t crc32c(Bytes bytes) {
    uint32_t crc = ~uint32_t{0};
    for (const uint8_t byte : bytes) {
        crc ^= byte;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78U : 0U);
    }
    return ~crc;
}

/// Where the checksum of a layer 4 header is; 0: it has none.
size_t checksum_offset(uint8_t proto, bool v6) {
    switch (proto) {
        case IPPROTO_TCP:
            return 16;
        case IPPROTO_UDP:
            return 6;
        case IPPROTO_SCTP:
            return 8;
        case IPPROTO_ICMP:
            return v6 ? 0 : 2;
        case IPPROTO_ICMPV6:
            return v6 ? 2 : 0;
        default:
            return 0;
    }
}

/// The sum over a layer 4 packet, with its pseudo header where there is one. 0xffff: right.
uint32_t layer4_sum(Bytes l4, Bytes addresses, uint8_t proto) {
    uint32_t sum = 0;
    if (proto != IPPROTO_ICMP) {
        sum = sum16(addresses) + proto + static_cast<uint32_t>(l4.size());
    }
    return sum16(l4, sum);
}

Packet layer4(const PacketShape& shape) {
    Packet out;
    switch (shape.proto) {
        case IPPROTO_TCP:
            put16(out, shape.sport);
            put16(out, shape.dport);
            put32(out, 1000);
            put32(out, 2000);
            out.insert(out.end(), {0x50, shape.tcp_flags, 0x20, 0, 0, 0, 0, 0});
            break;
        case IPPROTO_UDP:
            put16(out, shape.sport);
            put16(out, shape.dport);
            put16(out, static_cast<uint16_t>(8 + shape.payload.size()));
            put16(out, 0);
            break;
        case IPPROTO_SCTP:
            put16(out, shape.sport);
            put16(out, shape.dport);
            put32(out, 77);
            put32(out, 0);
            break;
        case IPPROTO_ICMP:
        case IPPROTO_ICMPV6:
            out.insert(out.end(), {shape.icmp_type, 0, 0, 0});
            put16(out, shape.sport);
            put16(out, 1);
            break;
        default:
            break;
    }
    out.insert(out.end(), shape.payload.begin(), shape.payload.end());
    return out;
}

void fill_checksum(Packet& l4, const PacketShape& shape, Bytes addresses) {
    const size_t at = checksum_offset(shape.proto, shape.v6);
    if (at == 0 || (shape.no_udp_checksum && shape.proto == IPPROTO_UDP && !shape.v6)) return;
    if (shape.proto == IPPROTO_SCTP) {
        const uint32_t crc = crc32c(l4);
        std::memcpy(l4.data() + at, &crc, sizeof crc);
        return;
    }
    auto sum = static_cast<uint16_t>(~layer4_sum(l4, addresses, shape.proto));
    if (sum == 0 && shape.proto == IPPROTO_UDP) sum = 0xffff;
    set16(l4, at, sum);
}

void put_addresses(Packet& out, const PacketShape& shape) {
    for (const weir_addr& address : {shape.saddr, shape.daddr}) {
        const auto* bytes = reinterpret_cast<const uint8_t*>(&address);
        out.insert(out.end(), bytes + (shape.v6 ? 0 : 12), bytes + 16);
    }
}

void put_ipv4(Packet& out, const PacketShape& shape, const Packet& l4) {
    const size_t start = out.size();
    const size_t header = kIpv4 + size_t{shape.options} * 4;
    out.insert(out.end(), {static_cast<uint8_t>(0x40 | header / 4), 0});
    put16(out, static_cast<uint16_t>(header + l4.size()));
    put16(out, static_cast<uint16_t>(shape.fragment_id));
    put16(out, shape.fragment);
    out.insert(out.end(), {shape.hop_limit, shape.proto, 0, 0});
    put_addresses(out, shape);
    out.resize(start + header, 1);  // options: NOP
    set16(out, start + 10, static_cast<uint16_t>(~sum16(Bytes(out).subspan(start))));
}

void put_ipv6(Packet& out, const PacketShape& shape, const Packet& l4) {
    Packet extensions;
    uint8_t next = shape.proto;
    if (shape.fragment != 0) {
        extensions = {next, 0};
        put16(extensions, shape.fragment);
        put32(extensions, shape.fragment_id);
        next = IPPROTO_FRAGMENT;
    }
    if (shape.options != 0) {
        const Packet options = {next, 0, 1, 4, 0, 0, 0, 0};
        extensions.insert(extensions.begin(), options.begin(), options.end());
        next = IPPROTO_DSTOPTS;
    }
    put32(out, 0x60000000);
    put16(out, static_cast<uint16_t>(extensions.size() + l4.size()));
    out.insert(out.end(), {next, shape.hop_limit});
    put_addresses(out, shape);
    out.insert(out.end(), extensions.begin(), extensions.end());
}

Checksums judge_layer4(Bytes l4, Bytes addresses, uint8_t proto, bool v6) {
    const size_t at = checksum_offset(proto, v6);
    if (at == 0 || l4.size() < at + 4) return Checksums::kUnknown;
    if (proto == IPPROTO_SCTP) {
        Packet copy(l4.begin(), l4.end());
        uint32_t found = 0;
        std::memcpy(&found, copy.data() + at, sizeof found);
        std::memset(copy.data() + at, 0, sizeof found);
        return crc32c(copy) == found ? Checksums::kGood : Checksums::kBad;
    }
    if (proto == IPPROTO_UDP && get16(l4, at) == 0) {
        return v6 ? Checksums::kUnknown : Checksums::kGood;
    }
    return layer4_sum(l4, addresses, proto) == 0xffff ? Checksums::kGood : Checksums::kBad;
}

Checksums judge_ipv4(Bytes ip) {
    if (ip.size() < kIpv4 || ip[0] >> 4 != 4) return Checksums::kUnknown;
    const size_t header = (ip[0] & size_t{0xf}) * 4;
    const size_t total = get16(ip, 2);
    if (header < kIpv4 || total < header || total > ip.size()) return Checksums::kUnknown;
    if (sum16(ip.first(header)) != 0xffff) return Checksums::kBad;
    if ((get16(ip, 6) & 0x3fff) != 0) return Checksums::kUnknown;
    return judge_layer4(ip.subspan(header, total - header), ip.subspan(12, 8), ip[9], false);
}

Checksums judge_ipv6(Bytes ip) {
    if (ip.size() < kIpv6 || ip[0] >> 4 != 6) return Checksums::kUnknown;
    const size_t length = get16(ip, 4);
    if (kIpv6 + length > ip.size()) return Checksums::kUnknown;
    Bytes rest = ip.subspan(kIpv6, length);
    uint8_t next = ip[6];
    while (next == IPPROTO_DSTOPTS || next == IPPROTO_HOPOPTS) {
        if (rest.size() < 8 || rest.size() < (rest[1] + size_t{1}) * 8) return Checksums::kUnknown;
        next = rest[0];
        rest = rest.subspan((rest[1] + size_t{1}) * 8);
    }
    return judge_layer4(rest, ip.subspan(8, 32), next, true);
}

/// Where layer 4 begins, and its protocol, in a frame without extension headers.
struct Layer4 {
    size_t at;
    uint8_t proto;
};
std::optional<Layer4> find_layer4(Bytes frame) {
    if (frame.size() < kEthernet + kIpv4) return std::nullopt;
    const Bytes ip = frame.subspan(kEthernet);
    if (get16(frame, 12) == kEtherIpv4 && ip[0] >> 4 == 4 && (get16(ip, 6) & 0x3fff) == 0) {
        return Layer4{.at = kEthernet + (ip[0] & size_t{0xf}) * 4, .proto = ip[9]};
    }
    if (get16(frame, 12) == kEtherIpv6 && ip[0] >> 4 == 6 && ip.size() >= kIpv6) {
        return Layer4{.at = kEthernet + kIpv6, .proto = ip[6]};
    }
    return std::nullopt;
}

weir_addr address_at(Bytes frame, size_t at, bool v6) {
    weir_addr address{};
    if (!v6) address.w[2] = htonl(0xffff);
    std::memcpy(reinterpret_cast<uint8_t*>(&address) + (v6 ? 0 : 12), frame.data() + at,
                v6 ? 16 : 4);
    return address;
}

}  // namespace

std::optional<Tuple> tuple_of(std::span<const uint8_t> frame) {
    const auto l4 = find_layer4(frame);
    if (!l4 || (l4->proto != IPPROTO_TCP && l4->proto != IPPROTO_UDP)) return std::nullopt;
    if (judge_checksums(frame) == Checksums::kUnknown || frame.size() < l4->at + 8)
        return std::nullopt;
    const bool v6 = get16(frame, 12) == kEtherIpv6;
    return Tuple{.saddr = address_at(frame, kEthernet + (v6 ? 8 : 12), v6),
                 .daddr = address_at(frame, kEthernet + (v6 ? 24 : 16), v6),
                 .sport = get16(frame, l4->at),
                 .dport = get16(frame, l4->at + 2),
                 .proto = l4->proto};
}

std::optional<weir_addr> source_of(std::span<const uint8_t> frame) {
    if (frame.size() < kEthernet + kIpv4) return std::nullopt;
    const bool v6 = get16(frame, 12) == kEtherIpv6;
    if (v6 ? frame.size() < kEthernet + kIpv6 : get16(frame, 12) != kEtherIpv4) return std::nullopt;
    return address_at(frame, kEthernet + (v6 ? 8 : 12), v6);
}

Packet make_arp(uint16_t operation, uint8_t mac, const weir_addr& sender, const weir_addr& target) {
    Packet out(kEthernet, 0xff);
    set16(out, 12, 0x0806);
    put16(out, 1);
    put16(out, kEtherIpv4);
    put16(out, 0x0604);
    put16(out, operation);
    out.insert(out.end(), {2, 0, 0, 0, 0, mac});
    put32(out, ntohl(sender.w[3]));
    out.insert(out.end(), 6, 0);
    put32(out, ntohl(target.w[3]));
    return out;
}

Packet turned_round(Packet frame) {
    const auto l4 = find_layer4(frame);
    if (!l4) return frame;
    const bool v6 = get16(frame, 12) == kEtherIpv6;
    const auto exchange = [&](size_t at, size_t size) {
        if (at + 2 * size > frame.size()) return;
        const auto first = frame.begin() + static_cast<long>(at);
        std::swap_ranges(first, first + static_cast<long>(size), first + static_cast<long>(size));
    };
    exchange(0, 6);
    exchange(kEthernet + (v6 ? 8 : 12), v6 ? 16 : 4);
    // SCTP's checksum depends on the order, and ICMP has no ports.
    if (l4->proto == IPPROTO_TCP || l4->proto == IPPROTO_UDP) exchange(l4->at, 2);
    return frame;
}

Packet make_packet(const PacketShape& shape) {
    Packet out(kEthernet, 2);
    set16(out, 12, shape.v6 ? kEtherIpv6 : kEtherIpv4);
    Packet addresses;
    put_addresses(addresses, shape);
    Packet l4 = layer4(shape);
    fill_checksum(l4, shape, addresses);
    if (shape.v6) {
        put_ipv6(out, shape, l4);
    } else {
        put_ipv4(out, shape, l4);
    }
    out.insert(out.end(), l4.begin(), l4.end());
    return out;
}

Checksums judge_checksums(std::span<const uint8_t> frame) {
    if (frame.size() < kEthernet) return Checksums::kUnknown;
    const uint16_t type = get16(frame, 12);
    if (type == kEtherIpv4) return judge_ipv4(frame.subspan(kEthernet));
    if (type == kEtherIpv6) return judge_ipv6(frame.subspan(kEthernet));
    return Checksums::kUnknown;
}

}  // namespace weir::native
