// SPDX-License-Identifier: Apache-2.0
#include "agent/objects.h"

#include <algorithm>
#include <unordered_set>

#include <poll.h>

#include "agent/node_memory.h"
#include "common/log.h"
#include "kube/api/kubeconfig.h"

namespace weir::agent {
namespace {

/// A backend that nobody owns is cut from its flows and kept that long, so that late packets of
/// those flows still meet the verdict.
constexpr uint64_t kLingerSeconds = 60;

lb::Capacities capacities(const Config& config) {
    return {.vips = config.max_services * 2,
            .services = config.max_services,
            .slots = config.max_slots,
            .backends = config.max_backends,
            .ranges = config.max_source_ranges};
}

/// How long the end of the agent waits for an API server.
constexpr std::chrono::seconds kGiveUp{2};

/// Seconds between two lines about what the start waits for.
constexpr unsigned kTellEvery = 10;
/// Seconds without a pod range after which the Node says so: another agent may give it one.
constexpr unsigned kComplainAfter = 30;

Result<kube::api::Access> access_of(const Config& config) {
    auto access = config.kubeconfig.empty() ? kube::api::in_cluster_access()
                                            : kube::api::kubeconfig_access(config.kubeconfig);
    if (!access) return access;
    WEIR_CHECK(kube::api::use_servers(*access, config.api_servers));
    return access;
}

/// Why the pod ranges of this node are not known.
std::string node_trouble(const kube::api::ApiSource& api, const model::Node* node) {
    const auto state = api.states()[static_cast<size_t>(kube::Kind::kNode)];
    if (!state.synced) {
        return fmt::format("{}: {}", api.servers(),
                           state.error.empty() ? "no answer yet" : state.error);
    }
    return node == nullptr ? "the cluster has no Node of this name; set node-name to the Node's"
                           : "this Node has no podCIDR; let the controller manager allocate them, "
                             "or set pool-cidrs";
}

}  // namespace

Objects::Objects(const Config& config, const datapath::LbWriter& writer, Hooks hooks,
                 std::unique_ptr<kube::Store> store,
                 std::unique_ptr<kube::EndpointController> controller, kube::FileSource files,
                 std::unique_ptr<kube::api::ApiSource> api)
    : config_(config),
      node_name_{{}, model::Text(config.node_name)},
      writer_(writer),
      hooks_(std::move(hooks)),
      store_owner_(std::move(store)),
      store_(*store_owner_),
      controller_(std::move(controller)),
      files_(std::move(files)),
      api_(std::move(api)),
      planner_(node_context()),
      tables_(capacities(config)) {
    store_.subscribe([this](const kube::Delta& delta) { take(delta); });
}

Result<std::unique_ptr<Objects>> Objects::open(const Config& config,
                                               const datapath::LbWriter& writer, Hooks hooks) {
    auto store = std::make_unique<kube::Store>();
    const bool cluster = config.source == Config::Source::kKubernetes;
    // The cluster has a controller of its own.
    auto controller = cluster ? nullptr : std::make_unique<kube::EndpointController>(*store);
    auto directories = config.source_dirs;
    // Pods that `weir run` started on this host say so themselves.
    directories.push_back(config.run_dir / "pods.d");
    auto files = WEIR_TRY(kube::FileSource::open(*store, std::move(directories)));
    std::unique_ptr<kube::api::ApiSource> api;
    if (cluster) {
        auto access = WEIR_TRY(access_of(config));
        const std::string ns = access.ns;
        api = WEIR_TRY(kube::api::ApiSource::open(*store, std::move(access)));
        api->begin_writes(
            {.node = config.node_name,
             .ns = ns,
             .blocks = {.source = WEIR_TRY(block_source(config)), .rest = config.pool_rest}});
    }
    if (controller) controller->update();
    store->publish();  // nobody listens yet: start() takes everything
    return std::unique_ptr<Objects>(new Objects(config, writer, std::move(hooks), std::move(store),
                                                std::move(controller), std::move(files),
                                                std::move(api)));
}

const model::Node* Objects::node() const {
    const auto* found = store_.find<model::Node>(node_name_);
    return found == nullptr && remembered_ ? &*remembered_ : found;
}

std::vector<IpPrefix> Objects::pod_ranges() const {
    const model::Node* const self = node();
    if (self != nullptr && !self->pod_cidrs.empty()) return self->pod_cidrs;
    return api_ ? std::vector<IpPrefix>() : config_.pod_cidrs;
}

std::vector<IpAddress> Objects::node_addresses() const {
    const model::Node* const self = node();
    return self == nullptr ? std::vector<IpAddress>() : self->internal_ips;
}

std::vector<const model::Node*> Objects::other_nodes() const {
    std::vector<const model::Node*> out;
    store_.for_each<model::Node>([&](const model::Node& node) {
        if (node.meta.name != node_name_) out.push_back(&node);
    });
    return out;
}

bool Objects::synced() const {
    if (!files_.synced()) return false;
    if (!api_) return true;
    constexpr kube::Kind kNeeded[] = {kube::Kind::kNode,
                                      kube::Kind::kService,
                                      kube::Kind::kEndpointSlice,
                                      kube::Kind::kNamespace,
                                      kube::Kind::kPod,
                                      kube::Kind::kNetworkPolicy,
                                      kube::Kind::kClusterNetworkPolicy};
    return std::ranges::all_of(kNeeded, [&](kube::Kind kind) { return api_->synced(kind); });
}

std::vector<int> Objects::fds() const {
    std::vector<int> fds{files_.fd()};
    if (api_) fds.push_back(api_->fd());
    return fds;
}

Result<void> Objects::wait_for_node() {
    if (!api_) return {};
    remembered_ = load_node(config_.run_dir, config_.node_name);
    if (remembered_) {
        log::info("node {}: pod ranges and addresses as before", config_.node_name);
        return {};
    }
    for (unsigned waited = 0; pod_ranges().empty(); ++waited) {
        if (waited % kTellEvery == 1) log::info("waiting: {}", node_trouble(*api_, node()));
        if (waited == kComplainAfter) complain_of_no_range();
        pollfd poll{.fd = api_->fd(), .events = POLLIN, .revents = 0};
        ::poll(&poll, 1, 1000);
        api_->on_readable();
        store_.publish();
        // This may be the elected agent, whose own Node waits for a block that it has to free.
        help_writes();
    }
    remember_node();
    return {};
}

void Objects::complain_of_no_range() {
    const auto* self = store_.find<model::Node>(node_name_);
    if (self == nullptr) return;  // the log has it
    api_->tell({.regarding = {.api_version = "v1",
                              .kind = "Node",
                              .ns = {},
                              .name = config_.node_name,
                              .uid = self->meta.uid.str()},
                .reason = "PodRangeMissing",
                .action = "Starting",
                .text = "spec.podCIDRs: " + node_trouble(*api_, self)});
}

void Objects::report_ready() {
    if (api_) api_->report_node_ready(config_.node_name);
}

void Objects::help_writes() {
    if (!api_) return;
    api_->set_candidates(store_.count<model::Node>());
    // Before all pods are known, a block would seem free that is not.
    if (api_->wants_pods() && api_->synced(kube::Kind::kPod)) {
        api_->set_pods(pod_addresses(store_));
    }
}

void Objects::end_writes() {
    if (api_) api_->end_writes(kGiveUp);
}

void Objects::remember_node() {
    const auto* self = store_.find<model::Node>(node_name_);
    if (!api_ || self == nullptr || self->pod_cidrs.empty()) return;
    if (auto saved = save_node(config_.run_dir, *self); !saved) {
        log::warn("remembering this node: {}", saved.error().message());
    }
}

lb::NodeContext Objects::node_context() const {
    const auto* node = store_.find<model::Node>(node_name_);
    lb::NodeContext context =
        node != nullptr ? lb::node_context(*node)
                        : lb::NodeContext{.name = config_.node_name, .zone = {}, .addresses = {}};
    if (context.addresses.empty()) context.addresses = host_addresses_;
    return context;
}

void Objects::set_host_addresses(std::vector<IpAddress> addresses) {
    if (addresses == host_addresses_) return;
    host_addresses_ = std::move(addresses);
    planner_.set_node(node_context());
    if (started_) commit(tables_.apply(all_services()));
}

Result<void> Objects::start() {
    tables_.adopt(WEIR_TRY(writer_.read()));
    started_ = true;
    planner_.set_node(node_context());
    commit(tables_.apply(everything()));
    if (!write_error_.empty()) return fail(Errc::kSystem, "{}", write_error_);
    commit(tables_.finish_adoption());
    return {};
}

Result<void> Objects::on_readable() {
    WEIR_CHECK(files_.on_readable());
    if (api_) api_->on_readable();
    if (controller_) controller_->update();
    store_.publish();
    return {};
}

void Objects::take(const kube::Delta& delta) {
    const bool node_changed = delta.of(kube::Kind::kNode).contains(node_name_);
    if (node_changed) remember_node();
    const bool gives_ranges = api_ && !config_.pool_cidrs.empty();
    if (gives_ranges && node_ranges_.update(store_, delta.of(kube::Kind::kNode))) {
        api_->set_nodes(node_ranges_.list());
    }
    if (!started_) return;
    const auto begin = std::chrono::steady_clock::now();
    lb::Changes changes;
    if (node_changed) {
        planner_.set_node(node_context());
        changes = all_services();
        for (const auto& name : delta.of(kube::Kind::kService)) {
            if (store_.find<model::Service>(name) == nullptr) update_service(name, changes);
        }
    } else {
        for (const auto& name : delta.of(kube::Kind::kService))
            update_service(name, changes);
        for (const auto& name : delta.endpoints) {
            if (!delta.of(kube::Kind::kService).contains(name)) update_service(name, changes);
        }
    }
    const auto triggers = new_triggers(delta.endpoints);
    if (!changes.upserts.empty() || !changes.removed.empty()) {
        commit(tables_.apply(std::move(changes)));
        if (write_error_.empty()) {
            hooks_.programmed(std::chrono::steady_clock::now() - begin);
            const auto now = std::chrono::system_clock::now();
            for (const auto trigger : triggers)
                hooks_.network_programmed(now - trigger);
        }
    }
    hooks_.changed(delta);
}

std::vector<TriggerTimes::Time> Objects::new_triggers(const kube::NameSet& services) {
    std::vector<TriggerTimes::Time> out;
    for (const auto& service : services) {
        const auto of_service = triggers_.update(service, store_.slices_of(service));
        out.insert(out.end(), of_service.begin(), of_service.end());
    }
    return out;
}

void Objects::update_service(const model::ObjectName& name, lb::Changes& changes) {
    warnings_.erase(name);
    const auto* service = store_.find<model::Service>(name);
    if (service == nullptr) {
        planner_.remove(name, changes);
        return;
    }
    auto warnings = planner_.update(*service, store_.slices_of(name), changes);
    if (!warnings.empty()) warnings_[name] = std::move(warnings);
}

lb::Changes Objects::all_services() {
    lb::Changes changes;
    store_.for_each<model::Service>(
        [&](const model::Service& service) { update_service(service.meta.name, changes); });
    return changes;
}

lb::Changes Objects::everything() {
    lb::Changes changes = all_services();
    lb::Changes ports = host_ports_.update(host_port_pods_);
    std::ranges::move(ports.upserts, std::back_inserter(changes.upserts));
    std::ranges::move(ports.removed, std::back_inserter(changes.removed));
    return changes;
}

void Objects::set_host_ports(std::vector<lb::HostPortPod> pods) {
    host_port_pods_ = std::move(pods);
    if (started_) commit(tables_.apply(host_ports_.update(host_port_pods_)));
}

void Objects::commit(const model::LbTransaction& transaction) {
    if (transaction.writes.empty() && transaction.grace == 0) return;
    const auto elapsed = [this, alive = std::weak_ptr(alive_)](model::GraceToken token,
                                                               const Result<void>& waited) {
        if (!waited) {
            log::error("no grace period could be had: {}; freed table entries are not reused",
                       waited.error().message());
            return;
        }
        hooks_.post([this, alive, token] {
            if (alive.lock()) commit(tables_.grace_elapsed(token));
        });
    };
    if (auto written = writer_.commit(transaction, elapsed); !written) {
        write_error_ = written.error().message();
        log::error("load-balancing tables: {}; they are read back and written anew", write_error_);
    }
}

/// After a failed write what the kernel holds is unknown: the tables are adopted as after a
/// restart.
void Objects::resync() {
    auto image = writer_.read();
    if (!image) {
        log::error("load-balancing tables cannot be read back: {}", image.error().message());
        return;
    }
    write_error_.clear();
    std::destroy_at(&tables_);
    std::construct_at(&tables_, capacities(config_));
    tables_.adopt(*image);
    commit(tables_.apply(everything()));
    if (write_error_.empty()) commit(tables_.finish_adoption());
}

lb::AddressUse Objects::use_of(const IpAddress& address) const {
    return store_.pod_by_ip(address) != nullptr ? lb::AddressUse::kOwned : lb::AddressUse::kNobody;
}

void Objects::age(std::chrono::steady_clock::time_point now) {
    if (!write_error_.empty()) return resync();
    // Made only if a backend without a Service asks.
    std::optional<std::unordered_set<IpAddress>> endpoints;
    const auto use = [&](const IpAddress& address, uint16_t, model::Protocol) {
        if (!endpoints) {
            endpoints.emplace();
            store_.for_each<model::EndpointSlice>([&](const model::EndpointSlice& slice) {
                for (const auto& endpoint : slice.endpoints)
                    endpoints->insert(endpoint.address);
            });
        }
        return endpoints->contains(address) ? lb::AddressUse::kEndpoint : use_of(address);
    };
    const auto seconds =
        std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count();
    commit(tables_.age(static_cast<uint64_t>(seconds), kLingerSeconds, use));
}

}  // namespace weir::agent
