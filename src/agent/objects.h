// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/config.h"
#include "agent/node_pools.h"
#include "agent/trigger_times.h"
#include "datapath/lb_writer.h"
#include "kube/api/api_source.h"
#include "kube/endpoint_controller.h"
#include "kube/file_source.h"
#include "kube/store.h"
#include "lb/host_ports.h"
#include "lb/planner.h"
#include "lb/tables.h"

namespace weir::agent {

/// From objects to load-balancing tables: reads the sources, compiles what changed, and has it
/// written. One thread, the agent's loop.
class Objects {
  public:
    struct Hooks {
        /// Runs a function later on the loop's thread; callable from any thread.
        std::function<void(std::function<void()>)> post;
        /// Pods, nodes or namespaces may have changed; after the tables were written.
        std::function<void(const kube::Delta&)> changed;
        /// A batch of changes is in the kernel: how long it took from reading the objects.
        std::function<void(std::chrono::duration<double>)> programmed;
        /// A change of a Service's endpoints is in the kernel: how long after the cluster noticed
        /// it, where it says so.
        std::function<void(std::chrono::duration<double>)> network_programmed;
    };

    /// Reads files once and begins to read from the API server; writes nothing yet. `writer`
    /// outlives this object.
    static Result<std::unique_ptr<Objects>> open(const Config& config,
                                                 const datapath::LbWriter& writer, Hooks hooks);

    /// Waits until this node's pod ranges are known: from its Node, or from what was remembered of
    /// it in the run directory. Returns at once where files are the source.
    Result<void> wait_for_node();

    /// Pods can be wired and Services are in force: the cluster, if any, is told so.
    void report_ready();
    /// Every few seconds: what the writing to the cluster needs to know of objects.
    void help_writes();
    /// The agent ends: another one may be elected at once.
    void end_writes();

    /// Once synced(): takes over what the kernel's tables hold, brings them up to date and removes
    /// what is stale.
    Result<void> start();

    /// Each is readable when on_readable() has something to do.
    [[nodiscard]] std::vector<int> fds() const;
    Result<void> on_readable();
    [[nodiscard]] bool started() const { return started_; }
    /// This host's own addresses, which count as the node's while its Node object names none:
    /// source ranges that hold one admit the host. Before start(), and when they change.
    void set_host_addresses(std::vector<IpAddress> addresses);
    /// The pods of this node that ports of the host lead to, each time they are others.
    void set_host_ports(std::vector<lb::HostPortPod> pods);
    /// Every few seconds: moves backends without a Service on (lb/backends.h).
    void age(std::chrono::steady_clock::time_point now);

    [[nodiscard]] const kube::Store& store() const { return store_; }
    [[nodiscard]] const kube::FileSource& files() const { return files_; }
    [[nodiscard]] const lb::Tables& tables() const { return tables_; }
    /// The API server, if that is the source.
    [[nodiscard]] kube::api::ApiSource* api() const { return api_.get(); }
    /// What the tables are made of has been read once.
    [[nodiscard]] bool synced() const;
    /// This node's pod ranges: those of its Node object, else the configured ones.
    [[nodiscard]] std::vector<IpPrefix> pod_ranges() const;
    [[nodiscard]] std::vector<IpAddress> node_addresses() const;
    /// Valid until the next change of objects.
    [[nodiscard]] std::vector<const model::Node*> other_nodes() const;
    /// The last write to the tables failed, and why; tried again at the next change and age().
    [[nodiscard]] const std::string& write_error() const { return write_error_; }
    /// Parts of Services that were ignored, by Service.
    [[nodiscard]] const std::map<model::ObjectName, std::vector<std::string>>& warnings() const {
        return warnings_;
    }

  private:
    Objects(const Config& config, const datapath::LbWriter& writer, Hooks hooks,
            std::unique_ptr<kube::Store> store,
            std::unique_ptr<kube::EndpointController> controller, kube::FileSource files,
            std::unique_ptr<kube::api::ApiSource> api);
    [[nodiscard]] const model::Node* node() const;
    void remember_node();
    void complain_of_no_range();
    void take(const kube::Delta& delta);
    void update_service(const model::ObjectName& name, lb::Changes& changes);
    lb::Changes all_services();
    /// Also host ports.
    lb::Changes everything();
    [[nodiscard]] std::vector<TriggerTimes::Time> new_triggers(const kube::NameSet& services);
    void commit(const model::LbTransaction& transaction);
    void resync();
    [[nodiscard]] lb::AddressUse use_of(const IpAddress& address) const;
    [[nodiscard]] lb::NodeContext node_context() const;

    const Config& config_;
    const model::ObjectName node_name_;  ///< of this node's Node
    const datapath::LbWriter& writer_;
    Hooks hooks_;
    std::unique_ptr<kube::Store> store_owner_;  // stable address: the controller refers to it
    kube::Store& store_;
    std::unique_ptr<kube::EndpointController> controller_;  ///< none in a cluster, which has one
    kube::FileSource files_;
    std::unique_ptr<kube::api::ApiSource> api_;
    NodeRangesOfAll node_ranges_;
    std::optional<model::Node> remembered_;  ///< this node, as it was before the agent started
    std::vector<IpAddress> host_addresses_;
    lb::Planner planner_;
    std::vector<lb::HostPortPod> host_port_pods_;
    lb::HostPortPlanner host_ports_;
    lb::Tables tables_;
    std::map<model::ObjectName, std::vector<std::string>> warnings_;
    std::string write_error_;
    TriggerTimes triggers_{std::chrono::system_clock::now()};
    bool started_ = false;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace weir::agent
