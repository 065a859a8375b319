// SPDX-License-Identifier: Apache-2.0
#include "agent/views.h"

#include <algorithm>

#include <sys/utsname.h>
#include <unistd.h>

#include <boost/json.hpp>

#include "agent/conntrack_filter.h"
#include "agent/kube_views.h"
#include "agent/policy_explain.h"
#include "agent/policy_view.h"
#include "agent/settings.h"
#include "agent/table_view.h"
#include "agent/version.h"
#include "common/log.h"
#include "common/number.h"
#include "common/rfc3339.h"
#include "datapath/netlink/names.h"
#include "datapath/programs.h"
#include "datapath/sweep.h"
#include "weir/limits.h"

namespace weir::agent {
namespace {

namespace json = boost::json;
using std::chrono::duration;

/// Of a time since boot, which is what outlives an agent.
std::string since_boot(BootTime time) {
    if (time == BootTime{}) return {};
    const auto age = boot_now() - time;
    return rfc3339(std::chrono::system_clock::now() -
                   std::chrono::duration_cast<std::chrono::system_clock::duration>(age));
}

std::string kernel_release() {
    utsname name{};
    return ::uname(&name) == 0 ? name.release : "";
}

std::string_view to_text(model::PodPhase phase) {
    switch (phase) {
        case model::PodPhase::kPending:
            return "Pending";
        case model::PodPhase::kRunning:
            return "Running";
        case model::PodPhase::kSucceeded:
            return "Succeeded";
        case model::PodPhase::kFailed:
            return "Failed";
        case model::PodPhase::kUnknown:
            return "Unknown";
    }
    return "";
}

std::string_view to_text(model::ServiceType type) {
    switch (type) {
        case model::ServiceType::kClusterIp:
            return "ClusterIP";
        case model::ServiceType::kNodePort:
            return "NodePort";
        case model::ServiceType::kLoadBalancer:
            return "LoadBalancer";
        case model::ServiceType::kExternalName:
            return "ExternalName";
    }
    return "";
}

std::string_view family_name(Family family) {
    return family == Family::kIpv4 ? "IPv4" : "IPv6";
}

/// Lines made once, when the client begins to read; the table may change under it, as tables do.
class Lines final : public api::LineSource {
  public:
    explicit Lines(std::vector<std::string> lines) : lines_(std::move(lines)) {}
    State pull(std::string& out, size_t limit) override {
        const size_t end = out.size() + limit;
        while (next_ < lines_.size() && out.size() < end)
            out += lines_[next_++] + "\n";
        return next_ == lines_.size() ? State::kEnd : State::kMore;
    }
    void on_ready(std::function<void()> /*wake*/) override {}

  private:
    std::vector<std::string> lines_;
    size_t next_ = 0;
};

/// Hubble-sized answers are enough for a person; a table of a million flows is read with a filter.
constexpr size_t kMaxConntrackLines = 200'000;

template <typename T>
Result<json::value> as_json(const Result<T>& result) {
    if (!result) return Failure(result.error());
    return api::to_json(*result);
}

}  // namespace

Views::Views(const ViewInputs& inputs) : in_(inputs) {}

void Views::register_on(api::Router& router) const {
    const auto view = [this] { return api::TableView(in_.reader, in_.names); };
    router.get("/v1/status", [this](const api::Request&) { return as_json(status()); });
    router.get("/v1/pods", [this](const api::Request&) { return as_json(pods()); });
    router.get("/v1/services", [this](const api::Request&) { return as_json(services()); });
    router.get("/v1/backends", [view](const api::Request&) { return as_json(view().backends()); });
    router.get("/v1/drops", [view](const api::Request&) { return as_json(view().drops()); });
    const auto policy = [this] { return PolicyView(in_.policing, in_.objects.store(), in_.pods); };
    router.get("/v1/policies",
               [policy](const api::Request&) { return as_json(policy().policies()); });
    router.get("/v1/pod-policies",
               [policy](const api::Request&) { return as_json(policy().pods()); });
    router.get("/v1/policy-explanation",
               [this](const api::Request& request) { return as_json(explanation(request)); });
    router.get("/v1/ipam",
               [this](const api::Request&) { return as_json(Result<api::Ipam>(ipam())); });
    router.get("/v1/config", [this](const api::Request&) {
        return as_json(Result<std::vector<api::Setting>>(settings()));
    });
    router.get_stream("/v1/conntrack",
                      [this](const api::Request& request) { return conntrack(request); });
    router.get_text("/healthz", api::Reach::kPublic,
                    [](const api::Request&) { return api::Response::text(200, "ok\n"); });
    router.get_text("/readyz", api::Reach::kPublic, [this](const api::Request&) {
        const auto reasons = troubles();
        std::string text;
        for (const auto& reason : reasons)
            text += reason + "\n";
        return reasons.empty() ? api::Response::text(200, "ok\n")
                               : api::Response::text(503, std::move(text));
    });
}

Result<api::Explanation> Views::explanation(const api::Request& request) const {
    ExplainQuery query;
    for (const auto& [key, value] : request.query) {
        if (key == "from") query.from = value;
        if (key == "to") query.to = value;
        if (key == "protocol") query.protocol = value;
        if (key != "port") continue;
        const auto port = whole_number<uint16_t>(value);
        if (!port) return fail(Errc::kInvalid, "port \"{}\": a number from 0 to 65535", value);
        query.port = *port;
    }
    return explain_flow(in_.objects.store(), query);
}

std::vector<std::string> Views::troubles() const {
    std::vector<std::string> reasons;
    if (!in_.objects.synced()) reasons.emplace_back("not every source has been read once");
    if (const auto* api = in_.objects.api()) {
        for (const auto& state : api->states()) {
            if (state.synced) continue;
            reasons.push_back(fmt::format("{}: not read yet: {}", to_string(state.kind),
                                          state.error.empty() ? "in progress" : state.error));
        }
    }
    if (!in_.objects.write_error().empty()) {
        reasons.push_back("load-balancing tables: " + in_.objects.write_error());
    }
    if (in_.policing.failed()) {
        reasons.push_back("tables of policy: " + in_.policing.write_error());
    }
    return reasons;
}

Result<api::Status> Views::status() const {
    api::Status out;
    const auto& config = in_.start.config;
    out.node = config.node_name;
    out.version = build_version();
    out.kernel = kernel_release();
    out.abi = WEIR_ABI_VERSION;
    out.pid = static_cast<uint64_t>(::getpid());
    out.uptime_seconds = duration<double>(std::chrono::steady_clock::now() - begin_).count();
    out.reasons = troubles();
    out.ready = out.reasons.empty();
    out.cgroup_root = in_.cgroup.path;
    out.run_dir = config.run_dir;
    const auto install = cni_install(config);
    out.cni_conf = install.conflist;
    out.cni_bin = install.bin_dir;
    out.rss_bytes = metrics::resident_bytes();
    out.sources = sources();
    if (const auto* api = in_.objects.api()) out.leader = leader_of(*api);
    out.datapath = datapath();
    out.routing = routing();
    out.policy = PolicyView(in_.policing, in_.objects.store(), in_.pods).state();
    out.findings = in_.findings.list();
    out.ipam = pools();
    const auto counters = in_.cni.counters();
    for (size_t i = 0; i < kCniOperations.size(); ++i) {
        std::string command(kCniOperations[i]);
        std::ranges::transform(command, command.begin(),
                               [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
        for (const auto& [code, count] : counters.operations[i].by_code) {
            out.cni.push_back({command, code, count});
        }
    }
    out.flows = {.history = in_.hub.history().size(),
                 .history_capacity = in_.hub.history().capacity(),
                 .readers = in_.hub.subscribers(),
                 .lost = 0};
    if (const auto counted = in_.reader.counters()) {
        out.flows.lost = (*counted)[WEIR_COUNTER_EVENTS_LOST];
    }
    return out;
}

std::string Views::source_name() const {
    if (const auto* api = in_.objects.api()) return api->servers();
    std::string name;
    for (const auto& dir : in_.start.config.source_dirs) {
        name += (name.empty() ? "file:" : ",file:") + dir.string();
    }
    return name;
}

std::vector<api::Source> Views::sources() const {
    api::Source source;
    source.name = source_name();
    if (const auto* api = in_.objects.api()) source.kinds = kind_states(*api);
    source.synced = in_.objects.synced();
    const auto& store = in_.objects.store();
    source.objects = {{"Node", store.count<model::Node>()},
                      {"Namespace", store.count<model::Namespace>()},
                      {"Pod", store.count<model::Pod>()},
                      {"Service", store.count<model::Service>()},
                      {"EndpointSlice", store.count<model::EndpointSlice>()},
                      {"NetworkPolicy", store.count<model::NetworkPolicy>()},
                      {"ServiceCIDR", store.count<model::ServiceCidr>()},
                      {"ClusterNetworkPolicy", store.count<model::ClusterNetworkPolicy>()}};
    source.problems = problems();
    return {source};
}

std::vector<api::Problem> Views::problems() const {
    std::vector<api::Problem> out;
    const std::string source = source_name();
    auto documents = in_.objects.files().problems();
    if (const auto* api = in_.objects.api()) {
        for (auto& problem : api->problems())
            documents.push_back(std::move(problem));
    }
    for (const auto& problem : documents) {
        out.push_back({.source = source,
                       .file = problem.file,
                       .line = problem.line,
                       .object = problem.object,
                       .field = problem.path,
                       .message = problem.message,
                       .since = rfc3339(problem.since)});
    }
    if (const auto* api = in_.objects.api()) {
        const std::string why = api->block_state().error;
        if (!why.empty()) out.push_back({.source = source, .object = "Node", .message = why});
    }
    const auto& store = in_.objects.store();
    for (const auto& conflict : store.conflicts()) {
        out.push_back(
            {.source = source,
             .file = store.label(conflict.ignored.source),
             .line = conflict.ignored.line,
             .object = conflict.key.to_string(),
             .field = "",
             .message = fmt::format("defined twice; the one of {}:{} is in force",
                                    store.label(conflict.used.source), conflict.used.line),
             .since = rfc3339(conflict.since)});
    }
    if (const auto& peers = in_.host.peers()) {
        for (const auto& range : peers->refused)
            out.push_back(
                {.source = source, .object = "Node " + range.node, .message = range.text});
    }
    for (const auto& problem : in_.policing.problems())
        out.push_back({.source = source, .object = problem.object, .message = problem.text});
    const auto of_service = [&](const std::string& service, const std::string& message) {
        out.push_back({.source = source, .object = "Service " + service, .message = message});
    };
    for (const auto& problem : in_.objects.tables().problems())
        of_service(problem.name.to_string(), problem.text);
    for (const auto& [service, warnings] : in_.objects.warnings()) {
        for (const auto& warning : warnings)
            of_service(service.to_string(), warning);
    }
    return out;
}

api::Routing Views::routing() const {
    api::Routing out;
    out.mode = to_string(in_.start.config.routing);
    out.mtu = in_.host.pod_mtu();
    if (in_.host.has_overlay()) {
        out.device = netlink::kOverlayLink;
        out.port = in_.start.config.vxlan_port;
    }
    if (const auto& peers = in_.host.peers()) {
        out.nodes = peers->nodes;
        out.overlay = peers->overlay;
        out.native = peers->routes.size() - peers->overlay;
        out.elsewhere = peers->elsewhere;
    }
    return out;
}

api::Datapath Views::datapath() const {
    api::Datapath out;
    const auto& config = in_.start.config;
    out.socket_hooks = to_string(config.socket_hooks);
    out.device_attach = in_.datapath.devices().uses_tcx() ? "tcx" : "clsact";
    out.build = build_version();
    for (const auto& device : in_.host.devices().current().devices) {
        out.devices.push_back(device.name);
        out.hooks.push_back({"dev_in", device.name, out.device_attach, true});
        out.hooks.push_back({"dev_out", device.name, out.device_attach, true});
    }
    for (const auto& device : in_.host.devices().current().foreign) {
        out.devices_left_alone.push_back(fmt::format("{} ({})", device.name, device.why));
    }
    out.hooks.push_back({"dev_out", "weir0", out.device_attach, true});
    if (in_.host.has_overlay()) {
        const std::string overlay(netlink::kOverlayLink);
        out.hooks.push_back({"dev_in", overlay, out.device_attach, true});
        out.hooks.push_back({"dev_out", overlay, out.device_attach, true});
    }
    out.hooks.push_back({"pod_from", "pods", "clsact", true});
    out.hooks.push_back({"pod_to", "pods", "clsact", true});
    if (config.socket_hooks == SocketHooks::kOff) {
        out.hooks.push_back({"dev_out", "lo", out.device_attach, true});
    } else if (const auto* loaded = in_.datapath.loaded()) {
        for (const auto& program : loaded->sock()) {
            out.hooks.push_back({program.name, in_.cgroup.path, "cgroup", true});
        }
    }
    if (auto maps = api::TableView(in_.reader, in_.names).maps()) out.maps = std::move(*maps);
    for (const auto& map : out.maps)
        out.kernel_bytes += map.bytes;
    if (const auto* map = in_.datapath.maps().find("weir_sweep")) {
        if (const auto sweep = datapath::read_sweep(*map)) {
            const auto now = std::chrono::steady_clock::now().time_since_epoch();
            const std::chrono::nanoseconds last(static_cast<int64_t>(sweep->last_run_ns));
            out.sweep = {.last_run_seconds = duration<double>(now - last).count(),
                         .runs = sweep->runs,
                         .expired = sweep->expired};
        }
    }
    return out;
}

Result<std::vector<api::Pod>> Views::pods() const {
    std::vector<api::Pod> out;
    for (const auto& local : in_.pods.all()) {
        const auto& record = local.record;
        api::Pod pod;
        pod.ns = record.pod_namespace;
        pod.name = record.pod_name;
        pod.uid = record.pod_uid;
        pod.endpoint = local.endpoint;
        for (const auto& ip : record.addresses)
            pod.ips.push_back(ip.to_string());
        pod.device = local.host_ifname;
        pod.ifindex = local.ifindex;
        pod.container_id = record.key.container;
        pod.netns = record.netns;
        pod.since = since_boot(record.created);
        const model::ObjectName name{model::Text(record.pod_namespace),
                                     model::Text(record.pod_name)};
        if (const auto* object = in_.objects.store().find<model::Pod>(name)) {
            pod.uid = object->meta.uid;
            pod.phase = to_text(object->phase);
            pod.ready = object->ready;
            for (const auto& [key, value] : object->meta.labels)
                pod.labels[key] = value.str();
        }
        out.push_back(std::move(pod));
    }
    return out;
}

Result<std::vector<api::Service>> Views::services() const {
    auto out = WEIR_TRY(api::TableView(in_.reader, in_.names).services());
    for (auto& service : out) {
        const auto* object = in_.objects.store().find<model::Service>(
            {model::Text(service.ns), model::Text(service.name)});
        if (object != nullptr) service.type = to_text(object->type);
    }
    return out;
}

std::vector<api::IpamPool> Views::pools() const {
    std::vector<api::IpamPool> out;
    for (const auto family : kFamilies) {
        const auto stats = in_.ipam.stats(family);
        if (stats.size == 0) continue;
        api::IpamPool pool;
        pool.family = family_name(family);
        for (const auto& range : in_.objects.pod_ranges()) {
            if (range.family() != family) continue;
            pool.cidr += (pool.cidr.empty() ? "" : ",") + range.to_string();
            pool.router = netlink::router_address(range).to_string();
        }
        pool.capacity = static_cast<uint64_t>(
            std::min<ipam::Number>(stats.size, std::numeric_limits<int64_t>::max()));
        pool.used = stats.used;
        pool.cooling = stats.resting;
        out.push_back(std::move(pool));
    }
    return out;
}

api::Ipam Views::ipam() const {
    api::Ipam out;
    out.pools = pools();
    for (const auto& record : in_.ipam.list()) {
        for (const auto& address : record.addresses) {
            out.addresses.push_back({.address = address.to_string(),
                                     .ns = record.pod_namespace,
                                     .pod = record.pod_name,
                                     .container_id = record.key.container,
                                     .ifname = record.key.ifname,
                                     .since = since_boot(record.created)});
        }
    }
    return out;
}

std::vector<api::Setting> Views::settings() const {
    std::vector<api::Setting> out;
    for (size_t i = 0; i < in_.start.effective.size(); ++i) {
        const auto& [name, value] = in_.start.effective[i];
        out.push_back({name, value, in_.start.origins[i]});
    }
    return out;
}

Result<std::unique_ptr<api::LineSource>> Views::conntrack(const api::Request& request) const {
    const auto filter = WEIR_TRY(api::ConntrackFilter::parse(request.query));
    std::vector<std::string> lines;
    WEIR_CHECK(
        api::TableView(in_.reader, in_.names).conntrack(filter, [&](const api::Conntrack& entry) {
            lines.push_back(json::serialize(api::to_json(entry)));
            return lines.size() < kMaxConntrackLines;
        }));
    return std::make_unique<Lines>(std::move(lines));
}

metrics::Snapshot Views::metrics() const {
    metrics::Snapshot out;
    const auto drops = in_.reader.drops();
    const auto counters = in_.reader.counters();
    const auto tables = in_.reader.table_use();
    out.tables_readable = drops && counters && tables;
    if (out.tables_readable) {
        for (const auto& drop : *drops)
            out.drops[drop.reason][drop.direction] = drop.count;
        out.counters = *counters;
        for (const auto& table : *tables) {
            out.tables.push_back({table.name, table.entries, table.capacity, table.memory});
        }
    }
    for (const auto& pool : pools()) {
        out.pools.push_back({pool.family, pool.used, pool.cooling, pool.capacity});
    }
    for (const auto& problem : problems()) {
        // What is no object at all has no kind.
        const std::string kind = problem.object.substr(0, problem.object.find(' '));
        ++out.problems[kind.empty() ? "document" : kind];
    }
    if (const auto* api = in_.objects.api()) {
        out.api_kinds = api->states();
        out.leading = api->leading();
        out.events = api->event_counts();
    }
    const auto policy = PolicyView(in_.policing, in_.objects.store(), in_.pods).state();
    for (const auto& table : policy.tables)
        out.tables.push_back({table.name, table.entries, table.capacity, table.bytes});
    out.policies = policy.policies;
    out.pods_closed = policy.closed;
    out.pods_late = policy.late;
    out.pods = in_.pods.size();
    for (const auto& use : in_.objects.tables().usage()) {
        if (use.table == "services") out.services = use.used;
        if (use.table == "backends") out.backends = use.used;
    }
    out.flow_readers = in_.hub.subscribers();
    out.flow_reader_lost = in_.hub.lost();
    out.ready = troubles().empty();
    return out;
}

}  // namespace weir::agent
