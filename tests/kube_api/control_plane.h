// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "support/process.h"

namespace weir::test {

/// A real API server with a real etcd, for one test process: it moves into a network namespace of
/// its own, where both listen on loopback. Everything goes with the process. Failures throw.
class ControlPlane {
  public:
    static constexpr uint16_t kPort = 6443;

    /// Why there can be none here, in words; "" if there can.
    static std::string missing();

    enum class Net : uint8_t { kOwn, kCallers };
    /// `net`: whether to move into a namespace first, or to stay in the one that the test is in.
    explicit ControlPlane(Net net = Net::kOwn);
    ControlPlane(const ControlPlane&) = delete;
    ControlPlane& operator=(const ControlPlane&) = delete;
    ~ControlPlane();

    /// `more_flags` stay for the next start.
    void start_server(std::optional<std::vector<std::string>> more_flags = {});
    void kill_server();
    [[nodiscard]] bool ready() const;

    /// `kubectl ARGUMENTS…` as the administrator, straight to the server; throws unless it
    /// succeeds.
    std::string kubectl(std::vector<std::string> arguments) const;
    void apply(std::string_view yaml) const;
    /// The kinds that come with the chart, served from now on.
    void make_kinds() const;
    /// The user may do what the chart lets an agent do, and nothing else.
    void make_agent(const std::string& user) const;

    /// A kubeconfig with a client certificate of that user, for a server.
    [[nodiscard]] std::filesystem::path kubeconfig(const std::string& user,
                                                   const std::string& groups = "",
                                                   const std::string& server = "") const;
    [[nodiscard]] const std::filesystem::path& dir() const { return dir_; }
    [[nodiscard]] static std::string url(uint16_t port = kPort);

  private:
    void make_pki() const;
    void sign(const std::string& name, const std::string& subject, const std::string& names) const;

    std::filesystem::path dir_;
    std::vector<std::string> more_flags_;
    std::optional<Process> etcd_;
    std::optional<Process> server_;
};

/// Between clients and the API server, for bad days (fault_proxy.py); in the same namespace.
class FaultProxy {
  public:
    static constexpr uint16_t kPort = 7443;

    /// Without faults at first.
    explicit FaultProxy(const ControlPlane& plane, uint16_t port = kPort);
    /// Lines of JSON, in force from now on, instead of those before.
    void set(const std::vector<std::string>& faults) const;
    [[nodiscard]] std::string url() const { return ControlPlane::url(port_); }

  private:
    uint16_t port_;
    std::filesystem::path faults_;
    std::optional<Process> process_;
};

}  // namespace weir::test
