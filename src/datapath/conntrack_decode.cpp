// SPDX-License-Identifier: Apache-2.0
#include "datapath/conntrack_decode.h"

#include <cstring>
#include <utility>

#include <arpa/inet.h>

namespace weir::datapath {
namespace {

struct Ends {
    std::array<FlowEnd, 2> end;
    uint8_t proto = 0;
};

Ends read_key(const void* key, size_t key_size) {
    Ends ends;
    if (key_size == sizeof(weir_ct_key4)) {
        weir_ct_key4 k;
        std::memcpy(&k, key, sizeof k);
        for (size_t i = 0; i < 2; ++i) {
            ends.end[i] = {IpAddress::v4(ntohl(k.addr[i])), ntohs(k.port[i])};
        }
        ends.proto = k.proto;
        return ends;
    }
    weir_ct_key6 k;
    std::memcpy(&k, key, sizeof k);
    for (size_t i = 0; i < 2; ++i)
        ends.end[i] = {IpAddress(k.addr[i]), ntohs(k.port[i])};
    ends.proto = k.proto;
    return ends;
}

}  // namespace

TrackedFlow decode_flow(const void* key, size_t key_size, const weir_ct& entry, bool established) {
    const Ends ends = read_key(key, key_size);
    const size_t origin = (entry.flags & WEIR_CT_ORIG_SECOND) != 0 ? 1 : 0;
    TrackedFlow flow;
    flow.established = established;
    flow.proto = ends.proto;
    flow.source = ends.end[origin];
    flow.destination = ends.end[1 - origin];
    if ((entry.flags & (WEIR_CT_REWRITE_ORIG | WEIR_CT_REWRITE_REPLY)) != 0) {
        flow.nat_source = {IpAddress(entry.nat_addr[0]), ntohs(entry.nat_port[0])};
        flow.nat_destination = {IpAddress(entry.nat_addr[1]), ntohs(entry.nat_port[1])};
    }
    flow.flags = entry.flags;
    flow.kind = entry.kind;
    flow.tcp_flags = {entry.tcp_flags[0], entry.tcp_flags[1]};
    flow.endpoint = {entry.endpoint[0], entry.endpoint[1]};
    flow.service = entry.service;
    flow.backend = entry.backend;
    flow.ifindex = entry.ifindex;
    flow.created = entry.created;
    flow.seen = entry.seen;
    flow.expires = entry.expires;
    return flow;
}

}  // namespace weir::datapath
