// SPDX-License-Identifier: Apache-2.0
#include "native/host/maps.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include <fmt/format.h>

namespace weir::native {
namespace {

constexpr size_t kAlignment = 8;
constexpr size_t kRingHeader = 8;

std::string key_bytes(const void* key, size_t size) {
    return {static_cast<const char*>(key), size};
}

uint32_t index_of(const void* key) {
    uint32_t index = 0;
    std::memcpy(&index, key, sizeof index);
    return index;
}

/// Length of a longest-prefix key, and whether `prefix` covers `key` in its own length.
uint32_t prefix_length(const std::string& key) {
    return index_of(key.data());
}
bool covers(const std::string& prefix, const std::string& key) {
    const uint32_t bits = prefix_length(prefix);
    for (uint32_t bit = 0; bit < bits; bit++) {
        const size_t byte = sizeof(uint32_t) + bit / 8;
        const auto mask = static_cast<unsigned char>(0x80U >> (bit % 8));
        if (((prefix[byte] ^ key[byte]) & mask) != 0) return false;
    }
    return true;
}

}  // namespace

std::map<std::string, KeyedMap::Element>::iterator KeyedMap::find(const void* key) {
    const std::string bytes = key_bytes(key, spec().key_size);
    if (spec().type != BPF_MAP_TYPE_LPM_TRIE) return elements_.find(bytes);
    auto best = elements_.end();
    for (auto it = elements_.begin(); it != elements_.end(); ++it) {
        if (prefix_length(it->first) > prefix_length(bytes) || !covers(it->first, bytes)) continue;
        if (best == elements_.end() || prefix_length(it->first) > prefix_length(best->first))
            best = it;
    }
    return best;
}

void* KeyedMap::lookup(const void* key) {
    auto found = find(key);
    if (found == elements_.end()) return nullptr;
    found->second.used = ++clock_;
    return found->second.value.get();
}

void KeyedMap::make_room() {
    auto oldest = std::min_element(
        elements_.begin(), elements_.end(),
        [](const auto& a, const auto& b) { return a.second.used < b.second.used; });
    deleted_.push_back(std::move(oldest->second.value));
    elements_.erase(oldest);
}

long KeyedMap::update(const void* key, const void* value, uint64_t flags) {
    const std::string bytes = key_bytes(key, spec().key_size);
    const bool exists = elements_.contains(bytes);
    if (flags == BPF_NOEXIST && exists) return -EEXIST;
    if (flags == BPF_EXIST && !exists) return -ENOENT;
    if (!exists && elements_.size() >= spec().max_entries) {
        if (spec().type != BPF_MAP_TYPE_LRU_HASH) return -E2BIG;
        make_room();
    }
    Element& element = elements_[bytes];
    if (element.value) deleted_.push_back(std::move(element.value));  // an update is a new element
    element.value = std::make_unique<std::byte[]>(spec().value_size);
    element.used = ++clock_;
    std::memcpy(element.value.get(), value, spec().value_size);
    return 0;
}

long KeyedMap::erase(const void* key) {
    auto found = elements_.find(key_bytes(key, spec().key_size));
    if (found == elements_.end()) return -ENOENT;
    deleted_.push_back(std::move(found->second.value));
    elements_.erase(found);
    return 0;
}

std::vector<std::string> KeyedMap::keys() const {
    std::vector<std::string> result;
    for (const auto& [key, element] : elements_)
        result.push_back(key);
    return result;
}

void KeyedMap::clear() {
    elements_.clear();
    deleted_.clear();
}

void ArrayMap::Free::operator()(void* memory) const {
    std::free(memory);
}

ArrayMap::ArrayMap(const MapSpec& spec)
    : Map(spec),
      stride_((spec.value_size + kAlignment - 1) / kAlignment * kAlignment),
      memory_(std::calloc(spec.max_entries, stride_)) {
    if (!memory_) throw std::bad_alloc();
}

void* ArrayMap::lookup(const void* key) {
    const uint32_t index = index_of(key);
    if (index >= spec().max_entries) return nullptr;
    return static_cast<std::byte*>(memory_.get()) + index * stride_;
}

long ArrayMap::update(const void* key, const void* value, uint64_t flags) {
    void* element = lookup(key);
    if (element == nullptr) return -E2BIG;
    if (flags == BPF_NOEXIST) return -EEXIST;
    std::memcpy(element, value, spec().value_size);
    return 0;
}

long ArrayMap::erase(const void* /*key*/) {
    return -EINVAL;
}

std::vector<std::string> ArrayMap::keys() const {
    std::vector<std::string> result;
    for (uint32_t i = 0; i < spec().max_entries; i++)
        result.push_back(key_bytes(&i, sizeof i));
    return result;
}

void ArrayMap::clear() {
    std::memset(memory_.get(), 0, spec().max_entries * stride_);
}

void* PointerMap::lookup(const void* key) {
    return get(index_of(key));
}
long PointerMap::update(const void* /*key*/, const void* /*value*/, uint64_t /*flags*/) {
    return -EINVAL;
}
long PointerMap::erase(const void* /*key*/) {
    return -EINVAL;
}

long RingMap::update(const void* /*key*/, const void* /*value*/, uint64_t /*flags*/) {
    return -EINVAL;
}
long RingMap::erase(const void* /*key*/) {
    return -EINVAL;
}

void* RingMap::reserve(uint64_t size) {
    if (filled_ + size + kRingHeader > spec().max_entries) return nullptr;
    filled_ += size + kRingHeader;
    auto memory = std::make_unique<std::byte[]>(size);
    void* start = memory.get();
    reserved_.emplace(start, Reservation{.memory = std::move(memory), .size = size});
    return start;
}

bool RingMap::finish(void* record, bool submit) {
    auto found = reserved_.find(record);
    if (found == reserved_.end()) return false;
    if (submit) records_.push_back(key_bytes(record, found->second.size));
    reserved_.erase(found);
    return true;
}

void RingMap::clear() {
    reserved_.clear();
    records_.clear();
    filled_ = 0;
}

std::unique_ptr<Map> make_map(const MapSpec& spec) {
    switch (spec.type) {
        case BPF_MAP_TYPE_HASH:
        case BPF_MAP_TYPE_LRU_HASH:
        case BPF_MAP_TYPE_LPM_TRIE:
            return std::make_unique<KeyedMap>(spec);
        case BPF_MAP_TYPE_ARRAY:
        case BPF_MAP_TYPE_PERCPU_ARRAY:
            return std::make_unique<ArrayMap>(spec);
        case BPF_MAP_TYPE_ARRAY_OF_MAPS:
        case BPF_MAP_TYPE_PROG_ARRAY:
            return std::make_unique<PointerMap>(spec);
        case BPF_MAP_TYPE_RINGBUF:
            return std::make_unique<RingMap>(spec);
        default:
            throw std::runtime_error(fmt::format("map {}: no host implementation of type {}",
                                                 spec.name, int{spec.type}));
    }
}

}  // namespace weir::native
