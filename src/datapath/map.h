// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <linux/bpf.h>

#include "common/fd.h"
#include "common/result.h"

namespace weir::datapath {

/// What the kernel says about a map.
struct MapInfo {
    uint32_t type = 0;  ///< enum bpf_map_type
    uint32_t id = 0;
    uint32_t key_size = 0;
    uint32_t value_size = 0;
    uint32_t max_entries = 0;
    uint32_t flags = 0;
    std::string name;
};

/// An untyped map: the system calls, with errors that name the map. Any thread.
class RawMap {
  public:
    /// Takes a map's descriptor and reads its facts.
    static Result<RawMap> from(Fd fd);

    [[nodiscard]] const MapInfo& info() const { return info_; }
    [[nodiscard]] int fd() const { return fd_.get(); }

    /// False: no such key.
    [[nodiscard]] Result<bool> find(const void* key, void* value) const;
    /// `flags`: BPF_ANY, BPF_NOEXIST, BPF_EXIST. A full table is kExhausted.
    [[nodiscard]] Result<void> put(const void* key, const void* value,
                                   uint64_t flags = BPF_ANY) const;
    /// False: it was not there.
    [[nodiscard]] Result<bool> erase(const void* key) const;
    /// One system call where the kernel can, else one an element; stops at the first failure.
    [[nodiscard]] Result<void> put_batch(const void* keys, const void* values, size_t count) const;
    /// Missing keys are fine.
    [[nodiscard]] Result<void> erase_batch(const void* keys, size_t count) const;
    /// Calls `visit(key, value)` for the elements until it returns false. Ends on a map that
    /// changes all the while: an element that stays is seen, one that comes or goes may be.
    [[nodiscard]] Result<void> for_each(
        const std::function<bool(const void*, const void*)>& visit) const;
    /// Elements, by a walk.
    [[nodiscard]] Result<size_t> count() const;
    /// Kernel memory charged for it, bytes.
    [[nodiscard]] Result<uint64_t> memory() const;

    /// kInvalid unless type and sizes are these.
    [[nodiscard]] Result<void> expect(std::initializer_list<uint32_t> types, size_t key_size,
                                      size_t value_size) const;
    /// Size of a value as the system calls move it: for per-CPU maps, all CPUs'.
    [[nodiscard]] size_t transfer_size() const;

  private:
    RawMap(Fd fd, MapInfo info) : fd_(std::move(fd)), info_(std::move(info)) {}
    [[nodiscard]] Result<void> walk_by_key(
        const std::function<bool(const void*, const void*)>& visit) const;
    [[nodiscard]] Failure failed(int os_errno, std::string_view what) const;

    Fd fd_;
    MapInfo info_;
};

/// Possible CPUs, the number of values in an element of a per-CPU map.
size_t possible_cpus();

/// What typed maps share; `Types` are the map types it stands for.
template <typename Key, typename Value, uint32_t... Types>
class TypedMap {
    static_assert(std::is_trivially_copyable_v<Key> && std::is_trivially_copyable_v<Value>);

  public:
    using key_type = Key;
    using value_type = Value;

    /// kInvalid if the map is not of this shape.
    static Result<TypedMap> from(Fd fd) {
        auto raw = WEIR_TRY(RawMap::from(std::move(fd)));
        WEIR_CHECK(raw.expect({Types...}, sizeof(Key), sizeof(Value)));
        return TypedMap(std::move(raw));
    }

    [[nodiscard]] const RawMap& raw() const { return raw_; }
    [[nodiscard]] Result<std::optional<Value>> find(const Key& key) const {
        Value value;
        if (!WEIR_TRY(raw_.find(&key, &value))) return std::nullopt;
        return value;
    }
    [[nodiscard]] Result<void> put(const Key& key, const Value& value,
                                   uint64_t flags = BPF_ANY) const {
        return raw_.put(&key, &value, flags);
    }
    [[nodiscard]] Result<bool> erase(const Key& key) const { return raw_.erase(&key); }
    [[nodiscard]] Result<void> put_batch(std::span<const Key> keys,
                                         std::span<const Value> values) const {
        return raw_.put_batch(keys.data(), values.data(), std::min(keys.size(), values.size()));
    }
    [[nodiscard]] Result<void> erase_batch(std::span<const Key> keys) const {
        return raw_.erase_batch(keys.data(), keys.size());
    }
    /// See RawMap::for_each.
    template <typename Visit>
    [[nodiscard]] Result<void> for_each(Visit&& visit) const {
        return raw_.for_each([&](const void* raw_key, const void* raw_value) {
            Key key;
            Value value;
            std::memcpy(&key, raw_key, sizeof key);
            std::memcpy(&value, raw_value, sizeof value);
            if constexpr (std::is_same_v<decltype(visit(key, value)), bool>) {
                return visit(key, value);
            } else {
                visit(key, value);
                return true;
            }
        });
    }
    [[nodiscard]] Result<std::vector<std::pair<Key, Value>>> all() const {
        std::vector<std::pair<Key, Value>> entries;
        WEIR_CHECK(for_each(
            [&](const Key& key, const Value& value) { entries.emplace_back(key, value); }));
        return entries;
    }

  private:
    explicit TypedMap(RawMap raw) : raw_(std::move(raw)) {}
    RawMap raw_;
};

template <typename Key, typename Value>
using HashMap = TypedMap<Key, Value, BPF_MAP_TYPE_HASH>;
template <typename Key, typename Value>
using LruMap = TypedMap<Key, Value, BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_LRU_PERCPU_HASH>;
template <typename Key, typename Value>
using LpmMap = TypedMap<Key, Value, BPF_MAP_TYPE_LPM_TRIE>;

/// Maps an array's values (BPF_F_MMAPABLE) where they are used, a window at a time. A mapping of
/// the whole would count every page of the table as this process's memory, too. Any thread; an
/// address is good until the lock is let go.
class ArrayWindows {
  public:
    /// The map must be open for writing.
    static Result<std::unique_ptr<ArrayWindows>> open(const RawMap& map);
    ArrayWindows(const ArrayWindows&) = delete;
    ArrayWindows& operator=(const ArrayWindows&) = delete;
    ~ArrayWindows();

    [[nodiscard]] std::unique_lock<std::mutex> lock() { return std::unique_lock(mutex_); }
    /// The element and, as far as its window goes, those behind it; under the lock.
    [[nodiscard]] Result<std::span<std::byte>> from(uint32_t index);

    [[nodiscard]] size_t stride() const { return stride_; }

    static constexpr size_t kBytes = 64 << 10;
    static constexpr size_t kCount = 8;

  private:
    struct Window {
        size_t number = SIZE_MAX;  ///< in units of kBytes; SIZE_MAX: unused
        std::byte* base = nullptr;
        size_t length = 0;
    };
    explicit ArrayWindows(const RawMap& map);
    Result<void> move(Window& window, size_t number) const;

    std::mutex mutex_;
    int fd_;  ///< the map's
    std::string name_;
    size_t stride_;  ///< from one value to the next, as the kernel lays arrays out
    size_t length_;  ///< of all values
    std::array<Window, kCount> windows_;
    size_t next_ = 0;  ///< to be moved elsewhere
};

/// An array; its values are mapped where the map allows it, so that most writes cost no system call
/// and aligned 64-bit words can be stored at once.
template <typename Value>
class ArrayMap {
    static_assert(std::is_trivially_copyable_v<Value>);

  public:
    using value_type = Value;

    /// `writable` false: for a map opened read-only, which the kernel does not let be mapped.
    static Result<ArrayMap> from(Fd fd, bool writable = true) {
        auto raw = WEIR_TRY(RawMap::from(std::move(fd)));
        WEIR_CHECK(raw.expect({BPF_MAP_TYPE_ARRAY}, sizeof(uint32_t), sizeof(Value)));
        std::unique_ptr<ArrayWindows> windows;
        if (writable && (raw.info().flags & BPF_F_MMAPABLE) != 0) {
            windows = WEIR_TRY(ArrayWindows::open(raw));
        }
        return ArrayMap(std::move(raw), std::move(windows));
    }

    [[nodiscard]] const RawMap& raw() const { return raw_; }
    [[nodiscard]] uint32_t size() const { return raw_.info().max_entries; }
    [[nodiscard]] Result<Value> get(uint32_t index) const {
        WEIR_CHECK(check(index));
        Value value;
        if (!windows_) {
            WEIR_TRY(raw_.find(&index, &value));
            return value;
        }
        const auto lock = windows_->lock();
        std::memcpy(&value, WEIR_TRY(windows_->from(index)).data(), sizeof value);
        return value;
    }
    /// Calls `visit(index, value)` for all elements; few system calls.
    template <typename Visit>
    [[nodiscard]] Result<void> for_each(Visit&& visit) const {
        if (windows_) return walk_windows(visit);
        return raw_.for_each([&](const void* key, const void* raw_value) {
            uint32_t index = 0;
            Value value;
            std::memcpy(&index, key, sizeof index);
            std::memcpy(&value, raw_value, sizeof value);
            visit(index, value);
            return true;
        });
    }
    /// The whole value; a reader may see it half written (use store64 for what must not be).
    [[nodiscard]] Result<void> put(uint32_t index, const Value& value) const {
        WEIR_CHECK(check(index));
        if (!windows_) return raw_.put(&index, &value);
        const auto lock = windows_->lock();
        std::memcpy(WEIR_TRY(windows_->from(index)).data(), &value, sizeof value);
        return {};
    }
    [[nodiscard]] Result<void> put_range(uint32_t first, std::span<const Value> values) const {
        if (values.empty()) return {};
        WEIR_CHECK(check(first));
        WEIR_CHECK(check(first + static_cast<uint32_t>(values.size()) - 1));
        if (!windows_) {
            for (uint32_t i = 0; i < values.size(); ++i)
                WEIR_CHECK(put(first + i, values[i]));
            return {};
        }
        const auto lock = windows_->lock();
        while (!values.empty()) {
            const auto bytes = WEIR_TRY(windows_->from(first));
            const size_t count = std::min(values.size(), bytes.size() / windows_->stride());
            for (size_t i = 0; i < count; ++i)
                std::memcpy(&bytes[i * windows_->stride()], &values[i], sizeof(Value));
            first += static_cast<uint32_t>(count);
            values = values.subspan(count);
        }
        return {};
    }
    /// One aligned word of a value, by one store that orders all writes before it (release). Only
    /// on a mapped array; `offset` is a multiple of 8 within the value.
    [[nodiscard]] Result<void> store64(uint32_t index, size_t offset, uint64_t word) const {
        WEIR_CHECK(check(index));
        if (!windows_ || offset % 8 != 0 || offset + 8 > sizeof(Value)) {
            return fail(Errc::kInternal, "map {}: no atomic store at offset {}", raw_.info().name,
                        offset);
        }
        const auto lock = windows_->lock();
        auto* target = reinterpret_cast<uint64_t*>(&WEIR_TRY(windows_->from(index))[offset]);
        std::atomic_ref<uint64_t>(*target).store(word, std::memory_order_release);
        return {};
    }

  private:
    ArrayMap(RawMap raw, std::unique_ptr<ArrayWindows> windows)
        : raw_(std::move(raw)), windows_(std::move(windows)) {}
    /// A window's elements are copied under the lock, then shown without it.
    template <typename Visit>
    [[nodiscard]] Result<void> walk_windows(Visit& visit) const {
        std::vector<Value> part;
        for (uint32_t first = 0; first < size(); first += static_cast<uint32_t>(part.size())) {
            {
                const auto lock = windows_->lock();
                const auto bytes = WEIR_TRY(windows_->from(first));
                const size_t stride = windows_->stride();
                part.resize(std::min<size_t>(size() - first, bytes.size() / stride));
                for (size_t i = 0; i < part.size(); ++i)
                    std::memcpy(&part[i], &bytes[i * stride], sizeof(Value));
            }
            for (uint32_t i = 0; i < part.size(); ++i)
                visit(first + i, part[i]);
        }
        return {};
    }
    [[nodiscard]] Result<void> check(uint32_t index) const {
        if (index < size()) return {};
        return fail(Errc::kExhausted, "map {}: index {} is beyond its {} elements",
                    raw_.info().name, index, size());
    }

    RawMap raw_;
    std::unique_ptr<ArrayWindows> windows_;
};

/// Counters: one value a CPU.
template <typename Value>
class PercpuArray {
    static_assert(std::is_trivially_copyable_v<Value>);

  public:
    static Result<PercpuArray> from(Fd fd) {
        auto raw = WEIR_TRY(RawMap::from(std::move(fd)));
        WEIR_CHECK(raw.expect({BPF_MAP_TYPE_PERCPU_ARRAY}, sizeof(uint32_t), sizeof(Value)));
        return PercpuArray(std::move(raw));
    }
    [[nodiscard]] const RawMap& raw() const { return raw_; }
    [[nodiscard]] uint32_t size() const { return raw_.info().max_entries; }
    /// One value a possible CPU.
    [[nodiscard]] Result<std::vector<Value>> get(uint32_t index) const {
        std::vector<std::byte> bytes(raw_.transfer_size());
        if (!WEIR_TRY(raw_.find(&index, bytes.data()))) {
            return fail(Errc::kNotFound, "map {}: no element {}", raw_.info().name, index);
        }
        const size_t stride = bytes.size() / possible_cpus();
        std::vector<Value> values(possible_cpus());
        for (size_t cpu = 0; cpu < values.size(); ++cpu) {
            std::memcpy(&values[cpu], bytes.data() + cpu * stride, sizeof(Value));
        }
        return values;
    }

  private:
    explicit PercpuArray(RawMap raw) : raw_(std::move(raw)) {}
    RawMap raw_;
};

}  // namespace weir::datapath
