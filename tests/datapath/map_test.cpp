// SPDX-License-Identifier: Apache-2.0
// Typed maps on the kernel, with no BPF object.
#include "datapath/map.h"

#include <atomic>
#include <cstdio>
#include <fstream>
#include <set>
#include <thread>

#include <bpf/bpf.h>

#include <gtest/gtest.h>

#include "datapath/fixture.h"

namespace weir::datapath::test {
namespace {

Fd make(bpf_map_type type, uint32_t key, uint32_t value, uint32_t entries, uint32_t flags = 0) {
    LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags);
    const int fd = bpf_map_create(type, "weir_test", key, value, entries, &opts);
    EXPECT_GE(fd, 0);
    return Fd(fd);
}

using TestHash = HashMap<uint32_t, uint64_t>;

TEST(MapTest, AnotherShapeIsRefusedByName) {
    for (Fd& fd : std::array{make(BPF_MAP_TYPE_HASH, 4, 4, 8), make(BPF_MAP_TYPE_HASH, 8, 8, 8),
                             make(BPF_MAP_TYPE_LRU_HASH, 4, 8, 8)}) {
        const auto map = TestHash::from(std::move(fd));
        ASSERT_FALSE(map);
        EXPECT_EQ(map.error().code(), Errc::kInvalid);
        EXPECT_NE(map.error().message().find("weir_test"), std::string::npos);
    }
}

TEST(MapTest, PutFindEraseAndBatches) {
    const auto map = TestHash::from(make(BPF_MAP_TYPE_HASH, 4, 8, 10000));
    WEIR_ASSERT_OK(map);
    EXPECT_FALSE(map->find(1)->has_value());
    WEIR_ASSERT_OK(map->put(1, 11));
    EXPECT_EQ(map->find(1)->value(), 11U);
    EXPECT_TRUE(map->erase(1).value());
    EXPECT_FALSE(map->erase(1).value());
    std::vector<uint32_t> keys;
    std::vector<uint64_t> values;
    for (uint32_t i = 0; i < 10000; ++i) {
        keys.push_back(i);
        values.push_back(i * 3);
    }
    WEIR_ASSERT_OK(map->put_batch(keys, values));
    EXPECT_EQ(map->raw().count().value(), 10000U);
    EXPECT_EQ(map->find(9999)->value(), 29997U);
    WEIR_ASSERT_OK(map->erase(5000));
    WEIR_ASSERT_OK(map->erase_batch(keys));
    EXPECT_EQ(map->raw().count().value(), 0U);
}

TEST(MapTest, AFullTableSaysSo) {
    const auto map = TestHash::from(make(BPF_MAP_TYPE_HASH, 4, 8, 2));
    WEIR_ASSERT_OK(map);
    WEIR_ASSERT_OK(map->put(1, 1));
    WEIR_ASSERT_OK(map->put(2, 1));
    const auto full = map->put(3, 1);
    ASSERT_FALSE(full);
    EXPECT_EQ(full.error().code(), Errc::kExhausted);
    EXPECT_NE(full.error().message().find("weir_test"), std::string::npos);
}

// Elements that stay are all seen, and the walk ends, while others come and go as fast as they can.
TEST(MapTest, AWalkOfAChangingTableEnds) {
    for (const uint32_t flags : {0U, uint32_t{BPF_F_NO_PREALLOC}}) {
        const auto map = TestHash::from(make(BPF_MAP_TYPE_HASH, 4, 8, 8192, flags));
        WEIR_ASSERT_OK(map);
        for (uint32_t i = 0; i < 1000; ++i)
            WEIR_ASSERT_OK(map->put(i, i));
        std::atomic<bool> stop = false;
        std::thread writer([&] {
            for (uint32_t i = 0; !stop; ++i) {
                (void)map->put(100000 + i % 4000, i);
                (void)map->erase(100000 + (i + 2000) % 4000);
            }
        });
        for (int round = 0; round < 20; ++round) {
            std::set<uint32_t> seen;
            const auto walked = map->for_each([&](uint32_t key, uint64_t) {
                if (key < 1000) seen.insert(key);
            });
            EXPECT_TRUE(walked);
            EXPECT_EQ(seen.size(), 1000U);
        }
        stop = true;
        writer.join();
    }
}

TEST(MapTest, AWalkOfAChangingLpmEnds) {
    struct Key {
        uint32_t length;
        uint32_t address;
    };
    const auto map = LpmMap<Key, uint32_t>::from(
        make(BPF_MAP_TYPE_LPM_TRIE, sizeof(Key), 4, 512, BPF_F_NO_PREALLOC));
    WEIR_ASSERT_OK(map);
    std::atomic<bool> stop = false;
    std::thread writer([&] {
        for (uint32_t i = 0; !stop; ++i) {
            (void)map->put({32, i % 256}, i);
            (void)map->erase({32, (i + 128) % 256});
        }
    });
    for (int round = 0; round < 200; ++round) {
        size_t n = 0;
        EXPECT_TRUE(map->for_each([&](const Key&, uint32_t) { ++n; }));
        EXPECT_LE(n, 2 * 512U + 4096U);
    }
    stop = true;
    writer.join();
}

TEST(MapTest, MappedArraysAreTheKernelsMemory) {
    struct Value {
        uint64_t a;
        uint32_t b[3];
    };
    const auto array =
        ArrayMap<Value>::from(make(BPF_MAP_TYPE_ARRAY, 4, sizeof(Value), 100, BPF_F_MMAPABLE));
    WEIR_ASSERT_OK(array);
    WEIR_ASSERT_OK(array->put(99, {.a = 5, .b = {1, 2, 3}}));
    WEIR_ASSERT_OK(array->store64(99, 0, 0x1122334455667788));
    Value direct{};
    const uint32_t key = 99;
    EXPECT_TRUE(array->raw().find(&key, &direct).value());
    EXPECT_EQ(direct.a, 0x1122334455667788U);
    EXPECT_EQ(direct.b[2], 3U);
    EXPECT_EQ(array->get(98)->a, 0U);
    EXPECT_EQ(array->get(100).error().code(), Errc::kExhausted);
    EXPECT_FALSE(array->store64(99, 4, 1));
    EXPECT_FALSE(array->store64(99, sizeof(Value), 1));
}

/// Bytes of this process's address space that are BPF maps.
size_t mapped_bytes() {
    std::ifstream maps("/proc/self/maps");
    size_t total = 0;
    for (std::string line; std::getline(maps, line);) {
        if (line.find("bpf-map") == std::string::npos) continue;
        size_t begin = 0;
        size_t end = 0;
        std::sscanf(line.c_str(), "%zx-%zx", &begin, &end);  // NOLINT(cert-err34-c)
        total += end - begin;
    }
    return total;
}

TEST(MapTest, OfALargeArrayOnlyWindowsAreMapped) {
    struct Value {
        uint64_t words[3];  // no divisor of a window's size: some lie across its end
    };
    constexpr uint32_t kEntries = 200'000;
    const size_t before = mapped_bytes();
    const auto array =
        ArrayMap<Value>::from(make(BPF_MAP_TYPE_ARRAY, 4, sizeof(Value), kEntries, BPF_F_MMAPABLE));
    WEIR_ASSERT_OK(array);
    for (uint32_t i = 0; i < kEntries; i += 7) {
        const uint32_t index = i * 7919ULL % kEntries;
        WEIR_ASSERT_OK(array->put(index, {index, 1, 2}));
        WEIR_ASSERT_OK(array->store64(index, 16, index + 3));
    }
    WEIR_ASSERT_OK(array->put(kEntries - 1, {kEntries - 1, 1, kEntries + 2}));
    size_t written = 0;
    WEIR_ASSERT_OK(array->for_each([&](uint32_t index, const Value& value) {
        if (value.words[1] == 0) return;
        ++written;
        EXPECT_EQ(value.words[0], index);
        EXPECT_EQ(value.words[2], index + 3);
    }));
    EXPECT_GT(written, kEntries / 8);
    EXPECT_LE(mapped_bytes() - before, ArrayWindows::kCount * (ArrayWindows::kBytes + 8192));
}

// Values of 20 bytes stand 24 apart, which does not divide a window: elements reach over its end.
TEST(MapTest, RangesAndWalksCrossTheWindowsOfAMappedArray) {
    using Value = std::array<uint32_t, 5>;
    constexpr uint32_t kInWindow = ArrayWindows::kBytes / 24;
    constexpr uint32_t kElements = 3 * kInWindow + 5;
    const auto map =
        ArrayMap<Value>::from(make(BPF_MAP_TYPE_ARRAY, 4, 20, kElements, BPF_F_MMAPABLE));
    WEIR_ASSERT_OK(map);
    std::vector<Value> values(kElements - 7);
    for (uint32_t i = 0; i < values.size(); ++i)
        values[i] = {i, i * 3, ~i, i + 1, i ^ 5};
    WEIR_ASSERT_OK(map->put_range(7, values));
    EXPECT_FALSE(map->put_range(8, values));
    uint32_t next = 0;
    WEIR_ASSERT_OK(map->for_each([&](uint32_t index, const Value& value) {
        ASSERT_EQ(index, next++);
        ASSERT_EQ(value, index < 7 ? Value{} : values[index - 7]) << index;
    }));
    EXPECT_EQ(next, kElements);
    // As the kernel sees it.
    for (const uint32_t index : {7U, kInWindow, kInWindow + 1, kElements - 1}) {
        Value value{};
        EXPECT_TRUE(map->raw().find(&index, &value).value());
        EXPECT_EQ(value, values[index - 7]) << index;
    }
}

TEST(MapTest, PlainArraysWorkBySystemCall) {
    const auto array = ArrayMap<uint64_t>::from(make(BPF_MAP_TYPE_ARRAY, 4, 8, 10));
    WEIR_ASSERT_OK(array);
    WEIR_ASSERT_OK(array->put(9, 7));
    EXPECT_EQ(array->get(9).value(), 7U);
    EXPECT_FALSE(array->store64(9, 0, 1)) << "not atomic";
}

TEST(MapTest, MemoryIsWhatTheKernelCharges) {
    const auto small = TestHash::from(make(BPF_MAP_TYPE_HASH, 4, 8, 100));
    const auto large = TestHash::from(make(BPF_MAP_TYPE_HASH, 4, 8, 100000));
    EXPECT_GT(large->raw().memory().value(), 100000U * 12);
    EXPECT_LT(small->raw().memory().value(), 100000U);
}

}  // namespace
}  // namespace weir::datapath::test
