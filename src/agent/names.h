// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/objects.h"
#include "agent/pods.h"
#include "agent/policing.h"
#include "agent/table_view.h"
#include "flow/record.h"

namespace weir::agent {

/// Who is behind an address or a number of the tables, for flow records. On the agent's loop.
class FlowNames final : public flow::Resolver {
  public:
    /// The references outlive this object.
    FlowNames(const Objects& objects, const Pods& pods, const Policing& policing,
              const std::string& node_name);

    [[nodiscard]] flow::IdentityPtr by_address(const IpAddress& address) const override;
    [[nodiscard]] flow::IdentityPtr by_endpoint(uint32_t id) const override;
    [[nodiscard]] std::optional<flow::ServicePortName> service(uint32_t index) const override;
    [[nodiscard]] std::string rule(uint32_t rule) const override {
        return policing_.rule_text(rule);
    }
    [[nodiscard]] std::string device(uint32_t ifindex) const override;

    /// Objects or addresses of the host changed: identities are made anew when asked for.
    void refresh(const std::vector<IpAddress>& host_addresses);

  private:
    const Objects& objects_;
    const Pods& pods_;
    const Policing& policing_;
    flow::IdentityPtr outside_;
    flow::IdentityPtr host_;
    mutable std::unordered_map<IpAddress, flow::IdentityPtr> by_address_;
};

/// The same for the API's tables.
class TableNames final : public api::Names {
  public:
    explicit TableNames(const Objects& objects) : objects_(objects) {}
    [[nodiscard]] std::string pod(const IpAddress& address) const override;
    [[nodiscard]] std::string service(uint32_t index) const override;

    /// Everything by name, for those who read the tables when no agent lives.
    [[nodiscard]] api::SavedNames snapshot() const;

  private:
    const Objects& objects_;
};

}  // namespace weir::agent
