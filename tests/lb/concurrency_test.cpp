// SPDX-License-Identifier: Apache-2.0
// Lookups by the datapath's own code in the kernel, while its tables are rewritten as fast as user
// space can. WEIR_CONCURRENCY_SECONDS says for how long (3 by default).
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/types.h>
#include <sched.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "datapath/grace.h"
#include "datapath/lb_writer.h"
#include "lb/bpf/lookup.h"
#include "lb/tables.h"
#include "lb_lookup.skel.h"

namespace weir::lb {
namespace {

using Clock = std::chrono::steady_clock;

struct SkeletonDeleter {
    void operator()(weir_lb_lookup_bpf* skeleton) const { weir_lb_lookup_bpf::destroy(skeleton); }
};
using Skeleton = std::unique_ptr<weir_lb_lookup_bpf, SkeletonDeleter>;

// Small enough that ids, indices and slots are used again all the time.
constexpr Capacities kCapacities = {
    .vips = 256, .services = 256, .slots = 4096, .backends = 2048, .ranges = 64};
constexpr unsigned kStable = 40;   ///< Services 1...40
constexpr unsigned kTurning = 10;  ///< of these, with a changing traffic policy
constexpr unsigned kMoving = 10;   ///< pairs of Services 41...60 that share an address
constexpr unsigned kComing = 40;   ///< Services 61...100

Skeleton load() {
    Skeleton skeleton(weir_lb_lookup_bpf::open());
    if (!skeleton) return nullptr;
    auto& maps = skeleton->maps;
    bpf_map__set_max_entries(maps.weir_vips, kCapacities.vips);
    bpf_map__set_max_entries(maps.weir_services, kCapacities.services);
    bpf_map__set_max_entries(maps.weir_slots, kCapacities.slots);
    bpf_map__set_max_entries(maps.weir_backends, kCapacities.backends);
    for (bpf_map* unused : {maps.weir_half4, maps.weir_half6, maps.weir_frags, maps.weir_socks}) {
        bpf_map__set_max_entries(unused, 64);
    }
    if (weir_lb_lookup_bpf::load(skeleton.get()) != 0) return nullptr;
    return skeleton;
}

template <typename Table>
Table table(const bpf_map* map) {
    return Table::from(Fd(::fcntl(bpf_map__fd(map), F_DUPFD_CLOEXEC, 0))).value();
}

datapath::Tables tables_of(const weir_lb_lookup_bpf& skeleton) {
    using datapath::Tables;
    const auto& maps = skeleton.maps;
    return {.vips = table<decltype(Tables::vips)>(maps.weir_vips),
            .services = table<decltype(Tables::services)>(maps.weir_services),
            .slots = table<decltype(Tables::slots)>(maps.weir_slots),
            .backends = table<decltype(Tables::backends)>(maps.weir_backends),
            .node_ports = table<decltype(Tables::node_ports)>(maps.weir_node_ports),
            .ranges = table<decltype(Tables::ranges)>(maps.weir_ranges),
            .socks = table<decltype(Tables::socks)>(maps.weir_socks),
            .endpoints = table<decltype(Tables::endpoints)>(maps.weir_endpoints),
            .pods = table<decltype(Tables::pods)>(maps.weir_pods),
            .devices = table<decltype(Tables::devices)>(maps.weir_devices),
            .node_addrs = table<decltype(Tables::node_addrs)>(maps.weir_node_addrs),
            .netns = table<decltype(Tables::netns)>(maps.weir_netns),
            .cidrs = table<decltype(Tables::cidrs)>(maps.weir_cidrs),
            .peers = table<decltype(Tables::peers)>(maps.weir_peers),
            .drops = table<decltype(Tables::drops)>(maps.weir_drops),
            .counters = table<decltype(Tables::counters)>(maps.weir_counters)};
}

/// One BPF_PROG_RUN of `repeat` rounds.
int run(const bpf_program* program, int repeat) {
    std::array<char, 64> packet{};
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet.data(), .data_size_in = packet.size(),
                .repeat = repeat);
    return bpf_prog_test_run_opts(bpf_program__fd(program), &options);
}

IpAddress vip_of(unsigned service) {
    return IpAddress::v4(0x0a600000U + service);
}

ServicePortPlan plan(unsigned service, const std::vector<uint8_t>& endpoints) {
    ServicePortPlan out;
    const PortName port{.service = {.ns = "test", .name = std::to_string(service)}};
    out.id = port.id();
    out.name = port;
    out.created = "2024-01-01T00:00:00Z";
    out.port = 80;
    out.flags = WEIR_SVC_IN_USE | WEIR_SVC_ANY_ENDPOINT;
    out.vips = {
        marker_vip(vip_of(service)),
        {.key = service_key(vip_of(service), 80, out.protocol), .flags = WEIR_VIP_CLUSTER_IP}};
    for (const uint8_t last : endpoints) {
        out.backends[WEIR_SCOPE_CLUSTER].push_back(
            {.address = IpAddress::v4(0x0a000000U + (service << 16) + last),
             .port = static_cast<uint16_t>(LOOKUP_PORT(last))});
    }
    return out;
}

bool is_moving(unsigned service) {
    return service > kStable && service <= kStable + 2 * kMoving;
}

/// The Services and their random edits.
class Churn {
  public:
    Changes all() {
        Changes changes;
        for (unsigned s = 1; s <= kStable + 2 * kMoving + kComing; ++s) {
            changes.upserts.push_back(random_plan(s));
        }
        return changes;
    }

    Changes some() {
        Changes changes;
        for (unsigned i = 0; i < 4; ++i)
            changes.upserts.push_back(random_plan(number(1, 60)));
        const unsigned coming = number(61, 100);
        if (number(0, 1) == 0) {
            changes.removed.push_back(plan(coming, {}).id);
        } else {
            changes.upserts.push_back(random_plan(coming));
        }
        return changes;
    }

  private:
    unsigned number(unsigned from, unsigned to) {
        return std::uniform_int_distribution<unsigned>(from, to)(random_);
    }

    ServicePortPlan random_plan(unsigned service) {
        std::set<uint8_t> endpoints;
        const unsigned count = number(1, 9);
        while (endpoints.size() < count)
            endpoints.insert(static_cast<uint8_t>(number(1, 40)));
        auto out = plan(service, {endpoints.begin(), endpoints.end()});
        // Some turn their policy, and with it the list that is read and the one that is empty.
        if (service <= kTurning && number(0, 1) == 0) {
            out.flags |= WEIR_SVC_INTERNAL_LOCAL;
            std::swap(out.backends[WEIR_SCOPE_CLUSTER], out.backends[WEIR_SCOPE_LOCAL]);
        }
        if (is_moving(service)) {
            // Both claim the lower one's second port; whoever is older now has it.
            const unsigned lower = service - (service - kStable - 1) % 2;
            const auto key = service_key(vip_of(lower), 81, out.protocol);
            out.vips.push_back({.key = key, .flags = WEIR_VIP_CLUSTER_IP});
            std::ranges::sort(out.vips, key_less, &PlanVip::key);
            out.created = fmt::format("20{}-01-01T00:00:00Z", number(10, 99));
        }
        return out;
    }

    std::mt19937 random_{1};
};

void set_targets(const weir_lb_lookup_bpf& skeleton) {
    uint32_t index = 0;
    const auto add = [&](unsigned vip, uint16_t port, lookup_kind kind, unsigned other) {
        const lookup_target target{
            .addr = vip_of(vip).abi(),
            .port = htons(port),
            .proto = IPPROTO_TCP,
            .kind = static_cast<uint8_t>(kind),
            .service = {static_cast<uint8_t>(vip), static_cast<uint8_t>(other)}};
        bpf_map_update_elem(bpf_map__fd(skeleton.maps.lookup_targets), &index, &target, BPF_ANY);
        ++index;
    };
    for (unsigned s = 1; s <= kStable; ++s)
        add(s, 80, LOOKUP_STABLE, s);
    for (unsigned i = 0; i < kMoving; ++i) {
        const unsigned lower = kStable + 1 + 2 * i;
        add(lower, 81, LOOKUP_MOVING, lower + 1);
    }
    for (unsigned s = 61; s <= 100; ++s)
        add(s, 80, LOOKUP_COMING, s);
    skeleton.bss->spin_started = 0;
    skeleton.data->target_count = index;
}

using Results = std::array<std::array<uint64_t, LOOKUP_RESULTS>, LOOKUP_KINDS>;

Results results(const weir_lb_lookup_bpf& skeleton) {
    const auto counts = table<datapath::PercpuArray<uint64_t>>(skeleton.maps.lookup_results);
    Results out{};
    for (uint32_t kind = 0; kind < LOOKUP_KINDS; ++kind) {
        for (uint32_t result = 0; result < LOOKUP_RESULTS; ++result) {
            const auto values = counts.get(kind * LOOKUP_RESULTS + result).value();
            for (const uint64_t value : values)
                out[kind][result] += value;
        }
    }
    return out;
}

/// Runs the lookup program on two threads for as long as it lives.
class Readers {
  public:
    explicit Readers(const bpf_program* program) {
        for (auto& thread : threads_) {
            thread = std::thread([this, program] {
                while (!stop_)
                    failed_ = failed_ || run(program, 200) != 0;
            });
        }
    }
    Readers(const Readers&) = delete;
    Readers& operator=(const Readers&) = delete;
    ~Readers() {
        stop_ = true;
        for (auto& thread : threads_)
            thread.join();
    }
    bool failed() const { return failed_; }

  private:
    std::atomic<bool> stop_ = false;
    std::atomic<bool> failed_ = false;
    std::array<std::thread, 2> threads_;
};

Clock::duration duration() {
    const char* seconds = std::getenv("WEIR_CONCURRENCY_SECONDS");
    return std::chrono::seconds(seconds != nullptr ? std::strtol(seconds, nullptr, 10) : 3);
}

/// What the writer did.
struct Work {
    uint64_t transactions = 0;
    uint64_t writes = 0;
    uint64_t vip_writes = 0;
    uint64_t graces = 0;
    uint64_t refused = 0;
    std::string failure;
};

/// The production writer with the production grace worker.
Work rewrite(const weir_lb_lookup_bpf& skeleton) {
    std::mutex mutex;
    std::vector<model::GraceToken> elapsed;  // by the grace worker's thread
    const datapath::Tables kernel = tables_of(skeleton);
    datapath::GraceWorker grace;
    const datapath::LbWriter writer(kernel, grace);
    Tables tables(kCapacities);
    Churn churn;
    Work work;
    const auto commit = [&](const model::LbTransaction& transaction) {
        ++work.transactions;
        work.writes += transaction.writes.size();
        work.vip_writes += static_cast<uint64_t>(
            std::ranges::count_if(transaction.writes, [](const model::LbWrite& write) {
                return std::holds_alternative<model::VipPut>(write);
            }));
        const auto done =
            writer.commit(transaction, [&](model::GraceToken token, const Result<void>& waited) {
                const std::lock_guard lock(mutex);
                if (waited) elapsed.push_back(token);
            });
        if (!done) work.failure = done.error().message();
    };
    commit(tables.apply(churn.all()));
    set_targets(skeleton);
    const Readers readers(skeleton.progs.lookup);
    const auto nobody = [](const auto&, auto, auto) { return AddressUse::kNobody; };
    for (const auto end = Clock::now() + duration(); Clock::now() < end && work.failure.empty();) {
        commit(tables.apply(churn.some()));
        std::vector<model::GraceToken> tokens;
        {
            const std::lock_guard lock(mutex);
            tokens.swap(elapsed);
        }
        for (const model::GraceToken token : tokens) {
            ++work.graces;
            commit(tables.grace_elapsed(token));
        }
        // Ids of backends are used again at once after their grace period.
        if (!tokens.empty()) commit(tables.age(work.graces, 0, nobody));
        work.refused += tables.problems().size() > kMoving ? 1 : 0;
    }
    if (readers.failed()) work.failure = "BPF_PROG_RUN failed";
    return work;
}

void report(const Work& work, const Results& seen, uint64_t retries) {
    constexpr const char* kKinds[] = {"stable", "coming", "moving"};
    std::printf(
        "%lu transactions, %lu writes (%lu of VIPs), %lu grace periods, %lu times short of room; "
        "%lu lookups repeated\n",
        work.transactions, work.writes, work.vip_writes, work.graces, work.refused, retries);
    for (unsigned kind = 0; kind < LOOKUP_KINDS; ++kind) {
        const auto& r = seen[kind];
        std::printf(
            "%s: found %lu, missed %lu, refused %lu, raced %lu, foreign %lu, torn %lu, "
            "unmarked %lu\n",
            kKinds[kind], r[LOOKUP_FOUND], r[LOOKUP_MISSED], r[LOOKUP_REFUSED], r[LOOKUP_RACED],
            r[LOOKUP_FOREIGN], r[LOOKUP_TORN], r[LOOKUP_UNMARKED]);
    }
}

uint64_t retries_of(const weir_lb_lookup_bpf& skeleton) {
    uint64_t sum = 0;
    const auto counters = table<datapath::PercpuArray<uint64_t>>(skeleton.maps.weir_counters);
    const auto values = counters.get(WEIR_COUNTER_SERVICE_RETRY).value();
    for (const uint64_t value : values)
        sum += value;
    return sum;
}

TEST(LbConcurrency, LookupsSeeTheOldStateOrTheNewWhileTablesAreRewritten) {
    const Skeleton skeleton = load();
    ASSERT_TRUE(skeleton) << "load lookup.bpf.c: run as root";
    const Work work = rewrite(*skeleton);
    const Results seen = results(*skeleton);
    report(work, seen, retries_of(*skeleton));
    EXPECT_EQ(work.failure, "");
    EXPECT_GT(work.graces, 10U);
    for (const auto& kind : seen) {
        EXPECT_GT(kind[LOOKUP_FOUND], 1000U);
        EXPECT_EQ(kind[LOOKUP_FOREIGN], 0U);
        EXPECT_EQ(kind[LOOKUP_TORN], 0U);
        EXPECT_EQ(kind[LOOKUP_REFUSED], 0U);
    }
    EXPECT_EQ(seen[LOOKUP_STABLE][LOOKUP_MISSED], 0U);
    EXPECT_EQ(seen[LOOKUP_STABLE][LOOKUP_RACED], 0U);
    EXPECT_EQ(seen[LOOKUP_STABLE][LOOKUP_UNMARKED], 0U);
    // The kernel links a key's new element at the head of its chain, then unlinks the old one: a
    // reader that was between head and old element may see neither. Only where a key changes hands.
    EXPECT_LE(seen[LOOKUP_MOVING][LOOKUP_MISSED] * 100'000, seen[LOOKUP_MOVING][LOOKUP_FOUND]);
    EXPECT_EQ(seen[LOOKUP_MOVING][LOOKUP_RACED], 0U);
}

TEST(LbConcurrency, AWriterWithoutOrderOrGracePeriodIsCaught) {
    const Skeleton skeleton = load();
    ASSERT_TRUE(skeleton) << "load lookup.bpf.c: run as root";
    const datapath::Tables kernel = tables_of(*skeleton);
    datapath::GraceWorker unused;
    const datapath::LbWriter writer(kernel, unused);
    Tables tables(kCapacities);
    Churn churn;
    ASSERT_TRUE(writer.apply(tables.apply(churn.all()).writes));
    set_targets(*skeleton);
    const auto nobody = [](const auto&, auto, auto) { return AddressUse::kNobody; };
    {
        const Readers readers(skeleton->progs.lookup);
        for (const auto end = Clock::now() + std::chrono::seconds(2); Clock::now() < end;) {
            auto transaction = tables.apply(churn.some());
            std::ranges::reverse(transaction.writes);
            ASSERT_TRUE(writer.apply(transaction.writes));
            ASSERT_TRUE(writer.apply(tables.grace_elapsed(transaction.grace).writes));
            const auto aged = tables.age(0, 0, nobody);
            ASSERT_TRUE(writer.apply(aged.writes));
            ASSERT_TRUE(writer.apply(tables.grace_elapsed(aged.grace).writes));
        }
    }
    const Results seen = results(*skeleton);
    report({}, seen, retries_of(*skeleton));
    const auto& stable = seen[LOOKUP_STABLE];
    EXPECT_GT(stable[LOOKUP_RACED] + stable[LOOKUP_FOREIGN] + stable[LOOKUP_TORN], 0U);
}

void pin_to_cpu(size_t cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    ::sched_setaffinity(0, sizeof set, &set);
}

TEST(LbConcurrency, AGracePeriodOutlastsAProgramThatRuns) {
    const Skeleton skeleton = load();
    ASSERT_TRUE(skeleton) << "load lookup.bpf.c: run as root";
    if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "needs two CPUs";
    cpu_set_t all;
    ::sched_getaffinity(0, sizeof all, &all);
    pin_to_cpu(0);
    volatile auto* started = &skeleton->bss->spin_started;
    volatile auto* finished = &skeleton->bss->spin_finished;
    int overlaps = 0;
    // On a busy machine a round may be over before this thread is scheduled: it proves nothing.
    for (int round = 0; round < 30 && overlaps < 3; ++round) {
        *started = 0;
        *finished = 0;
        std::thread spinner([&] {
            pin_to_cpu(1);
            EXPECT_EQ(run(skeleton->progs.spin, 1), 0);
        });
        while (*started == 0)
            std::this_thread::yield();
        overlaps += *finished == 0 ? 1 : 0;
        EXPECT_TRUE(datapath::wait_grace_period());
        EXPECT_EQ(*finished, 1U);
        spinner.join();
    }
    EXPECT_EQ(overlaps, 3);
    ::sched_setaffinity(0, sizeof all, &all);
}

}  // namespace
}  // namespace weir::lb
