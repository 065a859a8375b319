// SPDX-License-Identifier: Apache-2.0
#include "agent/metrics.h"

#include <algorithm>
#include <cctype>
#include <cstdio>

#include <sys/resource.h>
#include <unistd.h>

#include <fmt/format.h>
#include <prometheus/collectable.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "agent/metric_defs.h"

namespace weir::metrics {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr const char* kReasons[] = {
#define WEIR_DROP(name, label, text) label,
#include "weir/drop_reasons.def"
#undef WEIR_DROP
};

constexpr const char* kDirections[] = {"from_pod", "to_pod", "from_outside", "from_host"};
static_assert(std::size(kDirections) == WEIR_DIRECTIONS);

struct CounterName {
    const char* name;
    const char* help;
};
constexpr CounterName kCounters[] = {
#define WEIR_COUNTER(name, metric, text) {"weir_" metric, text},
#include "weir/counters.def"
#undef WEIR_COUNTER
};

constexpr const char* kCommands[] = {"ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", "other"};
constexpr unsigned kMaxCniCode = 999;

const prometheus::Histogram::BucketBoundaries kProgrammingBuckets = {
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30};
const prometheus::Histogram::BucketBoundaries kCniBuckets = {
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};

// The boundaries that readers of kube-proxy's metric expect.
prometheus::Histogram::BucketBoundaries network_programming_buckets() {
    prometheus::Histogram::BucketBoundaries bounds = {0.25, 0.5};
    for (int s = 1; s < 60; ++s)
        bounds.push_back(s);
    for (int s = 60; s < 120; s += 5)
        bounds.push_back(s);
    for (int s = 120; s <= 300; s += 30)
        bounds.push_back(s);
    return bounds;
}

// Builds the families of one scrape.
class Scrape {
  public:
    MetricFamily& family(Id id) {
        const Definition& definition = kDefinitions[id];
        return family(definition.name, definition.help,
                      definition.type == Type::kCounter ? MetricType::Counter : MetricType::Gauge);
    }
    MetricFamily& family(std::string_view name, std::string_view help, MetricType type) {
        MetricFamily& added = families_.emplace_back();
        added.name = name;
        added.help = help;
        added.type = type;
        return added;
    }
    static void add(MetricFamily& family, double value,
                    std::initializer_list<ClientMetric::Label> labels = {}) {
        ClientMetric metric;
        metric.label = labels;
        (family.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
        family.metric.push_back(std::move(metric));
    }
    template <typename Number>
    void single(Id id, Number value) {
        add(family(id), static_cast<double>(value));
    }
    std::vector<MetricFamily> take() { return std::move(families_); }

  private:
    std::vector<MetricFamily> families_;
};

void add_drops(Scrape& scrape, const Snapshot& snapshot, Id id, __u64 weir_count::* field) {
    MetricFamily& family = scrape.family(id);
    for (size_t reason = 1; reason < WEIR_DROP_REASONS; ++reason) {
        for (size_t direction = 0; direction < WEIR_DIRECTIONS; ++direction) {
            Scrape::add(family, static_cast<double>(snapshot.drops[reason][direction].*field),
                        {{"reason", kReasons[reason]}, {"direction", kDirections[direction]}});
        }
    }
}

void add_kernel(Scrape& scrape, const Snapshot& snapshot) {
    if (!snapshot.tables_readable) return;
    add_drops(scrape, snapshot, kDroppedPackets, &weir_count::packets);
    add_drops(scrape, snapshot, kDroppedBytes, &weir_count::bytes);
    for (size_t i = 0; i < WEIR_COUNTERS; ++i) {
        auto& family = scrape.family(kCounters[i].name, kCounters[i].help, MetricType::Counter);
        Scrape::add(family, static_cast<double>(snapshot.counters[i]));
    }
    const std::pair<Id, uint64_t Snapshot::Table::*> columns[] = {
        {kTableEntries, &Snapshot::Table::entries},
        {kTableCapacity, &Snapshot::Table::capacity},
        {kTableBytes, &Snapshot::Table::bytes}};
    for (const auto& [id, column] : columns) {
        MetricFamily& family = scrape.family(id);
        for (const auto& table : snapshot.tables) {
            Scrape::add(family, static_cast<double>(table.*column), {{"table", table.name}});
        }
    }
}

void add_pools(Scrape& scrape, const Snapshot& snapshot) {
    auto& used = scrape.family(kIpamAddresses);
    for (const auto& pool : snapshot.pools) {
        Scrape::add(used, static_cast<double>(pool.used),
                    {{"family", pool.family}, {"state", "used"}});
        Scrape::add(used, static_cast<double>(pool.cooling),
                    {{"family", pool.family}, {"state", "cooling"}});
    }
    auto& capacity = scrape.family(kIpamCapacity);
    for (const auto& pool : snapshot.pools) {
        Scrape::add(capacity, static_cast<double>(pool.capacity), {{"family", pool.family}});
    }
}

double cpu_seconds() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void add_api_kinds(Scrape& scrape, const Snapshot& snapshot) {
    const auto add = [&](Id id, auto value) {
        auto& family = scrape.family(id);
        for (const auto& kind : snapshot.api_kinds) {
            Scrape::add(family, static_cast<double>(value(kind)),
                        {{"kind", std::string(to_string(kind.kind))}});
        }
    };
    using Kind = kube::api::KindState;
    add(kKubeConnected, [](const Kind& kind) { return kind.connected && !kind.absent ? 1 : 0; });
    add(kKubeSynced, [](const Kind& kind) { return kind.synced ? 1 : 0; });
    add(kKubeSilence, [&](const Kind& kind) { return kind.silent_seconds(snapshot.taken); });
    add(kKubeLag, [](const Kind& kind) { return kind.lag.count(); });
    add(kKubeLists, [](const Kind& kind) { return kind.lists; });
    add(kKubeWatches, [](const Kind& kind) { return kind.watches; });
    add(kKubeEvents, [](const Kind& kind) { return kind.events; });
    add(kKubeBytes, [](const Kind& kind) { return kind.bytes; });
    add(kKubeFailures, [](const Kind& kind) { return kind.failures; });
    add(kKubeRefused, [](const Kind& kind) { return kind.refused; });
    if (!snapshot.leading) return;
    scrape.single(kKubeLeader, *snapshot.leading ? 1 : 0);
    auto& events = scrape.family(kKubeNotes);
    const std::pair<const char*, uint64_t> results[] = {{"created", snapshot.events.created},
                                                        {"repeated", snapshot.events.repeated},
                                                        {"suppressed", snapshot.events.suppressed},
                                                        {"failed", snapshot.events.failed}};
    for (const auto& [result, count] : results)
        Scrape::add(events, static_cast<double>(count), {{"result", result}});
}

}  // namespace

struct Metrics::Impl {
    Impl(BuildInfo b, std::function<Snapshot()> c) : build(std::move(b)), collect(std::move(c)) {}

    prometheus::Histogram& histogram(Id id, const prometheus::Labels& labels,
                                     const prometheus::Histogram::BucketBoundaries& buckets) {
        auto& family = prometheus::BuildHistogram()
                           .Name(std::string(kDefinitions[id].name))
                           .Help(std::string(kDefinitions[id].help))
                           .Register(registry);
        return family.Add(labels, buckets);
    }

    std::vector<MetricFamily> scraped() const;

    BuildInfo build;
    std::function<Snapshot()> collect;
    prometheus::Registry registry;
    prometheus::Histogram* programming = &histogram(kProgramming, {}, kProgrammingBuckets);
    prometheus::Histogram* network_programming =
        &histogram(kNetworkProgramming, {}, network_programming_buckets());
    std::map<std::string, prometheus::Histogram*, std::less<>> cni_seconds;
    prometheus::Family<prometheus::Counter>* cni_requests =
        &prometheus::BuildCounter()
             .Name(std::string(kDefinitions[kCniRequests].name))
             .Help(std::string(kDefinitions[kCniRequests].help))
             .Register(registry);
};

std::vector<MetricFamily> Metrics::Impl::scraped() const {
    const Snapshot snapshot = collect();
    Scrape scrape;
    Scrape::add(scrape.family(kBuildInfo), 1,
                {{"version", build.version}, {"commit", build.commit}});
    scrape.single(kReady, snapshot.ready ? 1 : 0);
    add_kernel(scrape, snapshot);
    add_pools(scrape, snapshot);
    auto& problems = scrape.family(kProblems);
    for (const auto& [kind, count] : snapshot.problems) {
        Scrape::add(problems, static_cast<double>(count), {{"kind", kind}});
    }
    add_api_kinds(scrape, snapshot);
    scrape.single(kPods, snapshot.pods);
    scrape.single(kPolicies, snapshot.policies);
    scrape.single(kPodsClosed, snapshot.pods_closed);
    scrape.single(kPodsLate, snapshot.pods_late);
    scrape.single(kServices, snapshot.services);
    scrape.single(kBackends, snapshot.backends);
    scrape.single(kFlowReaders, snapshot.flow_readers);
    scrape.single(kFlowReaderLost, snapshot.flow_reader_lost);
    auto& refused = scrape.family(kApiRefused);
    for (const auto& [reason, count] : snapshot.api_refused) {
        Scrape::add(refused, static_cast<double>(count), {{"reason", reason}});
    }
    scrape.single(kResident, resident_bytes());
    scrape.single(kCpuSeconds, cpu_seconds());
    return scrape.take();
}

Metrics::Metrics(const BuildInfo& build, std::function<Snapshot()> collect)
    : impl_(std::make_unique<Impl>(build, std::move(collect))) {
    for (const char* command : kCommands) {
        impl_->cni_seconds[command] =
            &impl_->histogram(kCniSeconds, {{"command", command}}, kCniBuckets);
    }
}

Metrics::~Metrics() = default;

void Metrics::programmed(Seconds seconds) {
    impl_->programming->Observe(seconds.count());
}

void Metrics::network_programmed(Seconds seconds) {
    impl_->network_programming->Observe(seconds.count());
}

void Metrics::cni_request(std::string_view command, unsigned code, Seconds seconds) {
    std::string name(command);
    std::ranges::transform(name, name.begin(),
                           [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    auto found = impl_->cni_seconds.find(name);
    if (found == impl_->cni_seconds.end()) found = impl_->cni_seconds.find("other");
    found->second->Observe(seconds.count());
    impl_->cni_requests
        ->Add({{"command", found->first}, {"code", std::to_string(std::min(code, kMaxCniCode))}})
        .Increment();
}

std::string Metrics::render() const {
    auto families = impl_->scraped();
    auto instruments = impl_->registry.Collect();
    families.insert(families.end(), std::make_move_iterator(instruments.begin()),
                    std::make_move_iterator(instruments.end()));
    // A family without a series has nothing to say; its header would only confuse.
    std::erase_if(families, [](const MetricFamily& family) { return family.metric.empty(); });
    return prometheus::TextSerializer().Serialize(families);
}

uint64_t resident_bytes() {
    std::FILE* file = std::fopen("/proc/self/statm", "re");
    if (file == nullptr) return 0;
    unsigned long long total = 0;
    unsigned long long resident = 0;
    const int read = std::fscanf(file, "%llu %llu", &total, &resident);
    std::fclose(file);
    return read == 2 ? resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)) : 0;
}

std::string metrics_reference() {
    static constexpr const char* kTypes[] = {"counter", "gauge", "histogram"};
    std::string text =
        "# Metrics\n\nGenerated by `weir-docs metrics`; do not edit.\n\nThe agent serves these at "
        "`/metrics` in the Prometheus text format. The number of series does not grow with "
        "Services, pods or\nflows: labels are drop reasons, directions, tables, families, kinds "
        "and "
        "CNI commands.\n\n| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n";
    for (const auto& definition : kDefinitions) {
        text += fmt::format("| `{}` | {} | {} | {} |\n", definition.name,
                            kTypes[static_cast<size_t>(definition.type)], definition.labels,
                            definition.help);
    }
    for (const auto& counter : kCounters) {
        text += fmt::format("| `{}` | counter |  | {} |\n", counter.name, counter.help);
    }
    return text;
}

std::string drop_reasons_reference() {
    static constexpr const char* kTexts[] = {
#define WEIR_DROP(name, label, text) text,
#include "weir/drop_reasons.def"
#undef WEIR_DROP
    };
    std::string text =
        "# Drop reasons\n\nGenerated by `weir-docs drop-reasons`; do not edit.\n\nEvery packet "
        "that "
        "Weir drops is counted under one of these: in `weir drops`, in "
        "`weir_dropped_packets_total{reason=…}` and, as far\nas the rate limit allows, as a flow "
        "record (`weir flows --verdict DROPPED`).\n\n| Reason | Meaning |\n|---|---|\n";
    for (size_t i = 1; i < std::size(kReasons); ++i) {
        text += fmt::format("| `{}` | {} |\n", kReasons[i], kTexts[i]);
    }
    return text;
}

}  // namespace weir::metrics
