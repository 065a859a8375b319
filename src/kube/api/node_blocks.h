// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "kube/api/caller.h"
#include "kube/api/event_note.h"
#include "kube/api/node_ranges.h"

/// Only for sources that speak to the network: Asio is heavy.
namespace weir::kube::api {

/// Gives Nodes without podCIDRs blocks of the pools, as the elected agent. A block is claimed by
/// creating the Lease of its name, which can succeed once; its holder is the Node's name. Then the
/// Node is told, in spec.podCIDRs, where everybody reads it. See docs/adr/0007.
class NodeBlocks {
  public:
    struct Hooks {
        std::function<bool()> leading;
        std::function<void(EventNote)> note;
    };
    NodeBlocks(boost::asio::io_context& io, Session& session, std::string ns, BlockOptions options,
               Hooks hooks);

    // The io_context's thread.
    /// Never ends; dies with the io_context.
    boost::asio::awaitable<void> run();
    /// All Nodes, as they were a moment ago.
    void set_nodes(std::vector<NodeRanges> nodes);
    /// All addresses that pods have, sorted; asked for by wants_pods().
    void set_pods(std::vector<IpAddress> addresses);

    // Any thread.
    [[nodiscard]] bool wants_pods() const { return wants_pods_; }
    [[nodiscard]] BlockState state() const;

  private:
    using Clock = std::chrono::steady_clock;
    struct Claim {
        std::string lease;  ///< name
        std::string uid;
        std::string resource_version;
        std::string node;
        IpPrefix block;
    };

    Task<> round();
    Task<> read_claims();
    Task<> adopt(const NodeRanges& node);
    Task<> give(const NodeRanges& node);
    /// The node's block of the family: one that it holds, or a new one.
    Task<IpPrefix> block_for(const NodeRanges& node, Family family);
    /// False if another Node has it.
    Task<bool> claim(const IpPrefix& block, const std::string& node);
    Task<> tell_node(const NodeRanges& node, const std::vector<IpPrefix>& blocks);
    Task<> free_old();
    Task<> free(const Claim& claim);
    Task<bool> node_exists(const std::string& name);
    Task<Reply> call(HttpRequest request);
    [[nodiscard]] bool in_use(const Claim& claim) const;
    void add_claim(Claim claim);
    /// False if it is gone.
    Task<bool> touch(const Claim& claim);
    void complain(const NodeRanges& node, std::string_view reason, const std::string& why);
    void show(std::string error);

    std::string ns_;
    BlockOptions options_;
    Hooks hooks_;
    Caller caller_;
    boost::asio::steady_timer timer_;
    bool changed_ = false;
    std::map<std::string, NodeRanges> nodes_;  ///< by name
    bool nodes_known_ = false;
    std::map<std::string, Claim> claims_;                         ///< by Lease
    std::map<std::pair<std::string, Family>, std::string> held_;  ///< Lease, by its Node
    std::map<std::string, Clock::time_point> left_since_;         ///< by the Lease's uid
    std::optional<std::vector<IpAddress>> pods_;
    std::string trouble_;  ///< of this round
    std::atomic<bool> wants_pods_{false};
    mutable std::mutex mutex_;
    BlockState state_;
};

/// "weir-block-10.244.3.0-24", "weir-block-fd00-10-244-3---64": one name for each block.
std::string block_lease(const IpPrefix& block);

}  // namespace weir::kube::api
