// SPDX-License-Identifier: Apache-2.0
#include "datapath/map.h"

#include <algorithm>
#include <cerrno>
#include <charconv>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>

namespace weir::datapath {
namespace {

/// Elements moved by one system call: bounds the memory of a walk.
constexpr uint32_t kBatch = 4096;
/// A batch must hold a whole hash bucket; one that does not fit this many is an attack on the hash.
constexpr uint32_t kMaxBatch = 1U << 20;

bool is_percpu(uint32_t type) {
    return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_HASH ||
           type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
}

/// The kernel says ENOTSUPP (524), which libc does not know, or EINVAL where a type has no batches.
bool lacks_batches(int os_errno) {
    constexpr int kKernelNotSupported = 524;
    return os_errno == kKernelNotSupported || os_errno == EINVAL || os_errno == EOPNOTSUPP;
}

}  // namespace

size_t possible_cpus() {
    static const int count = libbpf_num_possible_cpus();
    return count > 0 ? static_cast<size_t>(count) : 1;
}

Failure RawMap::failed(int os_errno, std::string_view what) const {
    if (os_errno == E2BIG || os_errno == ENOSPC) {
        return fail(Errc::kExhausted, "map {}: {}: all {} elements are in use", info_.name, what,
                    info_.max_entries);
    }
    return fail_errno(os_errno, "map {}: {}", info_.name, what);
}

Result<RawMap> RawMap::from(Fd fd) {
    bpf_map_info raw{};
    uint32_t length = sizeof raw;
    if (const int error = bpf_obj_get_info_by_fd(fd.get(), &raw, &length); error != 0) {
        return fail_errno(-error, "read the facts of a map");
    }
    MapInfo info{.type = raw.type,
                 .id = raw.id,
                 .key_size = raw.key_size,
                 .value_size = raw.value_size,
                 .max_entries = raw.max_entries,
                 .flags = raw.map_flags,
                 .name = raw.name};
    return RawMap(std::move(fd), std::move(info));
}

Result<void> RawMap::expect(std::initializer_list<uint32_t> types, size_t key_size,
                            size_t value_size) const {
    if (std::ranges::find(types, info_.type) == types.end()) {
        return fail(Errc::kInvalid, "map {} has type {}, which is not the one expected", info_.name,
                    info_.type);
    }
    if (info_.key_size != key_size || info_.value_size != value_size) {
        return fail(Errc::kInvalid, "map {} has keys of {} and values of {} bytes, not {} and {}",
                    info_.name, info_.key_size, info_.value_size, key_size, value_size);
    }
    return {};
}

size_t RawMap::transfer_size() const {
    if (!is_percpu(info_.type)) return info_.value_size;
    return (info_.value_size + size_t{7}) / 8 * 8 * possible_cpus();
}

Result<bool> RawMap::find(const void* key, void* value) const {
    const int error = bpf_map_lookup_elem(fd_.get(), key, value);
    if (error == 0) return true;
    if (error == -ENOENT) return false;
    return failed(-error, "look up");
}

Result<void> RawMap::put(const void* key, const void* value, uint64_t flags) const {
    const int error = bpf_map_update_elem(fd_.get(), key, value, flags);
    if (error != 0) return failed(-error, "write");
    return {};
}

Result<bool> RawMap::erase(const void* key) const {
    const int error = bpf_map_delete_elem(fd_.get(), key);
    if (error == 0) return true;
    if (error == -ENOENT) return false;
    return failed(-error, "delete");
}

Result<void> RawMap::put_batch(const void* keys, const void* values, size_t count) const {
    const auto* key = static_cast<const std::byte*>(keys);
    const auto* value = static_cast<const std::byte*>(values);
    size_t done = 0;
    while (done < count) {
        auto n = static_cast<uint32_t>(std::min<size_t>(count - done, kMaxBatch));
        LIBBPF_OPTS(bpf_map_batch_opts, opts);
        const int error = bpf_map_update_batch(fd_.get(), key + done * info_.key_size,
                                               value + done * info_.value_size, &n, &opts);
        if (error == 0) {
            done += n;
            continue;
        }
        if (!lacks_batches(-error)) return failed(-error, "write a batch");
        for (; done < count; ++done) {
            WEIR_CHECK(put(key + done * info_.key_size, value + done * info_.value_size));
        }
    }
    return {};
}

Result<void> RawMap::erase_batch(const void* keys, size_t count) const {
    const auto* key = static_cast<const std::byte*>(keys);
    auto n = static_cast<uint32_t>(std::min<size_t>(count, kMaxBatch));
    LIBBPF_OPTS(bpf_map_batch_opts, opts);
    size_t done = 0;
    // A batch stops at the first missing key; what follows is done one by one, which skips them.
    if (count > 1 && bpf_map_delete_batch(fd_.get(), keys, &n, &opts) == 0) done = n;
    for (; done < count; ++done)
        WEIR_TRY(erase(key + done * info_.key_size));
    return {};
}

Result<void> RawMap::for_each(const std::function<bool(const void*, const void*)>& visit) const {
    uint32_t capacity = std::clamp<uint32_t>(info_.max_entries, 1, kBatch);
    const size_t value_size = transfer_size();
    std::vector<std::byte> keys;
    std::vector<std::byte> values;
    // Tokens are bucket numbers for hashes, which only grow. Elsewhere they are keys, and a deleted
    // one may send the walk back to the start: hence the bound.
    uint64_t budget = 2 * uint64_t{info_.max_entries} + kBatch;
    std::vector<std::byte> token(std::max<size_t>(info_.key_size, sizeof(uint64_t)));
    bool first = true;
    for (;;) {
        keys.resize(size_t{capacity} * info_.key_size);
        values.resize(capacity * value_size);
        uint32_t n = capacity;
        LIBBPF_OPTS(bpf_map_batch_opts, opts);
        std::vector<std::byte> next(token.size());
        const int error = bpf_map_lookup_batch(fd_.get(), first ? nullptr : token.data(),
                                               next.data(), keys.data(), values.data(), &n, &opts);
        if (error == -ENOSPC && capacity < kMaxBatch) {
            capacity *= 2;
            continue;
        }
        if (first && lacks_batches(-error)) return walk_by_key(visit);
        if (error != 0 && error != -ENOENT) return failed(-error, "read a batch");
        for (uint32_t i = 0; i < n; ++i) {
            if (!visit(keys.data() + size_t{i} * info_.key_size, values.data() + i * value_size)) {
                return {};
            }
        }
        if (error == -ENOENT || n >= budget) return {};
        budget -= n;
        token = std::move(next);
        first = false;
    }
}

Result<void> RawMap::walk_by_key(const std::function<bool(const void*, const void*)>& visit) const {
    std::vector<std::byte> key(info_.key_size);
    std::vector<std::byte> next(info_.key_size);
    std::vector<std::byte> value(transfer_size());
    // A key deleted under the walk sends it back to the start: bounded, not endless.
    uint64_t steps = 2 * uint64_t{info_.max_entries} + 16;
    bool first = true;
    while (steps-- > 0) {
        const int error =
            bpf_map_get_next_key(fd_.get(), first ? nullptr : key.data(), next.data());
        if (error == -ENOENT) return {};
        if (error != 0) return failed(-error, "walk");
        first = false;
        key.swap(next);
        if (WEIR_TRY(find(key.data(), value.data())) && !visit(key.data(), value.data())) return {};
    }
    return {};
}

Result<size_t> RawMap::count() const {
    size_t n = 0;
    WEIR_CHECK(for_each([&](const void*, const void*) {
        ++n;
        return true;
    }));
    return n;
}

Result<uint64_t> RawMap::memory() const {
    const auto text = WEIR_TRY(read_file(fmt::format("/proc/self/fdinfo/{}", fd_.get())));
    constexpr std::string_view kField = "memlock:";
    const size_t at = text.find(kField);
    if (at == std::string::npos) {
        return fail(Errc::kUnsupported, "map {}: the kernel does not say its memory", info_.name);
    }
    const size_t digits = text.find_first_of("0123456789", at);
    uint64_t bytes = 0;
    if (digits != std::string::npos) {
        std::from_chars(text.data() + digits, text.data() + text.size(), bytes);
    }
    return bytes;
}

ArrayWindows::ArrayWindows(const RawMap& map)
    : fd_(map.fd()),
      name_(map.info().name),
      stride_((map.info().value_size + size_t{7}) / 8 * 8),
      length_(stride_ * map.info().max_entries) {}

Result<std::unique_ptr<ArrayWindows>> ArrayWindows::open(const RawMap& map) {
    std::unique_ptr<ArrayWindows> self(new ArrayWindows(map));
    WEIR_CHECK(self->move(self->windows_[0], 0));  // a map that cannot be mapped says so now
    return self;
}

ArrayWindows::~ArrayWindows() {
    for (const Window& window : windows_) {
        if (window.base != nullptr) ::munmap(window.base, window.length);
    }
}

Result<std::span<std::byte>> ArrayWindows::from(uint32_t index) {
    const size_t offset = index * stride_;
    const size_t number = offset / kBytes;
    auto* window = std::ranges::find(windows_, number, &Window::number);
    if (window == windows_.end()) {
        window = &windows_[next_++ % kCount];
        WEIR_CHECK(move(*window, number));
    }
    return std::span(window->base, window->length).subspan(offset % kBytes);
}

// An element may reach beyond its window's end, so a window is longer than it is apart from the
// next.
Result<void> ArrayWindows::move(Window& window, size_t number) const {
    if (window.base != nullptr) ::munmap(window.base, window.length);
    window = {};
    const size_t begin = number * kBytes;
    const size_t length = std::min(kBytes + stride_, length_ - begin);
    void* base =
        ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, static_cast<off_t>(begin));
    if (base == MAP_FAILED) return fail_errno(errno, "map the array {}", name_);
    window = {number, static_cast<std::byte*>(base), length};
    return {};
}

}  // namespace weir::datapath
