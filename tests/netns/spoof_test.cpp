// SPDX-License-Identifier: Apache-2.0
// A pod speaks with its own addresses only. Frames are written to its interface as they are; what
// does not pass is counted under its reason and told with the pod's name within a second.
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <system_error>

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bpf/packet.h"
#include "common/fd.h"
#include "netns/node.h"
#include "netns/web.h"
#include "support/child.h"

namespace weir::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

constexpr Mac kHostSide = {0xee, 0xee, 0xee, 0xee, 0xee, 0xee};
constexpr uint8_t kAdvertisement = 136, kRouterAdvertisement = 134;

IpAddress ip(const std::string& text) {
    return IpAddress::parse(text).value();
}

/// In a child in the pod: puts the frame on its interface as it is.
std::string inject(const Bytes& frame) {
    const Fd fd(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
    const sockaddr_ll to{.sll_family = AF_PACKET,
                         .sll_ifindex = static_cast<int>(::if_nametoindex("eth0"))};
    const ssize_t sent = ::sendto(fd.get(), frame.data(), frame.size(), 0,
                                  reinterpret_cast<const sockaddr*>(&to), sizeof to);
    return sent == static_cast<ssize_t>(frame.size()) ? "sent" : ::strerrordesc_np(errno);
}

/// ARP: "I, at `mac`, am `sender`"; operation 1 asks, 2 answers.
Bytes arp(uint16_t operation, const Mac& mac, const std::string& sender,
          const std::string& target) {
    Bytes frame;
    const auto put = [&](auto... bytes) { (frame.push_back(static_cast<uint8_t>(bytes)), ...); };
    const auto put_ip = [&](const std::string& text) {
        const uint32_t word = ip(text).low32();
        put(word >> 24, word >> 16, word >> 8, word);
    };
    frame.insert(frame.end(), kHostSide.begin(), kHostSide.end());
    frame.insert(frame.end(), mac.begin(), mac.end());
    put(0x08, 0x06, 0, 1, 8, 0, 6, 4, operation >> 8, operation);
    frame.insert(frame.end(), mac.begin(), mac.end());
    put_ip(sender);
    frame.insert(frame.end(), 6, 0);
    put_ip(target);
    return frame;
}

class Spoof : public testing::Test {
  protected:
    void SetUp() override {
        ASSERT_TRUE(node_.start_agent());
        pod_ = &node_.run_client("liar");
        victim_ = &node_.run_server("victim", "victim");
        mac_ = mac_of_pod();
    }
    Mac mac_of_pod() const {
        const auto text = run({"ip", "-o", "link", "show", "eth0"}, {.place = pod_->place}).out;
        Mac mac{};
        const char* at = text.c_str() + text.find("link/ether ") + 11;
        std::sscanf(at, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3],
                    &mac[4], &mac[5]);
        return mac;
    }
    Frame from(const std::string& source, const std::string& destination) const {
        return {.src_mac = mac_,
                .src = ip(source),
                .dst = ip(destination),
                .proto = kUdp,
                .sport = 4444,
                .dport = 8080,
                .payload = Bytes(16, 'x')};
    }
    /// Flow records of the reason that name the pod.
    [[nodiscard]] size_t records(const std::string& reason) const {
        const auto text = node_.weir_ok({"flows", "--verdict", "DROPPED", "--reason", reason});
        size_t count = 0;
        for (size_t at = 0; (at = text.find("shop/liar", at)) != std::string::npos; ++at)
            ++count;
        return count;
    }
    /// Sent by the pod, it is dropped for `reason`, which is told within a second.
    void expect_dropped(const Bytes& frame, const std::string& reason) {
        const uint64_t before = node_.drops(reason);
        const size_t told_before = records(reason);
        ASSERT_EQ(in_child(pod_->place, [&] { return inject(frame); }), "sent");
        const auto sent = Clock::now();
        EXPECT_TRUE(eventually([&] { return records(reason) > told_before; })) << reason;
        EXPECT_LT(Clock::now() - sent, std::chrono::seconds(1)) << "until it was told";
        EXPECT_EQ(node_.drops(reason), before + 1) << reason;
        EXPECT_GE(node_.metric("weir_dropped_packets_total{reason=\"" + reason +
                               "\",direction=\"from_pod\"}"),
                  1.0);
    }

    Node node_;
    Node::Pod* pod_ = nullptr;
    Node::Pod* victim_ = nullptr;
    Mac mac_{};
};

TEST_F(Spoof, ForeignSourceAddresses) {
    for (const auto& source : {std::string("10.244.0.99"), std::string("192.0.2.1"), victim_->v4}) {
        SCOPED_TRACE(source);
        expect_dropped(build(from(source, outside_ip(4))), "spoofed_source");
    }
    for (const auto& source :
         {std::string("fd00:10:244::99"), std::string("2001:db8::1"), victim_->v6}) {
        SCOPED_TRACE(source);
        expect_dropped(build(from(source, outside_ip(6))), "spoofed_source");
    }
    const auto told = node_.weir_ok({"flows", "--verdict", "DROPPED", "--pod", "shop/liar"});
    EXPECT_THAT(told, AllOf(HasSubstr("10.244.0.99"), HasSubstr("fd00:10:244::99")));
    EXPECT_THAT(http(pod_->place, victim_->v4, 8080), HasSubstr("victim to " + pod_->v4))
        << "its own address is as good as before";
}

TEST_F(Spoof, ArpForForeignAddresses) {
    const std::string gateway = "169.254.1.1";
    expect_dropped(arp(2, mac_, victim_->v4, pod_->v4), "spoofed_arp");
    expect_dropped(arp(2, mac_, gateway, pod_->v4), "spoofed_arp");
    expect_dropped(arp(1, mac_, pod_->v4, victim_->v4), "spoofed_arp");
    expect_dropped(arp(1, {2, 0, 0, 0, 0, 9}, pod_->v4, gateway), "spoofed_arp");
    // What an honest pod asks is answered, and counted as nothing.
    const auto before = node_.drops("spoofed_arp");
    EXPECT_EQ(in_child(pod_->place, [&] { return inject(arp(1, mac_, pod_->v4, gateway)); }),
              "sent");
    EXPECT_EQ(node_.drops("spoofed_arp"), before);
}

TEST_F(Spoof, NeighbourDiscoveryForForeignAddresses) {
    const auto advertise = [&](const std::string& source, const std::string& target, uint8_t type) {
        Frame frame = from(source, "ff02::1");
        frame.dst_mac = {0x33, 0x33, 0, 0, 0, 1};
        frame.ttl = 255;
        frame.proto = kIcmp6;
        frame.icmp_type = type;
        frame.icmp_rest = 0x60000000;  // solicited, override
        const auto bytes = ip(target).bytes();
        frame.payload.assign(bytes.begin(), bytes.end());
        frame.payload.insert(frame.payload.end(), {2, 1});
        frame.payload.insert(frame.payload.end(), mac_.begin(), mac_.end());
        return build(frame);
    };
    expect_dropped(advertise(pod_->v6, victim_->v6, kAdvertisement), "spoofed_nd");
    expect_dropped(advertise(victim_->v6, victim_->v6, kAdvertisement), "spoofed_nd");
    expect_dropped(advertise("fe80::1", "fe80::ecee:eeff:feee:eeee", kAdvertisement), "spoofed_nd");
    expect_dropped(advertise("fe80::1", "fe80::1", kRouterAdvertisement), "spoofed_nd");
    EXPECT_THAT(http(pod_->place, victim_->v6, 8080), HasSubstr("victim to " + pod_->v6));
}

}  // namespace
}  // namespace weir::test
