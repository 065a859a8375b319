// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>

#include "agent/api_types.h"
#include "cli/app.h"

namespace weir::cli {

/// Where lists come from: the agent, or, when none answers, the kernel's own tables.
class Source {
  public:
    virtual ~Source() = default;
    virtual Result<std::vector<api::Pod>> pods() = 0;
    virtual Result<std::vector<api::Service>> services() = 0;
    virtual Result<std::vector<api::Backend>> backends() = 0;
    virtual Result<std::vector<api::Drop>> drops() = 0;
    virtual Result<api::Ipam> ipam() = 0;
    /// Until `visit` returns false; `query` as of /v1/conntrack.
    virtual Result<void> conntrack(const QueryParams& query,
                                   const std::function<bool(const api::Conntrack&)>& visit) = 0;
};

/// The agent if it answers. If it cannot be reached, the kernel tables, with a word on standard
/// error; without those the first failure. Not allowed stays not allowed.
Result<std::unique_ptr<Source>> open_source(const Invocation& invocation);

/// Read-only view of the tables pinned below `bpffs`, with the names the last agent left in
/// `run_dir`.
Result<std::unique_ptr<Source>> open_tables(const std::filesystem::path& bpffs,
                                            const std::filesystem::path& run_dir);

}  // namespace weir::cli
