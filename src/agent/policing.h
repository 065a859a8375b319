// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/pods.h"
#include "agent/policy_hits.h"
#include "datapath/datapath.h"
#include "kube/store.h"
#include "policy/compiler.h"

namespace weir::agent {

/// From objects and local pods to tables of policy: compiles what changed and has it written, for
/// the programs that were loaded last. On the agent's loop, but for wait_for().
class Policing {
  public:
    struct Hooks {
        /// Runs a function later on the loop's thread; callable from any thread.
        std::function<void(std::function<void()>)> post;
        /// A batch of changes is in the kernel: how long it took.
        std::function<void(std::chrono::duration<double>)> programmed;
    };
    /// `cluster`: the objects are those of an API server, which has a Pod for each pod that its
    /// runtime names. Any other that no document describes is one without labels. References
    /// outlive this. `hits`: the file that keeps them.
    Policing(datapath::Datapath& datapath, const kube::Store& store, Pods& pods, bool cluster,
             std::filesystem::path hits, Hooks hooks);
    Policing(const Policing&) = delete;
    Policing& operator=(const Policing&) = delete;

    /// Every policy into the tables of the programs loaded last, which are empty and not in force.
    Result<void> fill();
    /// Objects changed. Before fill(): nothing.
    void take(const kube::Delta& delta);
    void wired(const LocalPod& pod);
    void unwired(const LocalPod& pod);

    /// Waits until a pod that was wired is under its policies; at most kPatience. False: it is not,
    /// and nothing passes to or from it until it is. Any thread but the loop's.
    bool wait_for(const LocalPod& pod);
    static constexpr std::chrono::seconds kPatience{5};

    /// A table could not be written: the programs are to be loaded anew, with empty ones.
    [[nodiscard]] bool failed() const { return !write_error_.empty(); }
    [[nodiscard]] const std::string& write_error() const { return write_error_; }
    /// A rule by its WEIR_EVENT_RULE; "": none, or not known any more.
    [[nodiscard]] std::string rule_text(uint32_t rule) const;
    [[nodiscard]] std::vector<policy::Problem> problems() const;
    [[nodiscard]] std::vector<policy::TableUse> usage() const;
    /// Of a number of the hits; of 0, which counts nothing, nothing.
    [[nodiscard]] Result<PolicyHits::Total> hits(uint32_t number) const {
        return hits_.total(number);
    }
    /// Notes what has counted since the last time, and writes it to the file.
    void save_hits();
    /// Null before fill().
    [[nodiscard]] const policy::Compiler* compiler() const { return compiler_.get(); }
    [[nodiscard]] const datapath::PolicyWriter* writer() const {
        return writer_ ? &*writer_ : nullptr;
    }
    /// Memory of a table of policy by its map, bytes.
    [[nodiscard]] uint64_t kernel_bytes(std::string_view map) const;
    /// Pods that started without their policies, since this agent did.
    [[nodiscard]] uint64_t late_pods() const;
    /// Of a pod that started without its policies and still is: its uid, as its runtime knows it.
    /// "": there is none of this name, or its runtime said no uid.
    [[nodiscard]] std::string late_uid(const model::ObjectName& pod) const;

  private:
    using Key = std::pair<uint32_t, uint16_t>;  ///< endpoint, generation

    Result<void> store_word(uint32_t bank, uint32_t endpoint, uint64_t word);
    void tell_all();
    void tell_all_pods();
    void tell_pod(const model::ObjectName& name);
    void tell_endpoint(const LocalPod& pod);
    void flush();
    [[nodiscard]] Result<uint64_t> read_hits(uint32_t number) const;
    [[nodiscard]] Result<void> commit(const model::PolicyTransaction& transaction);
    void elapsed(uint64_t instance, uint64_t token);
    void settle();

    datapath::Datapath& datapath_;
    const kube::Store& store_;
    Pods& pods_;
    bool cluster_;
    bool all_pods_ = false;  ///< the compiler knows all, not only this node's
    Hooks hooks_;
    std::unique_ptr<policy::Compiler> compiler_;
    std::optional<datapath::PolicyWriter> writer_;
    PolicyHits hits_;
    uint64_t instance_ = 0;  ///< of compiler and writer; grace periods know theirs
    std::map<uint32_t, LocalPod> endpoints_;
    std::map<model::ObjectName, std::set<uint32_t>> endpoints_of_;
    std::string write_error_;

    mutable std::mutex mutex_;  // of what follows
    std::condition_variable settled_;
    std::set<Key> ready_;
    std::set<Key> overdue_;  ///< not waited for any more
    uint64_t late_ = 0;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace weir::agent
