// SPDX-License-Identifier: Apache-2.0
#include "model/text.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

namespace weir::model {

/// Followed by `size` characters and a NUL.
struct Text::Rep {
    std::atomic<uint32_t> references;
    uint32_t size;
    char* characters() { return reinterpret_cast<char*>(this + 1); }
};

Text::Text(std::string_view text) {
    if (text.empty()) return;
    void* memory = std::malloc(sizeof(Rep) + text.size() + 1);
    if (memory == nullptr) throw std::bad_alloc();
    rep_ = new (memory) Rep{1, static_cast<uint32_t>(text.size())};
    std::memcpy(rep_->characters(), text.data(), text.size());
    rep_->characters()[text.size()] = '\0';
}

Text::Text(const Text& other) noexcept : rep_(other.rep_) {
    if (rep_ != nullptr) rep_->references.fetch_add(1, std::memory_order_relaxed);
}

Text::~Text() {
    if (rep_ == nullptr) return;
    if (rep_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) std::free(rep_);
}

std::string_view Text::view() const {
    return rep_ == nullptr ? std::string_view() : std::string_view(rep_->characters(), rep_->size);
}

const char* Text::c_str() const {
    return rep_ == nullptr ? "" : rep_->characters();
}

bool Text::unique() const {
    return rep_ == nullptr || rep_->references.load(std::memory_order_acquire) == 1;
}

}  // namespace weir::model
