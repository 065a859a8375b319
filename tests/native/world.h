// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "common/ip.h"
#include "native/host/machine.h"
#include "weir/config.h"
#include "weir/endpoint.h"
#include "weir/event.h"
#include "weir/lb.h"

/// The small cluster that fuzz targets run programs in.
namespace weir::native {

/// Stops the fuzzer with a reason: an invariant does not hold.
[[noreturn]] inline void broken(const std::string& invariant) {
    std::fprintf(stderr, "invariant: %s\n", invariant.c_str());
    std::abort();
}

weir_addr address(const char* text);

template <typename Key, typename Value>
void put(const char* map, const Key& key, const Value& value) {
    Map* found = Machine::get().find(map);
    if (found == nullptr || found->spec().key_size != sizeof key ||
        found->spec().value_size != sizeof value || found->update(&key, &value, BPF_ANY) != 0) {
        broken(std::string("cannot write to map ") + map);
    }
}

/// The configuration all objects run with: everything on.
weir_config world_config();

/// Two local pods (endpoint 1: 10.244.0.5, fd00:10:244::5; 2: ...6), one remote backend, Services
/// with and without endpoints on 10.96.0.10 to .13 and fd00:10:96::10 to ::13 for TCP, UDP and
/// SCTP, port 80; NodePort 30080 on the node's 192.0.2.1 and 2001:db8::1. Empties hashes first: the
/// same tables at each call.
void fill_world();

/// After a conversation: weir_ct_counts has each established entry; sometimes, as it takes long:
/// and nothing else. Takes them out of it, for the next fill_world() deletes them.
void check_counts();

/// Network namespaces of fill_world(): of the host, of pod 1, of pod 2 (which opted out).
constexpr uint64_t kHostNetns = 1;
constexpr uint64_t kPodNetns = 2;
constexpr uint64_t kOptedOutNetns = 3;

/// Addresses of fill_world(), for a fuzzer to choose from by number (any).
weir_addr some_address(uint8_t number, bool v6);

}  // namespace weir::native
