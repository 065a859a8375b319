// SPDX-License-Identifier: Apache-2.0
#include "agent/policing.h"

#include <utility>

#include "common/log.h"

namespace weir::agent {
namespace {

/// A pod that says nothing of itself is told by its container.
model::ObjectName name_of(const ipam::Record& record) {
    if (record.pod_name.empty()) return {{}, model::Text(record.key.to_string())};
    return {model::Text(record.pod_namespace), model::Text(record.pod_name)};
}

policy::LocalEndpoint local_endpoint(const LocalPod& pod) {
    return {.id = pod.endpoint,
            .pod = name_of(pod.record),
            .uid = model::Text(pod.record.pod_uid),
            .addresses = pod.record.addresses};
}

/// What the tables hold, and what one set or policy may take of it.
policy::Capacities capacities(const datapath::PolicyTables& tables) {
    const auto of = [](const auto& table) { return table.raw().info().max_entries; };
    return {.addrs = of(tables.addrs),
            .cidrs = of(tables.cidrs),
            .slots = of(tables.slots),
            .rows = of(tables.rows),
            .cells = of(tables.cells),
            .rules = of(tables.rules),
            .sets = of(tables.sets),
            .counters = of(tables.hits),
            .rows_per_set = of(tables.rows) / 4,
            .cidrs_per_policy = of(tables.cidrs) / 4};
}

}  // namespace

Policing::Policing(datapath::Datapath& datapath, const kube::Store& store, Pods& pods, bool cluster,
                   std::filesystem::path hits, Hooks hooks)
    : datapath_(datapath),
      store_(store),
      pods_(pods),
      cluster_(cluster),
      hooks_(std::move(hooks)),
      hits_(std::move(hits)) {}

Result<void> Policing::store_word(uint32_t bank, uint32_t endpoint, uint64_t word) {
    const auto it = endpoints_.find(endpoint);
    if (it == endpoints_.end()) return {};
    // Another pod's by now: that one is told of, and closed until then.
    WEIR_TRY(pods_.set_policy(endpoint, it->second.generation, bank, word));
    return {};
}

Result<void> Policing::fill() {
    const auto* loaded = datapath_.loaded();
    if (loaded == nullptr) return fail(Errc::kInternal, "policies before programs");
    ++instance_;
    write_error_.clear();
    hits_.end();
    writer_ = WEIR_TRY(datapath_.policy_writer(
        [this, bank = loaded->config().bank](uint32_t endpoint, uint64_t word) {
            return store_word(bank, endpoint, word);
        }));
    hits_.begin([this](uint32_t number) { return read_hits(number); });
    compiler_ = std::make_unique<policy::Compiler>(capacities(writer_->tables()),
                                                   WEIR_TRY(pods_.next_epoch()));
    tell_all();
    WEIR_CHECK(commit(compiler_->flush()));
    settle();
    return {};
}

void Policing::tell_all() {
    const auto put = [this](const auto& object) { compiler_->put(object); };
    store_.for_each<model::Namespace>(put);
    store_.for_each<model::Node>(put);
    all_pods_ = false;
    tell_all_pods();
    store_.for_each<model::NetworkPolicy>(put);
    store_.for_each<model::ClusterNetworkPolicy>(put);
    endpoints_.clear();
    endpoints_of_.clear();
    for (const LocalPod& pod : pods_.all())
        tell_endpoint(pod);
}

/// Without a policy nobody asks who other nodes' pods are: they are not kept until there is one.
void Policing::tell_all_pods() {
    const bool any =
        store_.count<model::NetworkPolicy>() + store_.count<model::ClusterNetworkPolicy>() > 0;
    if (!any || std::exchange(all_pods_, true)) return;
    store_.for_each<model::Pod>([this](const model::Pod& pod) { compiler_->put(pod); });
}

void Policing::tell_pod(const model::ObjectName& name) {
    const bool local = endpoints_of_.contains(name);
    if (!local && !all_pods_) return compiler_->remove_pod(name);
    if (const auto* pod = store_.find<model::Pod>(name)) return compiler_->put(*pod);
    const bool comes = cluster_ && !name.ns.empty();
    if (comes || !local) return compiler_->remove_pod(name);
    model::Pod pod;
    pod.meta.name = name;
    pod.phase = model::PodPhase::kRunning;
    compiler_->put(pod);
}

void Policing::tell_endpoint(const LocalPod& pod) {
    const auto endpoint = local_endpoint(pod);
    endpoints_[pod.endpoint] = pod;
    endpoints_of_[endpoint.pod].insert(pod.endpoint);
    tell_pod(endpoint.pod);
    compiler_->put(endpoint);
}

void Policing::wired(const LocalPod& pod) {
    if (!compiler_) return;  // fill() asks for all
    if (const auto old = endpoints_.find(pod.endpoint); old != endpoints_.end()) {
        const LocalPod before = old->second;
        if (before.generation != pod.generation) unwired(before);
    }
    tell_endpoint(pod);
    flush();
}

void Policing::unwired(const LocalPod& pod) {
    {
        const std::lock_guard lock(mutex_);
        ready_.erase({pod.endpoint, pod.generation});
        overdue_.erase({pod.endpoint, pod.generation});
    }
    const auto it = endpoints_.find(pod.endpoint);
    if (!compiler_ || it == endpoints_.end() || it->second.generation != pod.generation) return;
    const auto name = name_of(it->second.record);
    endpoints_.erase(it);
    auto& same = endpoints_of_[name];
    same.erase(pod.endpoint);
    if (same.empty()) endpoints_of_.erase(name);
    compiler_->remove_endpoint(pod.endpoint);
    tell_pod(name);
    flush();
}

void Policing::take(const kube::Delta& delta) {
    if (!compiler_) return;
    const auto begin = std::chrono::steady_clock::now();
    const auto follow = [&]<typename T>(kube::Kind kind, auto remove) {
        for (const auto& name : delta.of(kind)) {
            const auto* object = store_.find<T>(name);
            object != nullptr ? compiler_->put(*object) : remove(name);
        }
        return !delta.of(kind).empty();
    };
    tell_all_pods();
    bool any = false;
    any |= follow.operator()<model::Namespace>(
        kube::Kind::kNamespace, [&](const auto& name) { compiler_->remove_namespace(name.name); });
    any |= follow.operator()<model::Node>(
        kube::Kind::kNode, [&](const auto& name) { compiler_->remove_node(name.name); });
    any |= follow.operator()<model::NetworkPolicy>(
        kube::Kind::kNetworkPolicy,
        [&](const auto& name) { compiler_->remove_network_policy(name); });
    any |= follow.operator()<model::ClusterNetworkPolicy>(
        kube::Kind::kClusterNetworkPolicy,
        [&](const auto& name) { compiler_->remove_cluster_policy(name.name); });
    for (const auto& name : delta.of(kube::Kind::kPod))
        tell_pod(name);
    if (!any && delta.of(kube::Kind::kPod).empty()) return;
    flush();
    if (!failed() && hooks_.programmed) hooks_.programmed(std::chrono::steady_clock::now() - begin);
}

void Policing::flush() {
    if (failed()) return;  // all of it is written anew, into new tables
    if (const auto written = commit(compiler_->flush()); !written) return;
    settle();
}

Result<uint64_t> Policing::read_hits(uint32_t number) const {
    uint64_t sum = 0;
    for (const weir_policy_hits& of_cpu : WEIR_TRY(writer_->tables().hits.get(number)))
        sum += of_cpu.flows;
    return sum;
}

void Policing::save_hits() {
    if (!compiler_) return;
    hits_.look(std::chrono::system_clock::now());
    if (auto saved = hits_.save(); !saved)
        log::warn("hits of policies' rules: {}", saved.error().message());
}

Result<void> Policing::commit(const model::PolicyTransaction& transaction) {
    hits_.apply(transaction.counters, std::chrono::system_clock::now());
    if (transaction.writes.empty() && transaction.grace == 0) return {};
    const auto when_elapsed = [this, alive = std::weak_ptr(alive_), instance = instance_](
                                  uint64_t token, const Result<void>& waited) {
        if (!waited) {
            log::error("no grace period could be had: {}; freed policy entries are not reused",
                       waited.error().message());
            return;
        }
        hooks_.post([this, alive, instance, token] {
            if (alive.lock()) elapsed(instance, token);
        });
    };
    auto written = writer_->commit(transaction, when_elapsed);
    if (!written) {
        write_error_ = written.error().message();
        log::error("policy tables: {}; they are made and written anew", write_error_);
    }
    return written;
}

void Policing::elapsed(uint64_t instance, uint64_t token) {
    if (instance != instance_ || failed()) return;
    (void)commit(compiler_->grace_elapsed(token));
}

/// Whoever waits for a pod is told once its policies are known and written.
void Policing::settle() {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, pod] : endpoints_) {
        if (!compiler_->knows(id)) continue;
        ready_.insert({id, pod.generation});
        overdue_.erase({id, pod.generation});
    }
    settled_.notify_all();
}

bool Policing::wait_for(const LocalPod& pod) {
    std::unique_lock lock(mutex_);
    const Key key{pod.endpoint, pod.generation};
    if (settled_.wait_for(lock, kPatience, [&] { return ready_.contains(key); })) return true;
    ++late_;
    overdue_.insert(key);
    return false;
}

uint64_t Policing::kernel_bytes(std::string_view map) const {
    const auto* loaded = datapath_.loaded();
    return loaded == nullptr ? 0 : loaded->policy().memory(map).value_or(0);
}

uint64_t Policing::late_pods() const {
    const std::lock_guard lock(mutex_);
    return late_;
}

std::string Policing::late_uid(const model::ObjectName& pod) const {
    const auto local = endpoints_of_.find(pod);
    if (local == endpoints_of_.end()) return {};
    const std::lock_guard lock(mutex_);
    for (const uint32_t id : local->second) {
        const LocalPod& endpoint = endpoints_.at(id);
        if (overdue_.contains({id, endpoint.generation})) return endpoint.record.pod_uid;
    }
    return {};
}

std::string Policing::rule_text(uint32_t rule) const {
    if (!compiler_ || rule == 0) return {};
    const auto* origin = compiler_->rule(WEIR_EVENT_RULE_SET(rule), WEIR_EVENT_RULE_NUMBER(rule));
    return origin == nullptr ? std::string() : origin->to_string();
}

std::vector<policy::Problem> Policing::problems() const {
    return compiler_ ? compiler_->problems() : std::vector<policy::Problem>();
}

std::vector<policy::TableUse> Policing::usage() const {
    return compiler_ ? compiler_->usage() : std::vector<policy::TableUse>();
}

}  // namespace weir::agent
