// SPDX-License-Identifier: Apache-2.0
// This kernel's verifier takes the lookup, and what it answers from the kernel's own maps is what
// its native build answers from the emulated ones.
#include <memory>

#include <rapidcheck.h>

#include <gtest/gtest.h>

#include "policy/bpf/fill.h"
#include "policy/bpf/lookup.h"
#include "policy/random_world.h"
#include "policy/rig.h"
#include "policy_lookup.skel.h"

namespace weir::policy::test {
namespace {

struct Close {
    void operator()(weir_policy_lookup_bpf* skeleton) const {
        weir_policy_lookup_bpf::destroy(skeleton);
    }
};
using Skeleton = std::unique_ptr<weir_policy_lookup_bpf, Close>;

struct Case {
    World world;
    std::vector<std::pair<uint32_t, Question>> questions;
};

Case make_case(unsigned seed) {
    const auto generate = [] {
        Case out{.world = random_world(), .questions = {}};
        for (const auto& [id, local] : out.world.local) {
            for (int i = 0; i < 300; ++i)
                out.questions.emplace_back(id, random_question(out.world, id));
        }
        return out;
    };
    return rc::gen::exec(generate)(rc::Random(seed), rc::kNominalSize).value();
}

lookup_question to_abi(const Rig& rig, uint32_t endpoint, const Question& q) {
    return {.peer = q.peer.abi(),
            .set = WEIR_POLICY_WORD_SET(rig.kernel.word_of(endpoint)),
            .direction = static_cast<uint8_t>(q.egress ? WEIR_POLICY_EGRESS : WEIR_POLICY_INGRESS),
            .proto = q.protocol,
            .port = q.port,
            .pad = 0};
}

void answer_all(const weir_policy_lookup_bpf& skeleton, const std::vector<lookup_question>& all) {
    for (uint32_t i = 0; i < all.size(); ++i) {
        ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(skeleton.maps.lookup_questions), &i, &all[i], 0),
                  0);
    }
    skeleton.data->question_count = static_cast<uint32_t>(all.size());
    unsigned char packet[64] = {};
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = sizeof packet);
    ASSERT_EQ(bpf_prog_test_run_opts(bpf_program__fd(skeleton.progs.answer), &options), 0);
    ASSERT_EQ(options.retval, 0U);
}

TEST(PolicyBpf, TheKernelAnswersAsTheNativeBuild) {
    for (unsigned seed = 1; seed <= 10; ++seed) {
        const Case made = make_case(seed);
        const Skeleton skeleton(weir_policy_lookup_bpf::open());
        ASSERT_TRUE(skeleton && weir_policy_lookup_bpf::load(skeleton.get()) == 0)
            << "load policy_lookup.bpf.c: run as root";
        Rig rig;
        Rig twin;  // the same transactions again, for the kernel
        rig.tell({}, made.world);
        twin.tell({}, made.world);
        rig.flush();
        Fill fill(skeleton->maps);
        ASSERT_TRUE(fill.write(twin.compiler.flush()).has_value());
        std::vector<lookup_question> asked;
        for (const auto& [id, question] : made.questions) {
            const auto abi = to_abi(rig, id, question);
            if (abi.set != WEIR_POLICY_SET_NONE) asked.push_back(abi);
        }
        ASSERT_LE(asked.size(), size_t{LOOKUP_QUESTIONS});
        answer_all(*skeleton, asked);
        for (uint32_t i = 0; i < asked.size(); ++i) {
            const lookup_question& q = asked[i];
            policy_told told{};
            const int native =
                rig.kernel.ask({q.peer, q.set, q.direction, q.proto, q.port, 0}, told);
            lookup_answer kernel{};
            ASSERT_EQ(bpf_map_lookup_elem(bpf_map__fd(skeleton->maps.lookup_answers), &i, &kernel),
                      0);
            ASSERT_EQ(kernel.result, static_cast<uint32_t>(native)) << "seed " << seed;
            ASSERT_EQ(kernel.rule, told.rule) << "seed " << seed;
        }
    }
}

}  // namespace
}  // namespace weir::policy::test
