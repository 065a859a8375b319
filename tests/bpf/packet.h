// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/ip.h"

/// Packets for tests and benchmarks: described by one flat value, built with right checksums,
/// decoded back into the same type, so that a test compares what it meant with what came out.
namespace weir::test {

using Bytes = std::vector<uint8_t>;
using Mac = std::array<uint8_t, 6>;

inline constexpr uint8_t kTcp = 6, kUdp = 17, kSctp = 132, kIcmp4 = 1, kIcmp6 = 58;
inline constexpr uint8_t kFin = 1, kSyn = 2, kRst = 4, kAck = 16;

/// An Ethernet frame with IPv4 or IPv6 in it, the family being that of the addresses. Which of the
/// layer 4 fields mean something depends on `proto`.
struct Frame {
    Mac dst_mac = {0xee, 0xee, 0xee, 0xee, 0xee, 0xee};
    Mac src_mac = {0x02, 0, 0, 0, 0, 0x0a};
    IpAddress src;
    IpAddress dst;
    uint8_t ttl = 64;
    bool may_fragment = false;        ///< IPv4: DF is not set
    unsigned option_words = 0;        ///< IPv4: words of options (no-operation)
    bool hop_by_hop = false;          ///< IPv6: an empty hop-by-hop header in front
    std::optional<uint32_t> frag_id;  ///< a piece of a datagram
    uint16_t frag_offset = 0;  ///< bytes; not zero: the payload follows the IP header at once
    bool more = false;
    uint8_t proto = kTcp;
    uint16_t sport = 0;
    uint16_t dport = 0;
    uint8_t tcp_flags = kSyn;
    uint32_t seq = 1000;
    uint32_t ack = 0;
    bool no_checksum = false;  ///< UDP over IPv4 without checksum
    uint8_t icmp_type = 0;
    uint8_t icmp_code = 0;
    uint32_t icmp_rest = 0;  ///< second word; echo: identifier << 16 | sequence
    Bytes payload;           ///< behind the layer 4 header; of an ICMP error: the packet it quotes

    [[nodiscard]] uint16_t echo_id() const { return static_cast<uint16_t>(icmp_rest >> 16); }
};

/// The frame on the wire.
Bytes build(const Frame& frame);

/// The reverse of build(); empty with a reason in the exception-free way of tests: a frame whose
/// `src` is unspecified could not be decoded.
Frame decode(std::span<const uint8_t> bytes);

/// What is wrong with checksums and lengths, "" if nothing is. Looks into quotes of ICMP errors,
/// too, as far as they are whole.
std::string defects(std::span<const uint8_t> bytes);

/// "198.51.100.7:999 > 10.0.1.10:80 tcp S ttl 64", for failure messages.
std::string describe(std::span<const uint8_t> bytes);

/// The IP packet alone, cut to its IP header and `l4_bytes` more: what an ICMP error quotes.
Bytes quote_of(std::span<const uint8_t> frame, size_t l4_bytes = 8);

/// One's complement sum of big-endian 16-bit words, not inverted.
uint32_t ones_sum(std::span<const uint8_t> bytes, uint32_t start = 0);

/// CRC32c as SCTP uses it.
uint32_t crc32c(std::span<const uint8_t> bytes);

}  // namespace weir::test
