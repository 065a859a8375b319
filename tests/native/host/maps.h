// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <linux/bpf.h>

/// Maps of BPF programs that run as code of this process: one thread, one CPU, no fault tolerance.
namespace weir::native {

struct MapSpec {
    std::string name;
    bpf_map_type type = BPF_MAP_TYPE_UNSPEC;
    uint32_t key_size = 0;
    uint32_t value_size = 0;
    uint32_t max_entries = 0;
};

/// What the map helpers ask for, as the kernel answers it: 0 or a pointer, or -errno or null.
/// Memory given out stays valid until end_of_run() even if the element goes, as under RCU.
class Map {
  public:
    explicit Map(MapSpec spec) : spec_(std::move(spec)) {}
    Map(const Map&) = delete;
    Map& operator=(const Map&) = delete;
    virtual ~Map() = default;

    [[nodiscard]] const MapSpec& spec() const { return spec_; }
    virtual void* lookup(const void* key) = 0;
    virtual long update(const void* key, const void* value, uint64_t flags) = 0;
    virtual long erase(const void* key) = 0;
    /// Keys there are, for iteration.
    virtual std::vector<std::string> keys() const = 0;
    /// Back to how it was created.
    virtual void clear() = 0;
    /// No program runs: what was deleted may be freed.
    virtual void end_of_run() {}

  private:
    MapSpec spec_;
};

/// Hash, LRU hash and longest-prefix table.
class KeyedMap : public Map {
  public:
    using Map::Map;
    void* lookup(const void* key) override;
    long update(const void* key, const void* value, uint64_t flags) override;
    long erase(const void* key) override;
    std::vector<std::string> keys() const override;
    void clear() override;
    void end_of_run() override { deleted_.clear(); }

  private:
    /// Each on the heap by itself, so that the address sanitizer sees a step beyond it.
    struct Element {
        std::unique_ptr<std::byte[]> value;
        uint64_t used = 0;
    };
    std::map<std::string, Element>::iterator find(const void* key);
    void make_room();

    std::map<std::string, Element> elements_;
    std::vector<std::unique_ptr<std::byte[]>> deleted_;
    uint64_t clock_ = 0;
};

/// Array and per-CPU array (there is one CPU).
class ArrayMap : public Map {
  public:
    explicit ArrayMap(const MapSpec& spec);
    void* lookup(const void* key) override;
    long update(const void* key, const void* value, uint64_t flags) override;
    long erase(const void* key) override;
    std::vector<std::string> keys() const override;
    void clear() override;

  private:
    struct Free {
        void operator()(void* memory) const;
    };
    size_t stride_;
    std::unique_ptr<void, Free> memory_;  ///< calloc: pages nobody touched cost nothing
};

/// Array of maps, and of programs: elements are host pointers, set by the harness.
class PointerMap : public Map {
  public:
    explicit PointerMap(const MapSpec& spec) : Map(spec), pointers_(spec.max_entries) {}
    void* lookup(const void* key) override;
    long update(const void* key, const void* value, uint64_t flags) override;
    long erase(const void* key) override;
    std::vector<std::string> keys() const override { return {}; }
    void clear() override {}
    void set(uint32_t index, void* pointer) { pointers_.at(index) = pointer; }
    [[nodiscard]] void* get(uint32_t index) const {
        return index < pointers_.size() ? pointers_[index] : nullptr;
    }

  private:
    std::vector<void*> pointers_;
};

/// Ring buffer. Records are kept until take().
class RingMap : public Map {
  public:
    using Map::Map;
    void* lookup(const void*) override { return nullptr; }
    long update(const void*, const void*, uint64_t) override;
    long erase(const void*) override;
    std::vector<std::string> keys() const override { return {}; }
    void clear() override;
    void* reserve(uint64_t size);
    /// False: not a reservation of this ring.
    bool finish(void* record, bool submit);
    std::vector<std::string> take() { return std::move(records_); }
    [[nodiscard]] size_t open_reservations() const { return reserved_.size(); }

  private:
    struct Reservation {
        std::unique_ptr<std::byte[]> memory;
        size_t size;
    };
    std::map<void*, Reservation> reserved_;
    std::vector<std::string> records_;
    uint64_t filled_ = 0;
};

std::unique_ptr<Map> make_map(const MapSpec& spec);

}  // namespace weir::native
