// SPDX-License-Identifier: Apache-2.0
#include "agent/pod_ranges.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::agent {
namespace {

using Ranges = std::vector<IpPrefix>;

const IpPrefix kOld = IpPrefix::parse("10.244.0.0/24").value();
const IpPrefix kOld6 = IpPrefix::parse("fd00:10:244::/64").value();
const IpPrefix kNew = IpPrefix::parse("10.244.9.0/24").value();
const IpPrefix kNew6 = IpPrefix::parse("fd00:10:249::/64").value();

ipam::Record record(const char* v4, const char* v6) {
    ipam::Record out;
    for (const char* text : {v4, v6})
        out.addresses.push_back(IpAddress::parse(text).value());
    return out;
}

TEST(PodRanges, ThoseOfTheNodeAreAllIfNobodyHasAnotherAddress) {
    EXPECT_EQ(ranges_to_serve({kNew}, Ranges{kOld}, {}), Ranges{kNew});
    const std::vector records = {record("10.244.9.7", "fd00:10:249::7")};
    EXPECT_EQ(ranges_to_serve({kNew, kNew6}, Ranges{kOld, kOld6}, records), (Ranges{kNew, kNew6}));
    EXPECT_EQ(ranges_to_serve({}, Ranges{kOld}, records), Ranges{});
}

TEST(PodRanges, OneThatAPodStillHasAnAddressOfStaysBehindThem) {
    const std::vector records = {record("10.244.9.7", "fd00:10:244::7")};
    EXPECT_EQ(ranges_to_serve({kNew, kNew6}, Ranges{kOld, kOld6}, records),
              (Ranges{kNew, kNew6, kOld6}));
    EXPECT_EQ(ranges_to_serve({}, Ranges{kOld, kOld6}, records), Ranges{kOld6});
}

TEST(PodRanges, OneThatIsBothIsNamedOnceInTheNodesOrder) {
    const std::vector records = {record("10.244.0.7", "fd00:10:244::7")};
    EXPECT_EQ(ranges_to_serve({kOld6, kOld}, Ranges{kOld, kOld6}, records), (Ranges{kOld6, kOld}));
}

}  // namespace
}  // namespace weir::agent
