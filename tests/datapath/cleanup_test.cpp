// SPDX-License-Identifier: Apache-2.0
// Cleanup: nothing of ours is left in the kernel, everything else is.
#include "datapath/cleanup.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <thread>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>

#include "datapath/attach.h"
#include "datapath/fixture.h"

namespace weir::datapath::test {
namespace {

using Ids = std::set<uint32_t>;

Ids ids_of(int (*next)(uint32_t, uint32_t*)) {
    Ids ids;
    uint32_t id = 0;
    while (next(id, &id) == 0)
        ids.insert(id);
    return ids;
}

/// What a start of this process adds to the machine's lists: ids are never given twice, so that
/// those below the first one and those of others do not matter.
struct Lists {
    Ids programs = ids_of(bpf_prog_get_next_id);
    Ids maps = ids_of(bpf_map_get_next_id);
    Ids links = ids_of(bpf_link_get_next_id);
};

class CleanupTest : public DatapathTest {
  protected:
    /// The ids of maps that our pins name, their programs and their links.
    Lists ours() const {
        Lists lists{{}, {}, {}};
        for (const std::string& name : list_pins(pins().maps())) {
            lists.maps.insert(open_pinned_map(pins(), name, false)->info().id);
        }
        for (const uint32_t id : ids_of(bpf_prog_get_next_id)) {
            if (uses(id, lists.maps)) lists.programs.insert(id);
        }
        for (const uint32_t id : ids_of(bpf_link_get_next_id)) {
            const int fd = bpf_link_get_fd_by_id(id);
            if (fd < 0) continue;
            const Fd link(fd);
            bpf_link_info info{};
            uint32_t length = sizeof info;
            bpf_obj_get_info_by_fd(fd, &info, &length);
            if (lists.programs.contains(info.prog_id)) lists.links.insert(id);
        }
        return lists;
    }
    static bool uses(uint32_t program, const Ids& maps) {
        const int fd = bpf_prog_get_fd_by_id(program);
        if (fd < 0) return false;
        const Fd holder(fd);
        std::vector<uint32_t> used(64);
        bpf_prog_info info{};
        info.nr_map_ids = 64;
        info.map_ids = reinterpret_cast<uintptr_t>(used.data());
        uint32_t length = sizeof info;
        if (bpf_obj_get_info_by_fd(fd, &info, &length) != 0) return false;
        for (uint32_t i = 0; i < info.nr_map_ids; ++i) {
            if (maps.contains(used[i])) return true;
        }
        return false;
    }
    /// Those of `before` that the kernel still has; it frees after a grace period, so patiently.
    static Lists left(const Lists& before) {
        Lists still;
        for (int i = 0; i < 200; ++i) {
            still = Lists();
            for (auto [kind, wanted] :
                 {std::pair{&still.programs, &before.programs},
                  std::pair{&still.maps, &before.maps}, std::pair{&still.links, &before.links}}) {
                std::erase_if(*kind, [&](uint32_t id) { return !wanted->contains(id); });
            }
            if (still.programs.empty() && still.maps.empty() && still.links.empty()) break;
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        return still;
    }
};

TEST_F(CleanupTest, NothingOfOursIsLeft) {
    ASSERT_EQ(sh("ip link add wone type veth peer name wtwo"), 0);
    const uint32_t ifindex = ::if_nametoindex("wone");
    Lists before;
    {
        auto datapath = start(1);
        WEIR_ASSERT_OK(datapath);
        WEIR_ASSERT_OK((*datapath)->devices().attach(ifindex, Direction::kIngress, "dev_in"));
        const DeviceAttacher clsact(pins(), false);
        WEIR_ASSERT_OK(clsact.attach(ifindex, Direction::kEgress, "dev_out"));
        before = ours();
        EXPECT_EQ(before.maps.size(), test::kMaps);
        EXPECT_GE(before.programs.size(), 10U);
        EXPECT_GE(before.links.size(), 2U);
    }
    const Cleaned cleaned = clean_up(pins());
    EXPECT_TRUE(cleaned.failed.empty()) << cleaned.failed.front();
    EXPECT_FALSE(clsact_program(ifindex, Direction::kEgress));
    EXPECT_NE(sh("tc qdisc show dev wone | grep -q clsact"), 0);
    const Lists after = left(before);
    EXPECT_TRUE(after.links.empty());
    EXPECT_TRUE(after.programs.empty());
    EXPECT_TRUE(after.maps.empty());
    EXPECT_FALSE(std::filesystem::exists(bpffs_ / "weir"));
    for (const char* thing : {"link sock_connect4", "filter on wone, egress",
                              "clsact qdisc of wone", "map weir_ct4", "program stub_pod_from"}) {
        EXPECT_EQ(std::ranges::count(cleaned.removed, thing), 1) << thing;
    }
    const Cleaned again = clean_up(pins());
    EXPECT_TRUE(again.removed.empty() && again.failed.empty() && again.remaining.empty());
}

TEST_F(CleanupTest, ForeignFiltersStay) {
    ASSERT_EQ(sh("ip link add wone type veth peer name wtwo"), 0);
    const uint32_t ifindex = ::if_nametoindex("wone");
    WEIR_ASSERT_OK(start(1));
    auto foreign = BpfObject::open(test_object("foreign"));
    WEIR_ASSERT_OK(foreign);
    WEIR_ASSERT_OK(foreign->load());
    // The worst neighbour: our own priority and handle, on a device of its own.
    LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = static_cast<int>(ifindex),
                .attach_point = BPF_TC_INGRESS);
    WEIR_ASSERT_OK(DeviceAttacher(pins(), false).attach(ifindex, Direction::kEgress, "dev_out"));
    LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = bpf_program__fd(foreign->programs().front()),
                .handle = kClsactHandle, .priority = kClsactPriority);
    ASSERT_EQ(bpf_tc_attach(&hook, &opts), 0);
    EXPECT_TRUE(clean_up(pins()).failed.empty());
    EXPECT_TRUE(clsact_program(ifindex, Direction::kIngress))
        << "gone with the qdisc, or taken for ours";
    EXPECT_FALSE(clsact_program(ifindex, Direction::kEgress));
}

TEST_F(CleanupTest, ALivingAgentsLinksGoToo) {
    auto datapath = start(1);
    WEIR_ASSERT_OK(datapath);
    const auto link = open_pin(pins().link("sock_connect4"));
    WEIR_ASSERT_OK(link);
    const Cleaned cleaned = clean_up(pins());
    EXPECT_TRUE(cleaned.failed.empty()) << cleaned.failed.front();
    bpf_link_info info{};
    uint32_t length = sizeof info;
    ASSERT_EQ(bpf_obj_get_info_by_fd(link->get(), &info, &length), 0);
    EXPECT_EQ(info.cgroup.cgroup_id, 0U) << "still attached";
}

TEST_F(CleanupTest, PartialRemainsAreFine) {
    WEIR_ASSERT_OK(start(1));
    for (const char* map : {"weir_vips", "weir_progs", "weir_ct4"}) {
        WEIR_ASSERT_OK(unpin(pins().map(map)));
    }
    WEIR_ASSERT_OK(unpin(pins().prog("stub_dev_in")));
    const Cleaned cleaned = clean_up(pins());
    EXPECT_TRUE(cleaned.failed.empty()) << cleaned.failed.front();
    EXPECT_FALSE(std::filesystem::exists(bpffs_ / "weir"));
    WEIR_ASSERT_OK(start(2));
}

}  // namespace
}  // namespace weir::datapath::test
