// SPDX-License-Identifier: Apache-2.0
#include "native/host/machine.h"

#include <cstdio>
#include <cstdlib>

namespace weir::native {
namespace {

constexpr int kMaxTailCalls = 33;  // as the kernel's MAX_TAIL_CALL_CNT

[[noreturn]] void bug(const char* what) {
    std::fprintf(stderr, "native host: %s\n", what);
    std::abort();
}

}  // namespace

Machine& Machine::get() {
    static Machine machine;
    return machine;
}

Map& Machine::map(const void* handle) {
    auto found = handles_.find(handle);
    if (found == handles_.end()) bug("a helper was given something that is no map");
    return *found->second;
}

Map* Machine::find(const std::string& name) {
    auto found = names_.find(name);
    return found == names_.end() ? nullptr : found->second;
}

Map& Machine::add(const MapSpec& spec, const void* variable) {
    Map* existing = find(spec.name);
    Map& map = existing != nullptr ? *existing : add_inner(spec);
    handles_[variable] = &map;
    return map;
}

Map& Machine::add_inner(const MapSpec& spec) {
    maps_.push_back(make_map(spec));
    Map& map = *maps_.back();
    handles_[&map] = &map;
    names_[spec.name] = &map;
    return map;
}

void Machine::finish_record(void* record, bool submit) {
    for (auto& map : maps_) {
        auto* ring = dynamic_cast<RingMap*>(map.get());
        if (ring != nullptr && ring->finish(record, submit)) return;
    }
    bug("a ring buffer record was submitted that is not reserved");
}

int Machine::run(Program program, void* context) {
    next_ = program;
    tail_calls_ = 0;
    redirect = {};
    retval = 0;
    setjmp(stage_);  // a tail call comes back here with the next stage
    const int verdict = next_(context);
    if (sockets_held != 0) bug("a socket was not released");
    for (auto& map : maps_) {
        if (auto* ring = dynamic_cast<RingMap*>(map.get());
            ring && ring->open_reservations() != 0) {
            bug("a ring buffer reservation was neither submitted nor discarded");
        }
        map->end_of_run();
    }
    return verdict;
}

void Machine::tail_call(PointerMap& programs, uint32_t index) {
    void* target = programs.get(index);
    if (target == nullptr || tail_calls_ == kMaxTailCalls) return;
    tail_calls_++;
    next_ = reinterpret_cast<Program>(target);
    longjmp(stage_, 1);
}

void Machine::clear_dynamic() {
    for (auto& map : maps_) {
        if (dynamic_cast<KeyedMap*>(map.get()) || dynamic_cast<RingMap*>(map.get())) map->clear();
    }
}

uint32_t Machine::random() {
    chance_ ^= chance_ << 13;
    chance_ ^= chance_ >> 7;
    chance_ ^= chance_ << 17;
    return static_cast<uint32_t>(chance_ >> 32);
}

}  // namespace weir::native
