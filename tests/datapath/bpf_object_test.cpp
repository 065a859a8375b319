// SPDX-License-Identifier: Apache-2.0
#include "datapath/bpf_object.h"

#include <algorithm>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "datapath/programs.h"

namespace weir::datapath {
namespace {

TEST(VerifierLogTest, KeepsTheLastLinesBetweenTheMarks) {
    std::string log =
        "libbpf: prog 'p': BPF program load failed: Permission denied\n"
        "libbpf: prog 'p': -- BEGIN PROG LOAD LOG --\n";
    for (int i = 0; i < 100; ++i)
        log += fmt::format("{}: (b7) r0 = 0\n", i);
    log +=
        "R1 invalid mem access 'scalar'\nprocessed 5 insns (limit 1000000) max_states 0\n"
        "-- END PROG LOAD LOG --\nlibbpf: failed to load object\n";
    const VerifierLog parsed = parse_verifier_log(log);
    EXPECT_FALSE(parsed.truncated);
    EXPECT_EQ(static_cast<size_t>(std::ranges::count(parsed.tail, '\n')) + 1, kVerifierTailLines);
    EXPECT_NE(parsed.tail.find("invalid mem access"), std::string::npos);
    EXPECT_EQ(parsed.tail.find("failed to load object"), std::string::npos);
    EXPECT_EQ(parsed.tail.find("\n5: "), std::string::npos);
}

TEST(VerifierLogTest, NoticesALogCutShort) {
    const VerifierLog parsed = parse_verifier_log(
        "-- BEGIN PROG LOAD LOG --\n0: (b7) r0 = 0\n1: (85) ca\n-- END PROG LOAD LOG --\n");
    EXPECT_TRUE(parsed.truncated);
    EXPECT_EQ(parsed.tail, "0: (b7) r0 = 0\n1: (85) ca");
}

TEST(VerifierLogTest, WithoutALogGivesTheLastWords) {
    const VerifierLog parsed = parse_verifier_log("libbpf: map 'm': failed to create: -EPERM\n");
    EXPECT_FALSE(parsed.truncated);
    EXPECT_EQ(parsed.tail, "libbpf: map 'm': failed to create: -EPERM");
    EXPECT_EQ(parse_verifier_log("").tail, "");
}

TEST(ProgramPlaceTest, NamesAreHooksAndTheirStages) {
    EXPECT_EQ(program_place("pod_from"), (ProgramPlace{WEIR_HOOK_POD_FROM, std::nullopt}));
    EXPECT_EQ(program_place("dev_out"), (ProgramPlace{WEIR_HOOK_DEV_OUT, std::nullopt}));
    EXPECT_EQ(program_place("pod_to_new_flow"),
              (ProgramPlace{WEIR_HOOK_POD_TO, WEIR_STAGE_NEW_FLOW}));
    EXPECT_EQ(program_place("dev_in_icmp_error"),
              (ProgramPlace{WEIR_HOOK_DEV_IN, WEIR_STAGE_ICMP_ERROR}));
    EXPECT_EQ(program_place("pod_from_neighbour"),
              (ProgramPlace{WEIR_HOOK_POD_FROM, WEIR_STAGE_NEIGHBOUR}));
    for (const char* name : {"sweep_start", "pod", "pod_fromx", "pod_from_", "pod_from_what", ""}) {
        EXPECT_EQ(program_place(name), std::nullopt) << name;
    }
}

TEST(BpfObjectTest, RefusesWhatIsNoObject) {
    const std::string text = "not an ELF file, but long enough to be looked at";
    const auto object = BpfObject::open({"junk", std::as_bytes(std::span(text))});
    ASSERT_FALSE(object);
    EXPECT_NE(object.error().message().find("junk"), std::string::npos);
}

}  // namespace
}  // namespace weir::datapath
