// SPDX-License-Identifier: Apache-2.0
#include "flow/ring_reader.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <poll.h>

#include <gtest/gtest.h>

#include "common/fd.h"

namespace weir::flow {
namespace {

constexpr bpf_insn instruction(uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm) {
    return {.code = code, .dst_reg = dst, .src_reg = src, .off = off, .imm = imm};
}

/// A program that puts `size` bytes, the first eight of them the packet's length, into a real ring
/// buffer: what the datapath does, without it.
struct RingReaderTest : testing::Test {
    void SetUp() override {
        const int raw = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "weir_t_ring", 0, 0, 16384, nullptr);
        if (raw < 0) GTEST_SKIP() << "needs CAP_BPF";
        map.emplace(raw);
    }

    Fd producer(int size) const {
        std::vector<bpf_insn> code;
        code.push_back(instruction(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_6, BPF_REG_1, 0, 0));
        for (int16_t offset = -8; offset >= -128; offset = static_cast<int16_t>(offset - 8)) {
            code.push_back(instruction(BPF_ST | BPF_MEM | BPF_DW, BPF_REG_10, 0, offset, 0));
        }
        code.push_back(instruction(BPF_STX | BPF_MEM | BPF_DW, BPF_REG_10, BPF_REG_6, -128, 0));
        code.push_back(
            instruction(BPF_LD | BPF_DW | BPF_IMM, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, map->get()));
        code.push_back(instruction(0, 0, 0, 0, 0));
        code.push_back(instruction(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_2, BPF_REG_10, 0, 0));
        code.push_back(instruction(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, -128));
        code.push_back(instruction(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_3, 0, 0, size));
        code.push_back(instruction(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_4, 0, 0, 0));
        code.push_back(instruction(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_ringbuf_output));
        code.push_back(instruction(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0));
        code.push_back(instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
        const int raw = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "weir_t_produce", "GPL", code.data(),
                                      code.size(), nullptr);
        EXPECT_GE(raw, 0) << strerror(errno);
        return Fd(raw);
    }

    static void run(const Fd& program, size_t packet_size) {
        std::vector<char> packet(packet_size);
        LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet.data(),
                    .data_size_in = static_cast<uint32_t>(packet.size()));
        ASSERT_EQ(bpf_prog_test_run_opts(program.get(), &options), 0);
    }

    static bool readable(int fd) {
        pollfd poll{.fd = fd, .events = POLLIN, .revents = 0};
        return ::poll(&poll, 1, 0) == 1;
    }

    std::optional<Fd> map;
};

TEST_F(RingReaderTest, HandsOutAtMostItsBudgetAndLosesNothing) {
    const Fd program = producer(sizeof(weir_event));
    std::vector<uint64_t> seen;
    auto reader = RingReader::open(map->get(),
                                   [&](const weir_event& event) { seen.push_back(event.time_ns); });
    ASSERT_TRUE(reader) << reader.error().message();
    EXPECT_FALSE(readable(reader->fd()));
    for (size_t i = 0; i < 10; ++i)
        run(program, 64 + i);
    EXPECT_TRUE(readable(reader->fd()));
    EXPECT_EQ(reader->read(4).value(), 4U);
    EXPECT_TRUE(readable(reader->fd()));
    EXPECT_EQ(reader->read(4).value(), 4U);
    EXPECT_EQ(reader->read(4).value(), 2U);
    EXPECT_EQ(reader->read(4).value(), 0U);
    EXPECT_FALSE(readable(reader->fd()));
    EXPECT_EQ(seen, (std::vector<uint64_t>{64, 65, 66, 67, 68, 69, 70, 71, 72, 73}));
}

TEST_F(RingReaderTest, RecordsOfAnotherSizeAreCountedNotRead) {
    const Fd program = producer(64);
    size_t seen = 0;
    auto reader = RingReader::open(map->get(), [&](const weir_event&) { ++seen; });
    ASSERT_TRUE(reader);
    run(program, 64);
    EXPECT_EQ(reader->read(10).value(), 1U);
    EXPECT_EQ(seen, 0U);
    EXPECT_EQ(reader->malformed(), 1U);
}

TEST_F(RingReaderTest, RefusesAMapOfAnotherType) {
    const Fd array(bpf_map_create(BPF_MAP_TYPE_ARRAY, "weir_t_array", 4, 4, 1, nullptr));
    const auto reader = RingReader::open(array.get(), [](const weir_event&) {});
    ASSERT_FALSE(reader);
    EXPECT_TRUE(reader.error().message().starts_with("open the ring buffer of flow events"));
}

}  // namespace
}  // namespace weir::flow
