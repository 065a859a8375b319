// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "weir/types.h"

/// Packets for fuzz targets: made whole, and judged by code that shares nothing with the programs'.
namespace weir::native {

using Packet = std::vector<uint8_t>;

struct PacketShape {
    bool v6 = false;
    uint8_t proto = 6;
    weir_addr saddr{};
    weir_addr daddr{};
    uint16_t sport = 0;  ///< host byte order; ICMP echo: the identifier
    uint16_t dport = 0;
    uint8_t tcp_flags = 0;
    uint8_t icmp_type = 0;
    uint8_t hop_limit = 64;
    uint8_t options = 0;    ///< 32-bit words of IPv4 options; IPv6: a destination-options header
    uint16_t fragment = 0;  ///< IPv4 flags and offset field; IPv6: a fragment header if not zero
    uint32_t fragment_id = 0;
    bool no_udp_checksum = false;  ///< IPv4 only
    Packet payload;  ///< of layer 4; an ICMP error's: the packet it is about, from IP on
};

/// An Ethernet frame with right checksums.
Packet make_packet(const PacketShape& shape);

/// An ARP frame: `sender` (IPv4, with a pod's MAC 02:00:00:00:00:`mac`) asks for, or tells,
/// `target`.
Packet make_arp(uint16_t operation, uint8_t mac, const weir_addr& sender, const weir_addr& target);

/// The same frame from the other side: addresses and ports exchanged, checksums still right. What
/// is no IP packet comes back as it is.
Packet turned_round(Packet frame);

/// What a frame says, as far as it is a whole, unfragmented TCP or UDP packet.
struct Tuple {
    weir_addr saddr{};
    weir_addr daddr{};
    uint16_t sport = 0;  ///< host byte order
    uint16_t dport = 0;
    uint8_t proto = 0;
};
std::optional<Tuple> tuple_of(std::span<const uint8_t> frame);

/// The source address of any IP packet.
std::optional<weir_addr> source_of(std::span<const uint8_t> frame);

enum class Checksums : uint8_t {
    kUnknown,  ///< not IP, cut short, or a fragment: nothing to be said
    kGood,     ///< those of IPv4 and of TCP, UDP, SCTP, ICMP, as far as there are any
    kBad,
};
Checksums judge_checksums(std::span<const uint8_t> frame);

}  // namespace weir::native
