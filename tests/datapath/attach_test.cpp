// SPDX-License-Identifier: Apache-2.0
// Attachments on shared devices, beside other people's programs, with packets over a veth pair.
#include "datapath/attach.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>

#include "datapath/bpf_object.h"
#include "datapath/fixture.h"

namespace weir::datapath::test {
namespace {

constexpr uint32_t kSeen1 = 41;
constexpr auto kTcxIngress = static_cast<bpf_attach_type>(46);

/// Somebody else's counting classifier.
class Foreign {
  public:
    Foreign() : object_(BpfObject::open(test_object("foreign")).value()) {
        EXPECT_TRUE(object_.load());
    }
    [[nodiscard]] int program() const { return bpf_program__fd(object_.programs().front()); }
    [[nodiscard]] uint64_t seen() const {
        const uint32_t key = 0;
        uint64_t n = 0;
        bpf_map_lookup_elem(bpf_map__fd(object_.maps().front()), &key, &n);
        return n;
    }
    [[nodiscard]] Fd attach_tcx(uint32_t ifindex) const {
        const int fd = bpf_link_create(program(), static_cast<int>(ifindex), kTcxIngress, nullptr);
        EXPECT_GE(fd, 0);
        return Fd(fd);
    }
    void attach_clsact(uint32_t ifindex, uint32_t priority) const {
        LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = static_cast<int>(ifindex),
                    .attach_point = BPF_TC_INGRESS);
        const int made = bpf_tc_hook_create(&hook);
        EXPECT_TRUE(made == 0 || made == -EEXIST);
        LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = program(), .handle = 1, .priority = priority);
        EXPECT_EQ(bpf_tc_attach(&hook, &opts), 0);
    }

  private:
    BpfObject object_;
};

class AttachTest : public DatapathTest {
  protected:
    void SetUp() override {
        DatapathTest::SetUp();
        ASSERT_EQ(sh("ip link add wone type veth peer name wtwo && ip netns add " + peer_ns() +
                     " 2>/dev/null"),
                  0);
        ASSERT_EQ(sh("ip link set wtwo netns " + peer_ns() +
                     " && ip addr add 10.9.0.1/24 dev wone && ip link set wone up"
                     " && ip netns exec " +
                     peer_ns() + " sh -c 'ip addr add 10.9.0.2/24 dev wtwo; ip link set wtwo up'"),
                  0);
        ifindex_ = ::if_nametoindex("wone");
        ASSERT_NE(ifindex_, 0U);
    }
    void TearDown() override {
        sh("ip netns del " + peer_ns());
        DatapathTest::TearDown();
    }
    static std::string peer_ns() { return "weir-dp-" + std::to_string(::getpid()); }
    /// Packets from the peer that are answered: what is attached lets them through.
    static bool ping() {
        return sh("ip netns exec " + peer_ns() +
                  " ping -q -c 3 -i 0.05 -W 2 10.9.0.1 >/dev/null") == 0;
    }
    static bool has_clsact() { return sh("tc qdisc show dev wone | grep -q clsact") == 0; }
    uint32_t ifindex_ = 0;
};

TEST_F(AttachTest, TcxBesideForeignLinksBeforeAndAfter) {
    auto datapath = start(1);
    WEIR_ASSERT_OK(datapath);
    if (!(*datapath)->devices().uses_tcx()) GTEST_SKIP() << "this kernel has no tcx";
    const Foreign before;
    const Foreign after;
    const Fd link_before = before.attach_tcx(ifindex_);
    WEIR_ASSERT_OK((*datapath)->devices().attach(ifindex_, Direction::kIngress, "dev_in"));
    const Fd link_after = after.attach_tcx(ifindex_);
    const uint64_t earlier = before.seen();  // a link that comes up says things, too
    const uint64_t later = after.seen();
    ASSERT_TRUE(ping());
    EXPECT_GE(counter(kSeen1), 3U);
    EXPECT_GE(before.seen() - earlier, 3U);
    EXPECT_GE(after.seen() - later, 3U);

    WEIR_ASSERT_OK((*datapath)->devices().detach(ifindex_, Direction::kIngress));
    const uint64_t ours = counter(kSeen1);
    const uint64_t theirs = after.seen();
    ASSERT_TRUE(ping());
    EXPECT_EQ(counter(kSeen1), ours);
    EXPECT_GT(after.seen(), theirs) << "a foreign program went with ours";
}

TEST_F(AttachTest, ClsactBesideForeignFiltersBeforeAndAfter) {
    auto datapath = start(1);
    WEIR_ASSERT_OK(datapath);
    const DeviceAttacher devices(pins(), false);
    const Foreign before;
    const Foreign after;
    before.attach_clsact(ifindex_, 1);
    WEIR_ASSERT_OK(devices.attach(ifindex_, Direction::kIngress, "dev_in"));
    WEIR_ASSERT_OK(devices.attach(ifindex_, Direction::kIngress, "dev_in"));
    after.attach_clsact(ifindex_, 40000);
    const uint64_t earlier = before.seen();  // a link that comes up says things, too
    const uint64_t later = after.seen();
    ASSERT_TRUE(ping());
    EXPECT_GE(counter(kSeen1), 3U);
    EXPECT_GE(before.seen() - earlier, 3U);
    EXPECT_GE(after.seen() - later, 3U);

    WEIR_ASSERT_OK(devices.detach(ifindex_, Direction::kIngress));
    WEIR_ASSERT_OK(devices.detach(ifindex_, Direction::kIngress));
    const uint64_t ours = counter(kSeen1);
    const uint64_t theirs = after.seen();
    ASSERT_TRUE(ping());
    EXPECT_EQ(counter(kSeen1), ours);
    EXPECT_GT(after.seen(), theirs) << "a foreign program went with ours";
}

TEST_F(AttachTest, QdiscGoesWithTheLastFilter) {
    WEIR_ASSERT_OK(start(1));
    const DeviceAttacher devices(pins(), false);
    WEIR_ASSERT_OK(devices.attach(ifindex_, Direction::kIngress, "dev_in"));
    WEIR_ASSERT_OK(devices.attach(ifindex_, Direction::kEgress, "dev_out"));
    WEIR_ASSERT_OK(devices.detach(ifindex_, Direction::kIngress));
    EXPECT_TRUE(has_clsact());
    EXPECT_TRUE(clsact_program(ifindex_, Direction::kEgress));
    WEIR_ASSERT_OK(devices.detach(ifindex_, Direction::kEgress));
    EXPECT_FALSE(has_clsact());
}

TEST_F(AttachTest, QdiscOfOthersStays) {
    WEIR_ASSERT_OK(start(1));
    ASSERT_EQ(sh("tc qdisc add dev wone clsact"), 0);
    const DeviceAttacher devices(pins(), false);
    WEIR_ASSERT_OK(devices.attach(ifindex_, Direction::kIngress, "dev_in"));
    WEIR_ASSERT_OK(devices.detach(ifindex_, Direction::kIngress));
    EXPECT_TRUE(has_clsact());
}

TEST_F(AttachTest, QdiscStaysWhileOthersUseIt) {
    WEIR_ASSERT_OK(start(1));
    const DeviceAttacher devices(pins(), false);
    WEIR_ASSERT_OK(devices.attach(ifindex_, Direction::kIngress, "dev_in"));
    const Foreign foreign;
    foreign.attach_clsact(ifindex_, 1);
    WEIR_ASSERT_OK(devices.detach(ifindex_, Direction::kIngress));
    ASSERT_TRUE(ping());
    EXPECT_GE(foreign.seen(), 3U);
    ASSERT_EQ(sh("tc filter del dev wone ingress"), 0);
    WEIR_ASSERT_OK(devices.detach(ifindex_, Direction::kIngress));
    EXPECT_FALSE(has_clsact());
}

TEST_F(AttachTest, QdiscOfAVanishedDeviceIsForgotten) {
    WEIR_ASSERT_OK(start(1));
    const DeviceAttacher devices(pins(), false);
    WEIR_ASSERT_OK(devices.attach(ifindex_, Direction::kIngress, "dev_in"));
    EXPECT_EQ(ClsactFilters(pins()).own_qdiscs(), std::vector{ifindex_});
    EXPECT_TRUE(devices.sweep_stale()->empty());
    ASSERT_EQ(sh("ip link del wone"), 0);
    EXPECT_EQ(devices.sweep_stale()->size(), 1U);
    EXPECT_TRUE(ClsactFilters(pins()).own_qdiscs().empty());
}

TEST_F(AttachTest, LinksOutliveTheAgentAndAreKept) {
    {
        auto datapath = start(1);
        WEIR_ASSERT_OK(datapath);
        if (!(*datapath)->devices().uses_tcx()) GTEST_SKIP() << "this kernel has no tcx";
        WEIR_ASSERT_OK((*datapath)->devices().attach(ifindex_, Direction::kIngress, "dev_in"));
    }
    ASSERT_TRUE(ping());
    EXPECT_GE(counter(kSeen1), 3U) << "with no agent";
    auto datapath = start(2);
    WEIR_ASSERT_OK(datapath);
    WEIR_ASSERT_OK((*datapath)->devices().attach(ifindex_, Direction::kIngress, "dev_in"));
    const uint64_t before = counter(kSeen1 + 1);
    ASSERT_TRUE(ping());
    const uint64_t seen = counter(kSeen1 + 1) - before;
    EXPECT_GE(seen, 3U);
    EXPECT_LT(seen, 6U) << "attached twice";
}

TEST_F(AttachTest, LinksOfVanishedDevicesGo) {
    auto datapath = start(1);
    WEIR_ASSERT_OK(datapath);
    const DeviceAttacher& devices = (*datapath)->devices();
    if (!devices.uses_tcx()) GTEST_SKIP() << "this kernel has no tcx";
    WEIR_ASSERT_OK(devices.attach(ifindex_, Direction::kIngress, "dev_in"));
    WEIR_ASSERT_OK(devices.attach(ifindex_, Direction::kEgress, "dev_out"));
    EXPECT_TRUE(devices.sweep_stale()->empty());
    ASSERT_EQ(sh("ip link del wone"), 0);
    EXPECT_EQ(devices.sweep_stale()->size(), 2U);
    const auto gone = devices.attach(ifindex_, Direction::kIngress, "dev_in");
    ASSERT_FALSE(gone);
    EXPECT_EQ(gone.error().code(), Errc::kNotFound);
}

}  // namespace
}  // namespace weir::datapath::test
