// SPDX-License-Identifier: Apache-2.0
#include "common/ip.h"

#include <arpa/inet.h>
#include <rapidcheck.h>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace weir {
namespace {

IpAddress address(std::string_view text) {
    return IpAddress::parse(text).value();
}
IpPrefix prefix(std::string_view text) {
    return IpPrefix::parse(text).value();
}

TEST(IpAddress, ParsesBothFamilies) {
    EXPECT_EQ(address("10.1.2.3").to_string(), "10.1.2.3");
    EXPECT_EQ(address("10.1.2.3").low32(), 0x0a010203U);
    EXPECT_EQ(address("2001:db8::1").to_string(), "2001:db8::1");
    EXPECT_EQ(address("2001:DB8:0:0:0:0:0:1"), address("2001:db8::1"));
    EXPECT_EQ(address("::ffff:10.1.2.3"), address("10.1.2.3"));
}

// "Service to per-family ServicePort": leading zeros are read as decimal, never as octal.
TEST(IpAddress, LeadingZerosAreDecimal) {
    EXPECT_EQ(address("011.0.0.1"), address("11.0.0.1"));
    EXPECT_EQ(address("010.000.0000.08"), address("10.0.0.8"));
}

TEST(IpAddress, RefusesWhatIsNone) {
    for (const char* text : {"",
                             "1",
                             "1.2.3",
                             "1.2.3.4.5",
                             "256.0.0.1",
                             "1.2.3.-4",
                             "1..2.3",
                             "1.2.3.4 ",
                             " 1.2.3.4",
                             "1.2.3.0x4",
                             "::g",
                             ":::",
                             "1::2::3",
                             "fe80::1%eth0",
                             "2001:db8::1/64",
                             "1.2.3.4:80",
                             "99999999999.0.0.1",
                             "4294967296.0.0.0",
                             "::1 ",
                             "1:2:3:4:5:6:7:8:9"}) {
        EXPECT_FALSE(IpAddress::parse(text).has_value()) << text;
    }
    EXPECT_FALSE(IpAddress::parse(std::string_view("1.2.3.4\0", 8)).has_value());
    EXPECT_FALSE(IpAddress::parse(std::string_view("::1\0junk", 8)).has_value());
    EXPECT_EQ(IpAddress::parse("x").error().message(), "\"x\" is not an IP address");
}

TEST(IpAddress, KnowsItsKind) {
    EXPECT_TRUE(address("127.9.9.9").is_loopback());
    EXPECT_TRUE(address("::1").is_loopback());
    EXPECT_FALSE(address("::2").is_loopback());
    EXPECT_FALSE(address("128.0.0.1").is_loopback());
    EXPECT_TRUE(address("0.0.0.0").is_unspecified());
    EXPECT_TRUE(address("::").is_unspecified());
    EXPECT_TRUE(IpAddress().is_unspecified());
    EXPECT_TRUE(address("169.254.1.1").is_link_local());
    EXPECT_TRUE(address("febf::1").is_link_local());
    EXPECT_FALSE(address("fec0::1").is_link_local());
    EXPECT_TRUE(address("224.0.0.1").is_multicast());
    EXPECT_TRUE(address("ff02::1").is_multicast());
    EXPECT_FALSE(address("240.0.0.1").is_multicast());
}

TEST(IpAddress, PrintsWithAPort) {
    EXPECT_EQ(address("1.2.3.4").with_port(80), "1.2.3.4:80");
    EXPECT_EQ(address("::1").with_port(80), "[::1]:80");
}

TEST(IpPrefix, ParseWantsCleanHostBits) {
    EXPECT_EQ(prefix("10.0.0.0/8").to_string(), "10.0.0.0/8");
    EXPECT_EQ(IpPrefix::parse("10.1.0.0/8").error().message(),
              "\"10.1.0.0/8\" has host bits set; did you mean 10.0.0.0/8?");
    EXPECT_EQ(IpPrefix::parse_lenient("10.1.0.0/8").value(), prefix("10.0.0.0/8"));
    EXPECT_EQ(IpPrefix::parse_lenient("2001:db8::1/64").value(), prefix("2001:db8::/64"));
}

TEST(IpPrefix, RefusesWhatIsNone) {
    for (const char* text :
         {"", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "2001:db8::/129", "10.0.0.0/-1",
          "10.0.0.0/8x", "10.0.0.0/+8", "/8", "x/8", "10.0.0.0/8/8", "10.0.0.0/4294967304"}) {
        EXPECT_FALSE(IpPrefix::parse(text).has_value()) << text;
    }
}

TEST(IpPrefix, ContainsIsByFamily) {
    EXPECT_TRUE(prefix("0.0.0.0/0").contains(address("8.8.8.8")));
    EXPECT_FALSE(prefix("0.0.0.0/0").contains(address("2001:db8::1")));
    EXPECT_FALSE(prefix("::/0").contains(address("8.8.8.8")));
    EXPECT_TRUE(prefix("10.1.2.3/32").contains(address("10.1.2.3")));
    EXPECT_FALSE(prefix("10.1.2.3/32").contains(address("10.1.2.2")));
    EXPECT_EQ(prefix("10.0.0.0/8").mapped_length(), 104U);
    EXPECT_EQ(prefix("2001:db8::/32").mapped_length(), 32U);
}

RC_GTEST_PROP(IpAddress, EveryIpv4PrintsAndParsesBack, (uint32_t raw)) {
    const IpAddress made = IpAddress::v4(raw);
    RC_ASSERT(made.is_v4());
    RC_ASSERT(made.low32() == raw);
    RC_ASSERT(IpAddress::parse(made.to_string()).value() == made);
    in_addr kernel{};
    RC_ASSERT(::inet_pton(AF_INET, made.to_string().c_str(), &kernel) == 1);
    RC_ASSERT(ntohl(kernel.s_addr) == raw);
}

RC_GTEST_PROP(IpAddress, EveryAddressPrintsAndParsesBack, ()) {
    std::array<uint8_t, 16> bytes{};
    for (auto& byte : bytes)
        byte = *rc::gen::weightedOneOf<uint8_t>(
            {{1, rc::gen::just(uint8_t{0})}, {1, rc::gen::arbitrary<uint8_t>()}});
    const IpAddress made = IpAddress::from_bytes(bytes);
    RC_ASSERT(IpAddress::parse(made.to_string()).value() == made);
    RC_ASSERT(IpAddress(made.abi()) == made);
}

RC_GTEST_PROP(IpAddress, ParseNeverCrashesAndAcceptsOnlyWhatTheKernelDoes,
              (const std::string& noise)) {
    const auto parsed = IpAddress::parse(noise);
    if (!parsed) return;
    std::array<uint8_t, 16> kernel{};
    const bool v6 = ::inet_pton(AF_INET6, noise.c_str(), kernel.data()) == 1;
    RC_ASSERT(v6 || noise.find_first_not_of("0123456789.") == std::string::npos);
}

// Oracle: compare bit by bit.
RC_GTEST_PROP(IpPrefix, ContainsComparesTheLeadingBits, (uint32_t network, uint32_t other)) {
    const auto length = *rc::gen::inRange(0U, 33U);
    const auto flip = *rc::gen::inRange(0U, 33U);
    const IpPrefix made = IpPrefix::make(IpAddress::v4(network), length).value();
    const uint32_t near = flip == 32 ? network : network ^ (1U << flip);
    for (const uint32_t candidate : {near, other}) {
        bool same = true;
        for (unsigned bit = 0; bit < length; ++bit) {
            const uint32_t mask = 1U << (31 - bit);
            same = same && (candidate & mask) == (network & mask);
        }
        RC_ASSERT(made.contains(IpAddress::v4(candidate)) == same);
    }
    RC_ASSERT(IpPrefix::parse(made.to_string()).value() == made);
}

}  // namespace
}  // namespace weir
