// SPDX-License-Identifier: Apache-2.0
#include "flow/ring_reader.h"

#include <cerrno>
#include <cstring>

#include <bpf/libbpf.h>

namespace weir::flow {

struct RingReader::State {
    struct Free {
        void operator()(ring_buffer* owned) const { ring_buffer__free(owned); }
    };
    std::unique_ptr<ring_buffer, Free> ring;
    Callback callback;
    size_t budget = 0;
    size_t seen = 0;
    uint64_t malformed = 0;
};

namespace {

// Tells libbpf to stop; it counts the event of this call as consumed.
constexpr int kStop = -ECANCELED;

}  // namespace

int RingReader::on_sample(void* context, void* data, size_t size) {
    auto& state = *static_cast<State*>(context);
    if (size < sizeof(weir_event)) {
        ++state.malformed;
    } else {
        weir_event event;
        std::memcpy(&event, data, sizeof event);
        state.callback(event);
    }
    return ++state.seen < state.budget ? 0 : kStop;
}

RingReader::RingReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
RingReader::RingReader(RingReader&&) noexcept = default;
RingReader& RingReader::operator=(RingReader&&) noexcept = default;
RingReader::~RingReader() = default;

Result<RingReader> RingReader::open(int map_fd, Callback callback) {
    auto state = std::make_unique<State>();
    state->callback = std::move(callback);
    state->ring.reset(ring_buffer__new(map_fd, &RingReader::on_sample, state.get(), nullptr));
    if (!state->ring) return fail_errno(errno, "open the ring buffer of flow events");
    return RingReader(std::move(state));
}

int RingReader::fd() const {
    return ring_buffer__epoll_fd(state_->ring.get());
}

Result<size_t> RingReader::read(size_t budget) {
    if (budget == 0) return 0;
    state_->budget = budget;
    state_->seen = 0;
    const int result = ring_buffer__consume(state_->ring.get());
    if (result < 0 && result != kStop) {
        return fail_errno(-result, "read the ring buffer of flow events");
    }
    return state_->seen;
}

uint64_t RingReader::malformed() const {
    return state_->malformed;
}

}  // namespace weir::flow
