// SPDX-License-Identifier: Apache-2.0
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/fd.h"
#include "kube/decode.h"

namespace weir::kube {
namespace {

constexpr std::string_view kExpect = "# expect: ";

/// "first line of its document: path: message", of comments and of problems alike.
using Found = std::multiset<std::string>;

struct Expectations {
    Found problems;
    std::vector<uint32_t> starts;  ///< first lines of the documents
    [[nodiscard]] uint32_t document_of(uint32_t line) const {
        return *std::prev(std::ranges::upper_bound(starts, line));
    }
};

Expectations read_expectations(std::string_view text) {
    Expectations out{{}, {1}};
    uint32_t number = 1;
    for (size_t at = 0; at < text.size(); ++number) {
        const size_t end = std::min(text.find('\n', at), text.size());
        const std::string_view line = text.substr(at, end - at);
        if (line == "---") out.starts.push_back(number);
        if (line.starts_with(kExpect)) {
            out.problems.insert(
                fmt::format("{}: {}", out.starts.back(), line.substr(kExpect.size())));
        }
        at = end + 1;
    }
    return out;
}

class DecodeData : public testing::TestWithParam<const char*> {};

TEST_P(DecodeData, HasTheProblemsItSays) {
    const std::string text =
        read_file(std::string(WEIR_TEST_DATA) + "/" + GetParam() + ".yaml").value();
    const Expectations expected = read_expectations(text);
    ASSERT_FALSE(expected.problems.empty());
    TextPool pool;
    const DecodedFile decoded = decode(text, pool);
    Found found;
    for (const Problem& problem : decoded.problems) {
        found.insert(fmt::format("{}: {}: {}", expected.document_of(problem.line), problem.path,
                                 problem.message));
    }
    EXPECT_THAT(found, testing::ContainerEq(expected.problems));
}

INSTANTIATE_TEST_SUITE_P(Files, DecodeData, testing::Values("service_errors", "other_errors"),
                         [](const auto& tested) { return std::string(tested.param); });

}  // namespace
}  // namespace weir::kube
