// SPDX-License-Identifier: Apache-2.0
/// What a packet costs in Weir's programs: real objects, loaded by the real loader, run by
/// BPF_PROG_RUN on packets of 131,072 different flows, with 10k Services and 100k endpoints in the
/// tables. Beside it, in the same harness and the same run: an empty program, whose cost is
/// subtracted, and yardsticks, single accesses to memory and tables of the same size. Each row says
/// what it touches of them by its design, and what that costs by the yardsticks: what is left is
/// the programs', their helpers' and that of memory which is warm, or nearly.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <linux/pkt_cls.h>
#include <sched.h>

#include "must.h"
#include "prog/harness.h"
#include "prog/node.h"
#include "prog/scenario.h"
#include "rows.h"

namespace weir::bench {
namespace {

constexpr uint32_t kPiece = 4096;  // packets a system call: their events fit the ring buffer
constexpr uint32_t kOpen = 1024;   // flows half open at a time: then they are cleared away
constexpr uint32_t kSamples = 64;  // packets looked at, a scenario and family

struct Series {
    Scenario scenario;
    Family family;
    std::vector<double> over_empty, hash_over_empty;
    std::vector<double> instructions;
    size_t standing = 0;  // established entries meanwhile
};

class Bench {
  public:
    /// Rows whose names lack `only` are left out. `policed`: see Node.
    Bench(std::string_view only, bool policed)
        : only_(only), node_(must(Node::make(policed))), harness_(must(Harness::make())) {}

    void add(std::string name, double aim, Family family, Scenario scenario, uint32_t half_open) {
        if (name.find(only_) == std::string::npos) return;
        scenario.name = std::move(name);
        scenario.aim_ns = aim;
        scenario.half_open = half_open;
        rows_.push_back({.scenario = std::move(scenario), .family = family});
    }
    /// Measures the rows added since the last call, with the flows of theirs that exist.
    void measure(unsigned rounds);
    [[nodiscard]] Node& node() { return *node_; }
    [[nodiscard]] const std::vector<Series>& rows() const { return rows_; }
    /// Over the empty program, one a row and round.
    [[nodiscard]] const std::vector<double>& samples(Yardstick yardstick) const {
        return yardsticks_[static_cast<size_t>(yardstick)];
    }

  private:
    void prepare();
    void round(Series& row);
    Cost pass(const Series& row, Yardstick yardstick);
    Cost pass(const Series& row, int program);
    void check_pass(const Series& row);
    void clear(const Series& row);
    void sample(const Series& row);
    [[nodiscard]] unsigned ifindex(const Series& row) const {
        return row.scenario.kind == Scenario::Kind::kNodePort ? node_->external() : node_->veth();
    }

    std::string_view only_;
    std::unique_ptr<Node> node_;
    Harness harness_;
    std::vector<Series> rows_;
    std::array<std::vector<double>, 5> yardsticks_;
    size_t first_ = 0;  // of the rows added last
    size_t standing_ = 0;
    Node::Counts counts_;
};

[[noreturn]] void wrong(const Series& row, const std::string& what) {
    must<void>(fail(Errc::kInternal, "{}, IPv{}: {}", row.scenario.name,
                    static_cast<int>(row.family), what));
    std::abort();
}

/// The flows that exist, and one look at what the programs do with packets.
void Bench::prepare() {
    for (size_t i = first_; i < rows_.size(); ++i) {
        if (rows_[i].scenario.half_open == 0) must(establish(*node_, harness_, rows_[i].scenario));
    }
    standing_ = must(node_->count_established());
    for (size_t i = first_; i < rows_.size(); ++i) {
        sample(rows_[i]);
        rows_[i].standing = standing_;
    }
    counts_ = must(node_->counts());
}

void Bench::sample(const Series& row) {
    const Fd stub = must(node_->stub(row.scenario.hook()));
    harness_.set_frames(row.scenario.frames, row.scenario.senders);
    must(harness_.aim_at(stub.get()));
    for (uint32_t i = 0; i < kSamples; ++i) {
        const auto index = static_cast<uint32_t>(i * (row.scenario.frames.size() / kSamples));
        const auto one = must(harness_.run_one(index, ifindex(row)));
        if (auto what = row.scenario.wrong(row.scenario.frames[index], one); !what.empty()) {
            wrong(row, what);
        }
    }
    if (!row.scenario.one_way) must(node_->clear_half(row.family));
}

/// Every packet did what it had to: nothing was dropped, every new flow counted and reported.
void Bench::check_pass(const Series& row) {
    const Node::Counts now = must(node_->counts());
    const uint64_t opened = row.scenario.half_open != 0 ? row.scenario.frames.size() : 0;
    if (now.drops != counts_.drops) wrong(row, fmt::format("{} drops", now.drops - counts_.drops));
    if (now.created - counts_.created != opened) {
        wrong(row, fmt::format("{} flows of {}", now.created - counts_.created, opened));
    }
    if (now.lost_events != counts_.lost_events || now.new_events - counts_.new_events != opened) {
        wrong(row, fmt::format("{} events of {}, {} lost", now.new_events - counts_.new_events,
                               opened, now.lost_events - counts_.lost_events));
    }
    counts_ = now;
}

/// Half-open flows go before there are too many, and are as many as there must be.
void Bench::clear(const Series& row) {
    if (row.scenario.half_open == 0) return;
    const size_t entries = must(node_->clear_half(row.family));
    const size_t expected = size_t{row.scenario.half_open} * row.scenario.entries_a_flow();
    if (entries != expected) wrong(row, fmt::format("{} entries of {}", entries, expected));
}

Cost mean(Cost total, uint32_t count) {
    total.ns /= count;
    if (total.instructions) *total.instructions /= count;
    return total;
}

Cost Bench::pass(const Series& row, Yardstick yardstick) {
    Cost total;
    must(harness_.aim_at(yardstick));
    const auto count = static_cast<uint32_t>(row.scenario.frames.size());
    const bool inserts = yardstick == Yardstick::kInsert;
    const uint32_t piece = inserts ? kOpen : kPiece;
    for (uint32_t first = 0; first < count; first += piece) {
        must(harness_.run(first, piece, ifindex(row), total));
        if (inserts) must(harness_.clear_inserted(first, piece));
    }
    return mean(total, count);
}

Cost Bench::pass(const Series& row, int program) {
    Cost total;
    must(harness_.aim_at(program));
    const auto count = static_cast<uint32_t>(row.scenario.frames.size());
    const uint32_t piece = row.scenario.half_open != 0 ? row.scenario.half_open : kPiece;
    for (uint32_t first = 0; first < count; first += piece) {
        const int verdict = must(harness_.run(first, piece, ifindex(row), total));
        node_->drain();
        if (verdict != TC_ACT_REDIRECT) wrong(row, fmt::format("verdict {}", verdict));
        clear(row);
    }
    check_pass(row);
    return mean(total, count);
}

void Bench::round(Series& row) {
    const Fd stub = must(node_->stub(row.scenario.hook()));
    harness_.set_frames(row.scenario.frames, row.scenario.senders);
    const Cost empty = pass(row, Yardstick::kEmpty);
    for (const Yardstick y :
         {Yardstick::kHash, Yardstick::kLine, Yardstick::kPage, Yardstick::kInsert})
        yardsticks_[static_cast<size_t>(y)].push_back(pass(row, y).ns - empty.ns);
    // Once a tick a flow is refreshed: that is not what is measured.
    if (row.scenario.half_open == 0) pass(row, stub.get());
    const Cost program = pass(row, stub.get());
    row.over_empty.push_back(program.ns - empty.ns);
    row.hash_over_empty.push_back(samples(Yardstick::kHash).back());
    if (program.instructions && empty.instructions) {
        row.instructions.push_back(*program.instructions - *empty.instructions);
    }
}

void Bench::measure(unsigned rounds) {
    prepare();
    for (unsigned i = 0; i < rounds; ++i) {
        for (size_t row = first_; row < rows_.size(); ++row)
            round(rows_[row]);
    }
    if (must(node_->count_established()) != standing_) {
        must<void>(fail(Errc::kInternal, "established flows came or went"));
    }
    must(node_->clear_established());
    for (const Family family : kFamilies)
        must(node_->clear_half(family));
    first_ = rows_.size();
}

/// A single access by itself.
Row to_row(std::string_view name, const std::vector<double>& samples) {
    return {.kind = "prog",
            .name = fmt::format("yardstick: {}", name),
            .unit = "ns over empty",
            .samples = samples,
            .against = "",
            .ratios = {},
            .aim = {},
            .met = {},
            .note = {}};
}

/// What a row cannot do without, by what the yardsticks cost.
std::string floor_of(const Scenario& scenario, double line, double insertion) {
    const unsigned lines = scenario.cold_lines();
    const unsigned insertions = scenario.half_open != 0 ? scenario.entries_a_flow() : 0;
    return fmt::format("{} cold lines + {} insertions = {:.0f} ns", lines, insertions,
                       lines * line + insertions * insertion);
}

/// Against one lookup in a hash of the same size, over the empty program both.
Row to_row(const Series& series, double line, double insertion) {
    Row row{.kind = "prog",
            .name = fmt::format("{}, IPv{}", series.scenario.name, static_cast<int>(series.family)),
            .unit = "ns over empty",
            .samples = series.over_empty,
            .against = "one hash lookup",
            .ratios = {},
            .aim = {},
            .met = {},
            .note = {}};
    for (size_t i = 0; i < series.over_empty.size(); ++i)
        row.ratios.push_back(series.over_empty[i] / series.hash_over_empty[i]);
    if (series.scenario.aim_ns > 0) {
        row.aim = fmt::format("\u2264{:.0f} ns", series.scenario.aim_ns);
        row.met = quantile(series.over_empty, 0.5) <= series.scenario.aim_ns;
    }
    row.note = fmt::format(
        "{} flows established; {}; {}", series.standing, floor_of(series.scenario, line, insertion),
        series.instructions.empty()
            ? std::string("no instruction counter")
            : fmt::format("{:.0f} instructions", quantile(series.instructions, 0.5)));
    return row;
}

/// On one CPU: a move would show as cold caches.
void pin_to_this_cpu() {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<size_t>(::sched_getcpu()), &set);
    (void)::sched_setaffinity(0, sizeof set, &set);
}

struct Options {
    unsigned rounds = 9;
    std::string_view only;
    bool policed = false;
};

/// Plain flows and Service flows one after the other: each among some 100k that exist. What goes
/// one way comes by itself: the half-open flows of the others are cleared away.
void add_plain(Bench& bench, Family family) {
    const auto flows = [&](uint8_t flags, uint16_t port) {
        return plain(bench.node(), family, flags, port);
    };
    bench.add("established, pod to pod", 150, family, flows(test::kAck, 10000), 0);
    bench.add("new flow, pod to pod", 400, family, flows(test::kSyn, 20000), kOpen);
    bench.add("warm: established, pod to pod", 0, family, few(flows(test::kAck, 9000)), 0);
    bench.add("warm: new flow, pod to pod", 0, family, few(flows(test::kSyn, 19000)), kFewFlows);
}

void add_services(Bench& bench, Family family) {
    const auto flows = [&](auto make, uint8_t flags, uint16_t port) {
        return make(bench.node(), family, flags, port);
    };
    bench.add("established, pod to Service", 150, family, flows(service, test::kAck, 10000), 0);
    bench.add("new flow, pod to Service", 500, family, flows(service, test::kSyn, 20000), kOpen);
    bench.add("new flow, outside to NodePort", 500, family, flows(node_port, test::kSyn, 20000),
              kOpen);
    bench.add("warm: established, pod to Service", 0, family, few(flows(service, test::kAck, 9000)),
              0);
    bench.add("warm: new flow, pod to Service", 0, family, few(flows(service, test::kSyn, 19000)),
              kFewFlows);
    bench.add("warm: new flow, outside to NodePort", 0, family,
              few(flows(node_port, test::kSyn, 19000)), kFewFlows);
}

void add_one_way(Bench& bench, Family family) {
    bench.add("warm: one way, pod to Service", 0, family, datagrams(bench.node(), family, 9000), 0);
}

void print_rows(const Bench& bench) {
    if (bench.rows().empty()) return;
    const auto& lines = bench.samples(Yardstick::kLine);
    const auto& insertions = bench.samples(Yardstick::kInsert);
    print(to_row("one cache line of 25 MB", lines));
    print(to_row("one cache line of 4,096, each on its own page", bench.samples(Yardstick::kPage)));
    print(to_row("one hash lookup", bench.samples(Yardstick::kHash)));
    print(to_row("one insertion of a half-open flow", insertions));
    for (const Series& series : bench.rows())
        print(to_row(series, quantile(lines, 0.5), quantile(insertions, 0.5)));
}

int run(const Options& options) {
    pin_to_this_cpu();
    Bench bench(options.only, options.policed);
    for (const Family family : kFamilies) {
        for (const auto add : {add_plain, add_services, add_one_way}) {
            add(bench, family);
            bench.measure(options.rounds);
        }
    }
    print_rows(bench);
    return 0;
}

}  // namespace
}  // namespace weir::bench

int main(int argc, char** argv) {
    weir::bench::Options options;
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument = argv[i];
        if (argument == "--rounds" && i + 1 < argc) {
            options.rounds = static_cast<unsigned>(std::max(1, std::atoi(argv[++i])));
        } else if (argument == "--only" && i + 1 < argc) {
            options.only = argv[++i];
        } else if (argument == "--policies") {
            options.policed = true;
        } else {
            fmt::print(stderr,
                       "usage: bench_prog [--rounds N] [--only PART-OF-A-NAME] [--policies]\n");
            return 2;
        }
    }
    return weir::bench::run(options);
}
