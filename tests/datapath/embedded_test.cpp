// SPDX-License-Identifier: Apache-2.0
// The programs that ship: they load, take over from one another, sweep, and go without a trace.
#include "datapath/embedded.h"

#include <chrono>

#include "datapath/cleanup.h"
#include "datapath/fixture.h"
#include "datapath/programs.h"
#include "datapath/reader.h"
#include "datapath/sweep.h"

namespace weir::datapath::test {
namespace {

weir_config shipped_config() {
    weir_config config{};
    config.flags = WEIR_CFG_SOCK_PODS | WEIR_CFG_SOCK_HOST | WEIR_CFG_MASQ4 | WEIR_CFG_MASQ6 |
                   WEIR_CFG_FLOW_EVENTS | WEIR_CFG_REDIRECT_PEER;
    config.nodeport_min = 30000;
    config.nodeport_max = 32767;
    config.snat_min = 45056;
    config.snat_max = 65535;
    config.timeout = {.tcp_syn = 60,
                      .tcp_established = 8000,
                      .tcp_closing = 10,
                      .udp_new = 30,
                      .udp_established = 120,
                      .icmp = 10,
                      .sctp_new = 10,
                      .sctp_established = 200,
                      .other = 30};
    return config;
}

class EmbeddedTest : public DatapathTest {
  protected:
    Result<std::unique_ptr<Datapath>> start_shipped() const {
        auto shipped = options(1);
        shipped.build = embedded_build();
        auto datapath = WEIR_TRY(Datapath::open(std::move(shipped)));
        WEIR_CHECK(datapath->load(shipped_config()));
        WEIR_TRY(datapath->activate(SocketHooks::kAll));
        return datapath;
    }
};

TEST_F(EmbeddedTest, LoadsTakesOverSweepsAndGoes) {
    for (uint32_t round = 0; round < 3; ++round) {
        const auto datapath = start_shipped();
        WEIR_ASSERT_OK(datapath);
        EXPECT_EQ((*datapath)->loaded()->config().bank, round % 2);
        WEIR_ASSERT_OK(
            wait_for_sweep(*(*datapath)->maps().find("weir_sweep"), std::chrono::seconds(2)));
        const auto reader = Reader::open(pins());
        WEIR_ASSERT_OK(reader);
        const auto config = reader->config();
        WEIR_ASSERT_OK(config);
        EXPECT_EQ(config->snat_min, 45056);
        EXPECT_EQ(list_pins(pins().links()).size(), (*datapath)->loaded()->sock().size());
    }
    const Cleaned cleaned = clean_up(pins());
    EXPECT_TRUE(cleaned.failed.empty()) << cleaned.failed.front();
    EXPECT_FALSE(std::filesystem::exists(bpffs_ / "weir"));
}

TEST_F(EmbeddedTest, EveryStageOfEveryHookIsInItsBank) {
    const auto datapath = start_shipped();
    WEIR_ASSERT_OK(datapath);
    const ProgramArray array(*(*datapath)->maps().find("weir_progs"), pins());
    size_t stages = 0;
    for (const auto& [name, fd] : (*datapath)->loaded()->tc()) {
        const auto place = program_place(name);
        if (!place || !place->stage) continue;
        const uint32_t bank = (*datapath)->loaded()->config().bank;
        EXPECT_NE(array.program_id(WEIR_STAGE_SLOT(bank, place->hook, *place->stage)).value(), 0U)
            << name;
        ++stages;
    }
    EXPECT_GE(stages, 12U);
    const auto instructions = (*datapath)->loaded()->verified_instructions();
    WEIR_ASSERT_OK(instructions);
    for (const auto& [name, count] : *instructions) {
        RecordProperty(name, static_cast<int>(count));
        EXPECT_LT(count, 1000000U) << name;
    }
}

}  // namespace
}  // namespace weir::datapath::test
