// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

#include "agent/api_types.h"
#include "agent/cni_service.h"
#include "agent/config.h"
#include "agent/host.h"
#include "agent/host_findings.h"
#include "agent/metrics.h"
#include "agent/names.h"
#include "agent/objects.h"
#include "agent/pods.h"
#include "agent/policing.h"
#include "agent/router.h"
#include "datapath/host_checks.h"
#include "datapath/reader.h"
#include "flow/hub.h"

namespace weir::agent {

/// What the views look at; all outlive them.
struct ViewInputs {
    const Start& start;
    const datapath::CgroupRoot& cgroup;
    const datapath::Datapath& datapath;
    const datapath::Reader& reader;
    const Objects& objects;
    const Host& host;
    const HostFindings& findings;
    const Pods& pods;
    const Policing& policing;
    const ipam::Pools& ipam;
    const CniService& cni;
    const TableNames& names;
    const flow::Hub& hub;
};

/// The agent's state as the local API and the metrics show it. On the agent's loop.
class Views {
  public:
    explicit Views(const ViewInputs& inputs);

    /// All GET paths of the local API but the flows, and the health checks.
    void register_on(api::Router& router) const;
    [[nodiscard]] metrics::Snapshot metrics() const;

  private:
    [[nodiscard]] Result<api::Status> status() const;
    [[nodiscard]] api::Datapath datapath() const;
    [[nodiscard]] api::Routing routing() const;
    [[nodiscard]] std::string source_name() const;
    [[nodiscard]] std::vector<api::Source> sources() const;
    /// What cannot be used, of documents and of Services, as the tables and the compiler say.
    [[nodiscard]] std::vector<api::Problem> problems() const;
    [[nodiscard]] Result<std::vector<api::Pod>> pods() const;
    [[nodiscard]] Result<std::vector<api::Service>> services() const;
    [[nodiscard]] std::vector<api::IpamPool> pools() const;
    [[nodiscard]] api::Ipam ipam() const;
    [[nodiscard]] std::vector<api::Setting> settings() const;
    [[nodiscard]] Result<api::Explanation> explanation(const api::Request& request) const;
    /// Why the agent is not ready; empty: it is.
    [[nodiscard]] std::vector<std::string> troubles() const;
    [[nodiscard]] Result<std::unique_ptr<api::LineSource>> conntrack(
        const api::Request& request) const;

    ViewInputs in_;
    std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

}  // namespace weir::agent
