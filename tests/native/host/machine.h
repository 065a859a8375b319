// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <csetjmp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <linux/bpf.h>

#include "native/host/maps.h"

namespace weir::native {

/// Where a packet was sent by bpf_redirect(), _peer() or _neigh().
struct Redirect {
    uint32_t ifindex = 0;
    uint64_t flags = 0;
    enum class Kind : uint8_t { kNone, kDevice, kPeer, kNeighbour } kind = Kind::kNone;
};

/// The part of the kernel that programs see: maps, clock, chance, routes. One for the process; one
/// thread.
class Machine {
  public:
    static Machine& get();

    /// The map a helper was given: by the address of a program's map variable, or as an element of
    /// an array of maps. Aborts on anything else.
    Map& map(const void* handle);
    /// Null if there is none of that name.
    Map* find(const std::string& name);
    /// Creates the map unless there is one of that name, and knows it by `variable` from now on.
    Map& add(const MapSpec& spec, const void* variable);
    /// A map without a variable: the element of an array of maps.
    Map& add_inner(const MapSpec& spec);

    /// Ends a reservation, whichever ring it is of. Aborts if it is of none.
    void finish_record(void* record, bool submit);

    using Program = int (*)(void* context);
    /// Runs a program with its tail calls. Aborts if it leaves a ring reservation or a socket open.
    int run(Program program, void* context);
    /// Empties all hashes and rings; arrays keep what they hold.
    void clear_dynamic();

    void seed(uint64_t value) { chance_ = value | 1; }
    uint32_t random();

    uint64_t now_ns = 0;
    uint64_t netns_cookie = 0;
    uint64_t socket_cookie = 0;
    int retval = 0;
    Redirect redirect;
    /// bpf_fib_lookup(); by default nothing has a route.
    std::function<long(bpf_fib_lookup& params, uint32_t flags)> route;
    /// Sockets taken by bpf_sk_lookup_*() and not released yet.
    int sockets_held = 0;
    /// Callbacks given to bpf_timer_set_callback(), by timer, with their map.
    struct Timer {
        const void* map = nullptr;
        void* callback = nullptr;
        bool armed = false;
    };
    std::unordered_map<const void*, Timer> timers;

    /// For bpf_tail_call() only: does not return if the element is there.
    void tail_call(PointerMap& programs, uint32_t index);

  private:
    std::vector<std::unique_ptr<Map>> maps_;
    std::unordered_map<std::string, Map*> names_;
    std::unordered_map<const void*, Map*> handles_;
    uint64_t chance_ = 1;
    std::jmp_buf stage_{};
    Program next_ = nullptr;
    int tail_calls_ = 0;
};

}  // namespace weir::native
