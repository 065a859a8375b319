// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/result.h"
#include "datapath/attach.h"
#include "datapath/endpoint_table.h"
#include "datapath/grace.h"
#include "datapath/lb_writer.h"
#include "datapath/loader.h"
#include "datapath/maps.h"
#include "datapath/pins.h"
#include "datapath/policy_writer.h"
#include "datapath/sock_links.h"

namespace weir::datapath {

/// Which sockets the socket hooks serve. kOff also removes the hooks.
enum class SocketHooks : uint8_t { kAll, kHost, kOff };

/// What an activation did.
struct Activation {
    uint32_t bank = 0;
    SockLinks sock;
};

/// The kernel half of Weir. The agent uses it in this order:
///
///   auto root = find_cgroup_root(configured);       host_checks.h: refuse what is not the host's
///   check_bpffs(bpffs);
///   auto dp = Datapath::open(options);              maps and stubs: adopted, or made and pinned
///   dp->load(config);                               this build's programs; old ones stay in force
///   dp->lb().read(), dp->endpoints().all(), …       what the tables hold: reconcile, write
///   dp->policy_writer()                             policies, into the new programs' own tables
///   sync_cidrs(dp->tables(), …), …                  host_tables.h
///   dp->activate(hooks);                            new programs take over
///   dp->devices().attach(ifindex, …);               first start only; attachments stay for good
///   clean-up of stale entries, dp->devices().sweep_stale()
///
/// Destruction detaches and flushes nothing: everything goes on without an agent. One thread at a
/// time; lb() and endpoints() too.
class Datapath {
  public:
    struct Options {
        std::filesystem::path bpffs;
        std::filesystem::path cgroup_root;
        TableSizes sizes;
        PolicySizes policy_sizes = {};
        Build build;
        StepHook step = [](std::string_view) {};  ///< see StepHook; for tests that die in it
    };

    /// Adopts or makes maps and stubs, and finishes what a dead agent left half done. kUnavailable:
    /// another agent has these pins.
    static Result<std::unique_ptr<Datapath>> open(Options options);

    /// Loads the build's programs. config.bank is chosen here. Their tables of policy are empty:
    /// they are to be filled before activate(). On failure nothing has changed.
    Result<void> load(weir_config config);
    /// Puts the loaded programs in force and starts their sweep; some 10 ms. The old programs'
    /// stages go when nothing runs in them any more. On failure the old programs stay in force, or,
    /// once the first entry has changed, the new ones do.
    Result<Activation> activate(SocketHooks hooks);

    [[nodiscard]] const PinDir& pins() const { return pins_; }
    [[nodiscard]] const MapSet& maps() const { return maps_; }
    [[nodiscard]] const Tables& tables() const { return tables_; }
    [[nodiscard]] const DeviceAttacher& devices() const { return devices_; }
    [[nodiscard]] EndpointTable& endpoints() { return endpoints_; }
    [[nodiscard]] const LbWriter& lb() const { return lb_; }
    [[nodiscard]] GraceWorker& grace() { return grace_; }
    /// Writes what the programs loaded last know of policy. Words of endpoints go by `store_word`,
    /// which is to use EndpointTable::set_policy() for the bank of these programs.
    Result<PolicyWriter> policy_writer(PolicyWriter::StoreWord store_word);
    /// Null before load().
    [[nodiscard]] const LoadedBuild* loaded() const { return loaded_ ? &*loaded_ : nullptr; }
    /// Whether open() finished a takeover that another agent had begun.
    [[nodiscard]] bool recovered() const { return recovered_; }

  private:
    Datapath(Options options, PinDir pins, Fd lock, MapSet maps, Tables tables,
             DeviceAttacher devices);
    Result<void> prepare();
    Result<uint32_t> idle_bank() const;
    [[nodiscard]] ProgramArray programs() const { return {*maps_.find("weir_progs"), pins_}; }

    Options options_;
    PinDir pins_;
    Fd lock_;  // held as long as this agent owns the pins; a forked child holds it too until exec
    MapSet maps_;
    Tables tables_;
    DeviceAttacher devices_;
    EndpointTable endpoints_;
    GraceWorker grace_;
    LbWriter lb_;
    std::optional<LoadedBuild> loaded_;
    bool recovered_ = false;
};

}  // namespace weir::datapath
